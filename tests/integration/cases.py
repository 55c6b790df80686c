"""What a comparison of two runs can't show: signals from outside, terminals, several jobs, two hosts.

A case is a function case_NAME(ctx), here or in a module beside this one. It returns complaints, an empty list if all is
well, or calls ctx.skip().
"""
import importlib
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import time

from context import Context, FAR_MODES, cpu_ticks, guest_of, read_line, tracer_of, wait_for_state
from harness import processes, user as users
from harness.node import Node
from hosts import as_user, node_on_another_host


def case_arguments_that_make_no_sense(ctx):
    for line in "", "run", "run --nonsense true", "run --home --local-node true", "node", "fly":
        ctx.expect_failure([ctx.stage.omxsup, *line.split()], 125)
    ctx.expect_failure([ctx.stage.omxsup, "run", "--on=nonsense", "true"], 125)


def case_node_that_is_not_there(ctx):
    for address in "unix:" + ctx.stage.work + "/none", "127.0.0.1:9", "no-such-host.invalid:7":
        ctx.expect_failure([ctx.stage.omxsup, "run", "--on=" + address, "--", "true"], 125)


def case_node_of_another_user_refuses(ctx):
    if os.getuid() != 0 or ctx.user.uid == 0:
        return
    directory = os.path.join(ctx.stage.directory, "others")
    os.mkdir(directory, 0o755)
    node = Node(ctx.stage.omxsup, directory, users.User("root"), ctx.stage.environment())
    ctx.stage.nodes["root's"] = node
    err = ctx.expect_failure([ctx.stage.omxsup, "run", "--on=" + node.address, "--", "true"], 125)
    ctx.expect(b"user 0" in err or b"ermission" in err, f"the reason isn't named: {err!r}")


def case_node_whose_kernel_is_too_old(ctx):
    node = ctx.stage.node(("--without=killable-recv",))
    err = ctx.expect_failure([ctx.stage.omxsup, "run", "--on=" + node.address, "--", "true"], 125)
    ctx.expect(b"5.19" in err, f"it doesn't say which is needed: {err!r}")


def case_command_that_is_not_there(ctx):
    with open(os.path.join(ctx.stage.work, "plain"), "w") as f:
        f.write("not a program\n")
    ctx.stage.user.give(f.name)
    for mode in ("home", *FAR_MODES):
        ctx.expect_failure(ctx.stage.words(mode, ["no-such-command"]), 127)
        ctx.expect_failure(ctx.stage.words(mode, ["./none"]), 127)
        ctx.expect_failure(ctx.stage.words(mode, ["./plain"]), 126)
        ctx.expect_failure(ctx.stage.words(mode, ["/"]), 126)


def case_environment_names_the_node(ctx):
    words = [ctx.stage.omxsup, "run", "--trace", "--", "cat"]
    status, _, err = ctx.run(["env", "OMXSUP_ON=" + ctx.stage.node().address, *words])
    ctx.expect(status == 0 and b"read" in err, f"with OMXSUP_ON: status {status}, trace {err[:300]!r}")
    status, _, err = ctx.run(words)
    ctx.expect(status == 0 and b"read(" not in err, f"without OMXSUP_ON: status {status}, trace {err[:300]!r}")


def case_standard_input_and_pipes(ctx):
    data = bytes(range(256)) * 4000
    for mode in FAR_MODES:
        status, out, err = ctx.run(ctx.stage.words(mode, ["cat"]), data)
        ctx.expect((status, out == data, err) == (0, True, b""), f"{mode}: cat: {status}, {len(out)} bytes, {err!r}")
        line = " ".join(ctx.stage.words(mode, ["yes"])) + " 2>&1 | head -n 1"
        status, out, err = ctx.run(["sh", "-c", line])
        ctx.expect((status, out) == (0, b"y\n"), f"{mode}: yes | head gave {status} {out!r} {err!r}")
        line = " ".join(ctx.stage.words(mode, ["sh", "-c", "'echo out; echo err >&2'"])) + " 2>&1 | cat"
        status, out, err = ctx.run(["sh", "-c", line])
        ctx.expect((status, out) == (0, b"out\nerr\n"), f"{mode}: 2>&1 | cat gave {status} {out!r} {err!r}")


