"""Cases of programs that stay at home from their exec on, and of those that are let go (docs/limits.md)."""
import json
import os
import shutil
import struct
import subprocess

from context import FAR_MODES


def raised_copies(ctx):
    """Copies of a program that get other users, groups or capabilities, by name."""
    directory = os.path.join(ctx.stage.directory, "raised")
    os.mkdir(directory, 0o755)
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)          # cap_net_raw, permitted and effective
    copies = {"setuid": 0o4755, "closed-setuid": 0o4711, "setgid": 0o2755, "closed": 0o711, "plain": 0o755,
              "able": 0o755}
    for name, mode in copies.items():
        copies[name] = os.path.join(directory, name)
        shutil.copy(ctx.guest("credentials"), copies[name])
        os.chown(copies[name], 0, 0)
        os.chmod(copies[name], mode)
    os.setxattr(copies["able"], "security.capability", capability)
    for name in "setuid", "closed":
        copies[name + "-script"] = os.path.join(directory, name + "-script")
        with open(copies[name + "-script"], "w") as f:
            f.write(f"#!{copies[name]} of-the-script\n")
        os.chmod(f.name, 0o755)
    return copies


def case_programs_that_raise_privileges(ctx):
    if os.getuid() != 0:
        ctx.skip("only root can make setuid programs")
    copies = raised_copies(ctx)
    line = "".join(f"{path} an argument; echo $?\n" for path in copies.values())
    line += f"cd {os.path.dirname(copies['setuid'])}; ./setuid; env -i A=B setpriv --no-new-privs ./setuid; "
    line += "".join(f"./plain by-descriptor ./{name}\n" for name in ("setuid", "closed"))
    results = {mode: ctx.run(ctx.stage.words(mode, ["sh", "-c", line])) for mode in ("native", "home", *FAR_MODES)}
    native = results["native"][1]
    if b"Uid:\t%d\t0\t" % ctx.user.uid not in native:
        ctx.skip("this file system grants nothing")
    for mode, result in results.items():
        ctx.expect(result == results["native"], f"{mode}: {result}, natively {results['native']}")


def case_command_that_raises_privileges(ctx):
    """It is the job's only process: when it is let go the job is over, and says so."""
    if os.getuid() != 0:
        ctx.skip("only root can make setuid programs")
    for name, path in raised_copies(ctx).items():
        native = ctx.run([path])
        words = ctx.stage.words("remote", [path])
        words.insert(words.index("run") + 1, "--stats=stats")
        ctx.expect(ctx.run(words) == native, f"{name}: natively {native}")
        with open(os.path.join(ctx.stage.work, "stats")) as f:
            where = json.load(f)["processes"][-1]
        at_home = ctx.user.uid != 0 and name != "plain"
        ctx.expect(where["where"] == ("home" if at_home else "away") and bool(where["reason"]) == at_home,
                   f"{name}: {where}")


def in_all_modes(ctx, command):
    """What the command said in each mode; complains where that isn't what it said natively."""
    said = {mode: ctx.run(ctx.stage.words(mode, command)) for mode in ("native", "home", *FAR_MODES)}
    for mode, what in said.items():
        ctx.expect(what == said["native"], f"{mode}: {what}, natively {said['native']}")
    return said["native"]


def compiled(ctx, source, *options):
    """The path of a small C program compiled here and now; None if this machine's compiler can't."""
    directory = os.path.join(ctx.stage.directory, "compiled")
    os.makedirs(directory, 0o755, exist_ok=True)
    path = os.path.join(directory, "".join(options).replace("/", ""))
    process = subprocess.run(["gcc", "-x", "c", "-", "-o", path, *options], input=source.encode(), capture_output=True)
    return path if process.returncode == 0 else None


def program_of_32_bits(ctx, statements):
    """Without a library: call() and argv are all it has. One that only exits must be possible on this machine."""
    source = """static int call(int number, int a, int b, int c) {
        int result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
        return result;
    }
    void begin(char **argv) { (void)argv; %s }
    __asm__(".globl _start\\n_start: push %%esp; call begin");"""
    options = ["-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector"]
    smallest = compiled(ctx, source % "call(1, 3, 0, 0);", *options)
    if not smallest or subprocess.run([smallest]).returncode != 3:
        ctx.skip("no programs of 32 bits here")
    return compiled(ctx, source % statements, *options)


def case_programs_that_look_for_leaks(ctx):
    source = "#include <stdlib.h>\nint main(int n, char **v) { return malloc(16) == 0 || v[n] != 0; }"
    ways = ["-fsanitize=leak"], ["-fsanitize=address"], ["-fsanitize=address", "-static-libasan", "-s"]
    programs = list(filter(None, (compiled(ctx, source, *way) for way in ways)))
    if not programs:
        ctx.skip("gcc has no sanitizers here")
    line = "".join(f"{path} 2>&1 | grep ^SUMMARY; {path} 2> /dev/null; echo $?; " for path in programs)
    status, out, _ = in_all_modes(ctx, ["sh", "-c", line])
    ctx.expect(b"leaked" in out, f"natively it finds no leak: {status} {out!r}")


def case_programs_that_trace_others(ctx):
    tools = {"strace": "strace -qq -e trace=chdir sh -c 'cd /'; strace -o /dev/null true; echo $?",
             "gdb": "gdb -q -nx -batch -ex run true 2>&1 | grep -c exited; echo $?"}
    tools = [line for tool, line in tools.items() if shutil.which(tool)]
    if not tools:
        ctx.skip("neither strace nor gdb is here")
    in_all_modes(ctx, ["sh", "-c", "; ".join(tools)])


def case_jobs_within_a_job(ctx):
    """Each is a job of its own, wherever it was told to run; whoever started it waits for it as for any command."""
    nested = {"remote": ["--on=" + ctx.stage.node().address], "local": ["--local-node"], "home": ["--home"]}
    for where, options in nested.items():
        inner = " ".join([ctx.stage.omxsup, "run", "--stats=stats", *options, "--"])
        line = f"{inner} sh -c 'cat; exit 3'; echo $?; {inner} sh -c 'kill -TERM $$'; echo $?; {inner} no-such-command"
        for mode in FAR_MODES:
            status, out, err = ctx.run(ctx.stage.words(mode, ["sh", "-c", line]), b"given")
            ctx.expect((status, out) == (127, b"given3\n143\n") and b"command not found" in err,
                       f"{where} within {mode}: {status} {out!r} {err!r}")


def case_programs_that_cannot_leave(ctx):
    """A shell that is away executes one of 32 bits: that one goes on at home, and its children leave again."""
    program = program_of_32_bits(ctx, """
        call(4, 1, (int)"32 bits\\n", 8);
        if (argv[2]) call(11, (int)argv[2], (int)(argv + 2), 0);
        call(1, 3, 0, 0);""")
    line = f"{program}; echo $?; {program} /bin/echo from there; {program} {program}; exec {program} /bin/echo end"
    in_all_modes(ctx, ["sh", "-c", line])
    words = ctx.stage.words("remote", ["sh", "-c", line])
    words.insert(words.index("run") + 1, "--stats=stats")
    ctx.run(words)
    with open(os.path.join(ctx.stage.work, "stats")) as f:
        ran = [(process["program"].split("/")[-1], process["where"]) for process in json.load(f)["processes"]]
    ctx.expect(ran.count(("echo", "away")) == 2, f"what it executes doesn't leave again: {ran}")