def case_reports_of_a_job(ctx):
    for mode in FAR_MODES:
        words = ctx.stage.words(mode, ["sh", "-c", "cat < /dev/null; echo done"])
        at = words.index("run") + 1
        words[at:at] = ["--stats=stats", "--trace=trace"]
        status, out, err = ctx.run(words)
        ctx.expect((status, out, err) == (0, b"done\n", b""), f"{mode}: {status} {out!r} {err!r}")
        with open(os.path.join(ctx.stage.work, "stats")) as f:
            try:
                json.load(f)
            except ValueError as e:
                ctx.complaints.append(f"{mode}: --stats is no JSON: {e}")
        with open(os.path.join(ctx.stage.work, "trace")) as f:
            ctx.expect("write" in f.read(), f"{mode}: --trace doesn't mention the write")


def case_signals_from_outside(ctx):
    for mode in ("native", "home", *FAR_MODES):
        process = ctx.outsider(mode)
        process.send_signal(signal.SIGUSR1)
        said = read_line(process.stdout.fileno(), 10)
        time.sleep(0.05)
        status, out, err = ctx.end(process, b"x")
        ctx.expect((said, status, out, err) == (b"USR1\n", 5, b"read 1\n", b""),
                   f"{mode}: blocked, USR1: {said!r} {status} {out!r} {err!r}")
        process = ctx.outsider(mode, "compute")
        process.send_signal(signal.SIGUSR1)
        said = read_line(process.stdout.fileno(), 10)
        process.send_signal(signal.SIGUSR2)
        status, out, err = ctx.end(process)
        ctx.expect((said, status, out, err) == (b"USR1\n", 12, b"USR2\n", b""),
                   f"{mode}: computing, USR1, USR2: {said!r} {status} {out!r} {err!r}")


def case_death_by_a_signal_from_outside(ctx):
    for mode in ("native", "home", *FAR_MODES):
        for number in signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT:
            for arguments in [], ["compute"]:
                process = ctx.outsider(mode, *arguments)
                process.send_signal(number)
                status, out, err = ctx.end(process)
                ctx.expect((status, out, err) == (-number, b"", b""),
                           f"{mode} {arguments} {number!r}: {status} {out!r} {err!r}")


def case_clone_that_fails_on_the_node_only(ctx):
    if ctx.user.name == "root":
        return                                                # limits of processes don't bind root
    said = {}
    for mode in ("native", *FAR_MODES):
        process = ctx.outsider(mode, "fork")
        subprocess.run(["prlimit", f"--pid={guest_of(process.pid)}", "--nproc=0:0"], check=True,
                       preexec_fn=ctx.user.become)
        said[mode] = ctx.end(process, b"x")
        ctx.expect(said[mode] == said["native"], f"{mode}: {said[mode]}, natively {said['native']}")
    ctx.expect(b"fork(): EAGAIN" in said["native"][1], f"natively: {said['native']}")


def case_stop_and_continue_from_outside(ctx):
    for mode, how in itertools.product(("native", "home", *FAR_MODES), ("compute", "leave-thread")):
        process = ctx.outsider(mode, how)
        process.send_signal(signal.SIGSTOP)
        status = wait_for_state(process, os.WUNTRACED)
        ctx.expect(status is not None and os.WIFSTOPPED(status), f"{mode} {how}: the parent sees no stop, but {status}")
        time.sleep(0.1)
        before = cpu_ticks(processes.descendants())
        time.sleep(0.3)
        used = cpu_ticks(processes.descendants()) - before
        ctx.expect(used < 10, f"{mode} {how}: stopped, but something still computes")
        process.send_signal(signal.SIGCONT)
        status = wait_for_state(process, os.WCONTINUED)
        ctx.expect(status is not None and os.WIFCONTINUED(status),
                   f"{mode} {how}: the parent sees no SIGCONT, but {status}")
        process.send_signal(signal.SIGTERM)
        ctx.expect(ctx.end(process)[0] == -signal.SIGTERM, f"{mode} {how}: not dead of SIGTERM after it was continued")


def in_terminal(ctx, words):
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.chdir(ctx.stage.work)
            ctx.stage._prepare()
            os.execve(words[0], words, ctx.stage.environment())
        finally:
            os._exit(99)
    return pid, master


def case_keys_of_a_terminal(ctx):
    for mode in ("home", *FAR_MODES):
        pid, master = in_terminal(ctx, ctx.stage.words(mode, [ctx.guest("outsider")]))
        ready = read_line(master, 10)
        ctx.expect(ready.startswith(b"ready"), f"{mode}: {ready!r}")
        os.write(master, b"\x03")                                # ^C
        try:
            status = wait_for_state(type("P", (), {"pid": pid}), 0)
            ctx.expect(status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT,
                       f"{mode}: ^C ended it with {status}")
            if status is None:
                os.kill(pid, signal.SIGKILL)
        finally:
            os.close(master)
        ctx.complaints += ctx.stage.leftover_processes()


def case_terminal_of_a_job(ctx):
    script = "tty | cut -c1-9; stty -echo; read x; echo \"got $x\""
    _, master = in_terminal(ctx, ctx.stage.words("remote", ["sh", "-c", script]))
    ctx.expect(read_line(master, 10) == b"/dev/pts/\r\n", "no terminal")
    time.sleep(0.1)
    os.write(master, b"typed\n")
    said = read_line(master, 10)
    ctx.expect(said == b"got typed\r\n", f"said {said!r}")
    os.close(master)
    ctx.complaints += ctx.stage.leftover_processes()


def case_node_killed_in_the_middle(ctx):
    process = ctx.outsider("remote")
    node = ctx.stage.node()
    processes.kill_all([node.pid, *processes.descendants(node.pid)])
    status, out, err = ctx.end(process)
    ctx.expect(status == 125 and out == b"", f"status {status}, stdout {out!r}")
    ctx.expect(re.fullmatch(rb"omxsup: [^\n]+\n", err), f"stderr is not one line of omxsup's: {err!r}")
    ctx.stage.nodes.clear()


def case_node_asked_to_end_in_the_middle(ctx):
    process = ctx.outsider("remote")
    ctx.complaints += ctx.stage.node().stop()
    status, _, err = ctx.end(process)
    ctx.expect(status == 125 and re.fullmatch(rb"omxsup: [^\n]+\n", err), f"status {status}, stderr {err!r}")
    ctx.stage.nodes.clear()


def case_supervisor_killed_in_the_middle(ctx):
    for mode in FAR_MODES:
        process = ctx.outsider(mode)
        tracer = tracer_of(process.pid)
        ctx.expect(tracer in processes.descendants(), f"{mode}: nobody traces the command")
        os.kill(tracer, signal.SIGKILL)
        status, out, _ = ctx.end(process)
        ctx.expect(status in (-signal.SIGKILL, 125) and out == b"", f"{mode}: status {status}, stdout {out!r}")


def case_calls_that_bring_a_guest_home(ctx):
    """It goes on there, traced, with the reason in --stats, and nothing of it stays on the node."""
    code = ("import mmap, os, sys; open('f', 'wb').write(b'x' * (1 << 20))\n"
            "f = open('f', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:1] = b'y'\n"
            "print(open('f').read(2), flush=True); sys.stdin.read(); print(len(open('/proc/self/maps').read()) > 0)")
    node = ctx.stage.node()
    stats = os.path.join(ctx.stage.work, "stats")
    python = ["/usr/bin/python3", "-c", code]
    process = ctx.start([ctx.stage.omxsup, "run", "--on", node.address, "--stats=" + stats, "--", *python])
    line = read_line(process.stdout.fileno(), ctx.stage.timeout_s)
    ctx.expect(line == b"yx\n", f"said {line!r}")
    maps = open(f"/proc/{process.pid}/maps").read()
    ctx.expect("/usr/lib" in maps and "[stack]" in maps and "work/f" in maps, f"its memory is not at home:\n{maps}")
    ctx.expect("memfd:" not in maps, f"its deputy's memory is still there:\n{maps}")
    ctx.expect(tracer_of(process.pid) != 0, "nobody traces it")
    status, out, err = ctx.end(process, b"")
    ctx.expect((status, out, err) == (0, b"True\n", b""), f"{status} {out!r} {err!r}")
    told = json.load(open(stats))
    ctx.expect(told["came_home"] == {"mmap": 1} and told["not_yet"] == {}, f"{told['came_home']} {told['not_yet']}")
    ctx.expect([p["where"] for p in told["processes"]] == ["came home"], f"{told['processes']}")


def case_home_traces_nobody(ctx):
    process = ctx.outsider("home")
    ctx.expect(tracer_of(process.pid) == 0, "a command run with --home is traced")
    ctx.end(process, b"x")


def case_ten_jobs_on_one_node(ctx):
    words = ctx.stage.words("remote", ["sh", "-c", "for i in 1 2 3; do echo $i | cat; done; echo $0"])
    jobs = [ctx.start([*words, str(number)]) for number in range(10)]
    for number, job in enumerate(jobs):
        out, err = job.communicate(timeout=ctx.stage.timeout_s)
        ctx.expect((job.returncode, out, err) == (0, b"1\n2\n3\n%d\n" % number, b""),
                   f"job {number}: {job.returncode} {out!r} {err!r}")
    ctx.complaints += ctx.stage.leftover_processes()


def case_each_way_to_wait_on_the_link(ctx):
    for kind in "io_uring", "epoll":
        node = ctx.stage.node(("--link=" + kind,))
        words = [ctx.stage.omxsup, "run", "--link=" + kind, "--on=" + node.address, "--", "sh", "-c", "echo a | cat"]
        status, out, err = ctx.run(words)
        if kind == "io_uring" and b"io_uring" in err:
            continue                                             # switched off on this machine: doctor says so
        ctx.expect((status, out, err) == (0, b"a\n", b""), f"{kind}: {status} {out!r} {err!r}")


def case_disk_full_at_home(ctx):
    if os.getuid() != 0:
        ctx.skip("only root can mount a small file system")
    script = ("dd if=/dev/zero of=full bs=4k 2>&1 | grep -v copied; echo x >> full; echo $?; wc -c < full; "
              "rm full; echo works > full; cat full")
    mount = 'mount -t tmpfs -o size=128k,mode=777 none "$PWD" && cd "$PWD" && exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    results = {}
    for mode in ("native", *FAR_MODES):
        words = ctx.stage.words(mode, ["sh", "-c", script])
        process = ctx.start([*wrapper, *as_user(ctx.user), *words], preexec_fn=None)
        results[mode] = ctx.end(process, b"")
        ctx.expect(results[mode] == results["native"], f"{mode}: {results[mode]}, natively {results['native']}")


def case_two_hosts_over_tcp(ctx):
    with node_on_another_host(ctx) as (_, far):
        script = "seq 1000 | sort -rn | head -n 2; cat /etc/hostname; exit 3"
        native = ctx.stage.start(["sh", "-c", script], stdout=subprocess.PIPE)
        wanted = native.communicate()[0]
        process = ctx.start([*far, "sh", "-c", script], preexec_fn=None)
        out, err = process.communicate(b"", timeout=ctx.stage.timeout_s)
        ctx.expect((process.returncode, out, err) == (3, wanted, b""), f"far: {process.returncode} {out!r} {err!r}")


def case_listening_beyond_loopback_needs_a_word(ctx):
    err = ctx.expect_failure([ctx.stage.omxsup, "node", "--listen", "0.0.0.0:0"], 125)
    ctx.expect(b"--insecure" in err, f"the remedy isn't named: {err!r}")


def run(options, name, user, stage):
    ctx = Context(options, user, stage)
    function = "case_" + name
    for module in ("cases", "big_files", "failures", "other_cpus", "programs", "scheduling", "shared_files", "storms",
                   "terminals", "wire"):
        case = getattr(importlib.import_module(module), function, None)
        if case:
            return ctx.complaints + (case(ctx) or [])
    raise SystemExit(f"there is no {function}")
