"""What a comparison of two runs can't show: failures, signals from outside, terminals, several jobs, two hosts.

A case is a function case_NAME(ctx). It returns complaints, an empty list if all is well, or calls ctx.skip().
"""
import contextlib
import itertools
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import processes, user as users
from harness.node import Node
from fake_node import (CALL, CLONE, GETPPID, GONE, HELLO, LANE_ASK, LANE_REPLY, PING, PROTOCOL_VERSION, READ, REPLY,
                       TOKEN, WRITE, FakeNode, call, frame)

FAR_MODES = ("remote", "local")


class Context:
    def __init__(self, options, user, stage):
        self.options, self.user, self.stage, self.complaints = options, user, stage, []
        stage.fresh_work()

    def skip(self, why):
        print(f"skipped: {why}")
        raise SystemExit(77)

    def expect(self, condition, what):
        if not condition:
            self.complaints.append(what)

    def guest(self, name):
        return self.stage.reachable(os.path.join(self.options.build, "tests", "guests", name))

    def start(self, words, **more):
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return self.stage.start(words, **streams)

    def run(self, words, given=b""):
        """(status, stdout, stderr) of a command that must end; nothing may be left of it."""
        process = self.start(words)
        return self.end(process, given)

    def run_beside(self, words):
        """The same while another job goes on."""
        process = self.start(words)
        out, err = process.communicate(b"", timeout=self.stage.timeout_s)
        return process.returncode, out, err

    def end(self, process, given=None):
        try:
            out, err = process.communicate(given, timeout=self.stage.timeout_s)
        except subprocess.TimeoutExpired:
            there = processes.descendants()
            self.complaints += [f"did not end: {process.args}"] + [processes.describe(pid) for pid in there]
            processes.kill_all(pid for pid in there if pid not in self.stage.node_pids())
            out, err = process.communicate()
        self.complaints += self.stage.leftover_processes()
        return process.returncode, out, err

    def expect_failure(self, words, status):
        """Our own failures: that status, nothing on stdout, one line on stderr that says who speaks."""
        got, out, err = self.run(words)
        self.expect(got == status, f"{words}: status {got}, not {status}; stderr {err!r}")
        self.expect(out == b"", f"{words}: stdout {out!r}")
        self.expect(re.fullmatch(rb"omxsup: [^\n]+\n", err), f"{words}: stderr is not one line of omxsup's: {err!r}")
        return err

    def outsider(self, mode, *arguments):
        """The guest `outsider`, when it is ready, and its pid, which is the same at home and away."""
        process = self.start(self.stage.words(mode, [self.guest("outsider"), *arguments]))
        line = read_line(process.stdout.fileno(), self.stage.timeout_s)
        word, _, pid = line.partition(b" ")
        if word != b"ready":
            status, out, err = self.end(process, b"")
            raise RuntimeError(f"{mode}: outsider said {line!r}, then {out!r} {err!r}, status {status}")
        self.expect(int(pid) == process.pid, f"{mode}: the guest's pid is {int(pid)}, its deputy's {process.pid}")
        return process


def read_line(fd, timeout_s):
    line, end = b"", time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            break
        more = os.read(fd, 1)
        if not more:
            break
        line += more
    return line


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


def case_hello_that_makes_no_sense(ctx):
    """Whoever connects and says something wrong is told what."""
    def words(pid_max):
        return struct.pack("<4I", PROTOCOL_VERSION, os.getuid(), pid_max, 1) + bytes(128)
    texts = struct.pack("<I", 0) * 4
    first_words = {
        "a short hello": (frame(HELLO, words(32768)), b"makes no sense"),
        "too much": (frame(HELLO, words(32768) + texts + b"x"), b"makes no sense"),
        "no process numbers": (frame(HELLO, words(0) + texts), b"process numbers up to 0"),
        "too many": (frame(HELLO, words(0xffffffff) + texts), b"process numbers up to 4294967295"),
        "another version": (frame(HELLO, struct.pack("<I", 77)), b"home speaks protocol 77"),
    }
    node = ctx.stage.node(("--insecure",))                    # it is we who connect, not the node's user
    for what, (said, answer) in first_words.items():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(node.socket)
            s.sendall(said)
            try:
                got = b"".join(iter(lambda: s.recv(4096), b""))
            except OSError as e:
                got = repr(e).encode()
        ctx.expect(got[4:6] == b"\x02\x00" and answer in got, f"{what}: {got!r}")


def case_node_that_asks_for_too_much(ctx):
    """Each limit ends the job with one line, whoever of it is there."""
    run, node = [ctx.stage.omxsup, "run"], ctx.stage.node()
    script = "for i in 1 2 3 4 5; do sleep 9 & done; wait"
    for limit, command in {"deputies=3": ["sh", "-c", script], "files=1": ["true"]}.items():
        status, out, err = ctx.run([*run, "--on", node.address, "--limit", limit, "--", *command])
        ctx.expect(status == 125 and re.fullmatch(rb"omxsup: node \S+ asks for too much: more than \d [^\n]+\n", err),
                   f"{limit}: status {status}, {out!r} {err!r}")
    flood = ["--limit", "queue-bytes=1000000"]
    fake, process = fake_job(ctx, ["sleep", "9"], *flood)
    try:
        for _ in range(1000):
            fake.link.send(PING, bytes(65536))                   # whose answers nobody reads
    except OSError:
        pass
    status, out, err = ctx.end(process)
    fake.close()
    ctx.expect(status == 125 and b"more than 1000000 bytes of answers" in err, f"a flood: {status}, {out!r} {err!r}")


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


def wait_for_state(process, options, patience_s=5):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        pid, status = os.waitpid(process.pid, options | os.WNOHANG)
        if pid:
            return status
        time.sleep(0.005)
    return None


def cpu_ticks(pids):
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                ticks += sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
        except OSError:
            pass
    return ticks


def guest_of(pid):
    """The process on the node, here the same machine, that has this number in its namespace. Itself if none has."""
    for other in processes.descendants():
        with open(f"/proc/{other}/status") as f:
            numbers = next((line.split()[1:] for line in f if line.startswith("NSpid:")), [])
        if len(numbers) > 1 and int(numbers[-1]) == pid:
            return other
    return pid


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


def waits_for_a_page(ctx, mode):
    """A guest that waits in a fault for a page of a mapped file, which its stopped supervisor doesn't send."""
    process = ctx.outsider(mode, "touch")
    supervisor, guest = tracer_of(process.pid), guest_of(process.pid)
    process.stdin.write(b"x")
    process.stdin.flush()
    wait_until(ctx, lambda: state_of(guest) == "R", f"{mode}: the guest doesn't compute")
    os.kill(supervisor, signal.SIGSTOP)
    wait_until(ctx, lambda: state_of(guest) == "S", f"{mode}: the guest doesn't wait")
    return process, supervisor


def state_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


def wait_until(ctx, condition, otherwise, patience_s=10):
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return ctx.complaints.append(otherwise)
        time.sleep(0.002)


def case_guest_killed_in_a_fault(ctx):
    for mode in FAR_MODES:
        process, supervisor = waits_for_a_page(ctx, mode)
        process.kill()
        os.kill(supervisor, signal.SIGCONT)
        status, out, err = ctx.end(process)
        ctx.expect((status, out, err) == (-signal.SIGKILL, b"", b""), f"{mode}: {status} {out!r} {err!r}")


def case_guest_stopped_in_a_fault(ctx):
    for mode in FAR_MODES:
        process, supervisor = waits_for_a_page(ctx, mode)
        process.send_signal(signal.SIGSTOP)
        os.kill(supervisor, signal.SIGCONT)
        status = wait_for_state(process, os.WUNTRACED)
        ctx.expect(status is not None and os.WIFSTOPPED(status), f"{mode}: the parent sees no stop, but {status}")
        process.send_signal(signal.SIGUSR1)                    # ends it, had it been told to have a handler
        process.send_signal(signal.SIGCONT)
        status, out, err = ctx.end(process, b"")
        ctx.expect((status, out, err) == (-signal.SIGUSR1, b"", b""), f"{mode}: {status} {out!r} {err!r}")
        process, supervisor = waits_for_a_page(ctx, mode)
        process.send_signal(signal.SIGSTOP)
        os.kill(supervisor, signal.SIGCONT)
        wait_for_state(process, os.WUNTRACED)
        process.send_signal(signal.SIGCONT)
        status, out, err = ctx.end(process, b"")
        ctx.expect((status, out, err) == (6, b"touched 0\n", b""), f"{mode}: {status} {out!r} {err!r}")


def case_supervisor_killed_while_a_page_is_waited_for(ctx):
    for mode in FAR_MODES:
        process, supervisor = waits_for_a_page(ctx, mode)
        os.kill(supervisor, signal.SIGKILL)
        status, out, _ = ctx.end(process)
        ctx.expect(status in (-signal.SIGKILL, 125) and out == b"", f"{mode}: status {status}, stdout {out!r}")


def case_node_killed_while_a_page_is_waited_for(ctx):
    process, supervisor = waits_for_a_page(ctx, "remote")
    node = ctx.stage.node()
    processes.kill_all([node.pid, *processes.descendants(node.pid)])
    os.kill(supervisor, signal.SIGCONT)
    status, out, err = ctx.end(process)
    ctx.expect(status == 125 and out == b"", f"status {status}, stdout {out!r}")
    ctx.expect(re.fullmatch(rb"omxsup: [^\n]+\n", err), f"stderr is not one line of omxsup's: {err!r}")
    ctx.stage.nodes.clear()


def case_reads_that_probes_of_a_big_file_cost(ctx):
    cost = {}
    for probes in 0, 0, 10:                                    # once to fill the node's cache
        words = ctx.stage.words("remote", [ctx.guest("probes_a_big_file"), str(probes)])
        words.insert(words.index("run") + 1, "--stats=stats")
        status, _, err = ctx.run(words)
        ctx.expect((status, err) == (0, b""), f"{probes} probes: {status} {err!r}")
        with open(os.path.join(ctx.stage.work, "stats")) as f:
            stats = json.load(f)
        cost[probes] = stats["file_reads"], stats["file_bytes_fetched"]
    reads, bytes_fetched = (cost[10][i] - cost[0][i] for i in (0, 1))
    ctx.expect((reads, bytes_fetched) == (10, 10 << 16), f"ten probes cost {reads} reads, {bytes_fetched} bytes")


def case_big_file_on_a_node_without_userfaultfd(ctx):
    """A file too big to be fetched whole brings its guest home."""
    node = ctx.stage.node(("--without=userfaultfd",))
    stats = os.path.join(ctx.stage.work, "stats")
    status, out, err = ctx.run([ctx.stage.omxsup, "run", "--on=" + node.address, "--stats=" + stats, "--",
                                ctx.guest("probes_a_big_file")])
    ctx.expect(status == 0 and out.endswith(b"9: 9\n"), f"{status} {out!r} {err!r}")
    told = json.load(open(stats))
    ctx.expect(told["came_home"] == {"mmap": 1}, f"{told['came_home']}")
    ctx.expect("20.0 GiB" in told["processes"][0]["reason"], f"{told['processes']}")


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


def tracer_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"TracerPid:\s+(\d+)", f.read()).group(1))


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
    code = ("import mmap, os, sys; open('f', 'wb').write(b'x' * 4096)\n"
            "f = open('f', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:1] = b'y'\n"
            "print(open('f').read(2), flush=True); sys.stdin.read(); print(len(open('/proc/self/maps').read()) > 0)")
    node = ctx.stage.node()
    stats = os.path.join(ctx.stage.work, "stats")
    process = ctx.start([ctx.stage.omxsup, "run", "--on", node.address, "--stats=" + stats, "--", "/usr/bin/python3", "-c",
                         code])
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


def as_user(user):
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"] if user.uid != 0 else []


class Hosts:
    """Two hosts as far as the network goes: two network namespaces with one cable. Both end with their processes."""
    def __init__(self):
        self.holders = [subprocess.Popen(["unshare", "--net", "sleep", "600"]) for _ in range(2)]
        home, node = (holder.pid for holder in self.holders)
        self._wait_for_namespaces()
        self.sh(home, f"ip link add cable type veth peer name cable netns {node}")
        for pid, address in (home, "10.99.0.1/24"), (node, "10.99.0.2/24"):
            self.sh(pid, f"ip addr add {address} dev cable && ip link set cable up && ip link set lo up")
        self.home, self.node = self.inside(home), self.inside(node)

    def _wait_for_namespaces(self):
        for holder in self.holders:
            while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
                time.sleep(0.005)

    @staticmethod
    def inside(pid):
        return ["nsenter", f"--net=/proc/{pid}/ns/net"]

    def sh(self, pid, line):
        subprocess.run([*self.inside(pid), "sh", "-c", line], check=True, capture_output=True)

    def wait_for(self, address, port, patience_s=10):
        end = time.monotonic() + patience_s
        while subprocess.run([*self.home, "bash", "-c", f"exec 2> /dev/null 3<> /dev/tcp/{address}/{port}"]).returncode:
            if time.monotonic() > end:
                raise RuntimeError(f"nobody listens on {address}:{port}")
            time.sleep(0.02)

    def cut(self, yes):
        self.sh(self.holders[1].pid, f"ip link set cable {'down' if yes else 'up'}")

    def close(self):
        for holder in self.holders:
            holder.kill()
            holder.wait()


@contextlib.contextmanager
def node_on_another_host(ctx, *options):
    """(hosts, words that run a command there)."""
    if os.getuid() != 0:
        ctx.skip("only root can make network namespaces without a user namespace")
    try:
        hosts = Hosts()
    except (subprocess.CalledProcessError, OSError) as e:
        ctx.skip(f"no virtual network here: {e}")
    listen = [ctx.stage.omxsup, "node", "--listen", "10.99.0.2:7117", "--insecure", *options]
    node = ctx.start([*hosts.node, *as_user(ctx.user), *listen], stdin=subprocess.DEVNULL, preexec_fn=None)
    try:
        hosts.wait_for("10.99.0.2", 7117)
        yield hosts, [*hosts.home, *as_user(ctx.user), ctx.stage.omxsup, "run", *options, "--on=10.99.0.2:7117", "--"]
    finally:
        node.send_signal(signal.SIGTERM)
        node.communicate(timeout=10)
        hosts.close()
    ctx.expect(node.returncode == 0, f"the node ended with {node.returncode}")


def case_two_hosts_over_tcp(ctx):
    with node_on_another_host(ctx) as (_, far):
        script = "seq 1000 | sort -rn | head -n 2; cat /etc/hostname; exit 3"
        native = ctx.stage.start(["sh", "-c", script], stdout=subprocess.PIPE)
        wanted = native.communicate()[0]
        process = ctx.start([*far, "sh", "-c", script], preexec_fn=None)
        out, err = process.communicate(b"", timeout=ctx.stage.timeout_s)
        ctx.expect((process.returncode, out, err) == (3, wanted, b""), f"far: {process.returncode} {out!r} {err!r}")


# Connects in ways in which no supervisor does; run as the node's user, whom alone it listens to.
STRANGERS = """
import socket, struct, sys, time
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.settimeout(5)
    return s
def is_closed(data):
    s = connect()
    s.sendall(data)
    try:
        return s.recv(100) == b""
    except ConnectionResetError:
        return True
def frame(kind, body, flags=0):
    return struct.pack("<IHHQ", len(body), kind, flags, 0) + body
version = int(sys.argv[2])
lane = struct.pack("<I", version) + b"T" * 16 + struct.pack("<Q", 1)
said = {"wrong token": frame(26, lane), "wrong version": frame(26, b"!" * 28), "short lane": frame(26, lane[:-1]),
        "long lane": frame(26, lane + b"x"), "call": frame(10, b""), "flags": frame(1, b"", 1), "HTTP": b"GET / HTTP/1.1\\r\\n" * 2,
        "zeroes": bytes(1000)}
for what, data in said.items():
    if not is_closed(data):
        print("not closed:", what)
silent = [connect() for _ in range(70)]
for s in silent[:3]:
    if s.recv(1) != b"":
        print("an old silent one was not closed")
in_pieces = connect()
hello = frame(1, struct.pack("<I", 999))
for piece in hello[:3], hello[3:17], hello[17:]:
    in_pieces.sendall(piece)
    time.sleep(0.05)
if in_pieces.recv(16)[4:6] != b"\\x02\\x00":
    print("a hello in pieces was not answered")
print("ready", flush=True)
sys.stdin.read()
"""


def case_strangers_at_a_node(ctx):
    node = ctx.stage.node()
    before = ctx.outsider("remote")
    strangers = ctx.start(["python3", "-c", STRANGERS, node.socket, str(PROTOCOL_VERSION)])
    said = b""
    while not said.endswith(b"ready\n"):
        line = read_line(strangers.stdout.fileno(), 20)
        said += line
        if not line:
            break
    ctx.expect(said == b"ready\n", f"strangers: {said!r}")
    # Silent ones are still connected: neither a job that runs nor a new one minds.
    started = time.monotonic()
    process = ctx.start(ctx.stage.words("remote", ["echo", "fine"]))
    out, err = process.communicate(b"", timeout=ctx.stage.timeout_s)
    ctx.expect((process.returncode, out, err) == (0, b"fine\n", b""), f"{process.returncode} {out!r} {err!r}")
    ctx.expect(time.monotonic() - started < 5, "a job waited for silent connections")
    out, err = strangers.communicate(b"", timeout=ctx.stage.timeout_s)
    ctx.expect((out, err) == (b"", b""), f"strangers: {out!r} {err!r}")
    status, out, err = ctx.end(before, b"x")
    ctx.expect((status, out, err) == (5, b"read 1\n", b""), f"the job from before: {status} {out!r} {err!r}")


def fake_job(ctx, command, *options):
    """A job on a node without guests, and the two ends of its standard output."""
    node = FakeNode(os.path.join(ctx.stage.directory, "fake"))
    process = ctx.start([ctx.stage.omxsup, "run", *options, "--on=" + node.address, "--", *command])
    node.take_job()
    return node, process


def case_calls_over_a_lane(ctx):
    node, process = fake_job(ctx, ["cat"], "--stats=stats")
    lane = node.open_lane(41)
    lane.send(CALL, call(node.pid, WRITE, [1, 0x1000, 3], (3, b"one")), 0)
    reply = lane.receive()
    frames = 3      # hello, image, the reply to take_job
    ctx.expect(reply == (LANE_REPLY, 0, struct.pack("<QqHHI", frames, 3, 0, 0, 0)), f"write over a lane: {reply}")
    node.link.send(CALL, call(node.pid, WRITE, [1, 0x1000, 3], (3, b"two")), 8)
    ctx.expect(node.link.receive() == (REPLY, 8, struct.pack("<qHHI", 3, 0, 0, 0)), "write over the link")
    # A call that blocks; a lane whose end comes meanwhile harms nobody, another one goes on.
    lane.send(CALL, call(node.pid, READ, [0, 0x2000, 10], (10, b"")), 9)
    time.sleep(0.05)
    process.stdin.write(b"in")
    process.stdin.flush()
    frames += 1
    body = struct.pack("<QqHHI", frames, 2, 0, 0, 1) + struct.pack("<QI", 0x2000, 2) + b"in"
    reply = lane.receive()
    ctx.expect(reply == (LANE_REPLY, 9, body), f"read over a lane: {reply}")
    lane.send(CALL, call(node.pid, READ, [0, 0x2000, 10], (10, b"")), 10)
    time.sleep(0.05)
    lane.socket.close()
    process.stdin.write(b"lost")
    process.stdin.flush()
    time.sleep(0.05)
    other = node.open_lane(41)
    for number in range(100):
        other.send(CALL, call(node.pid, GETPPID, []), number)
        kind, answered, body = other.receive()
        ctx.expect((kind, answered) == (LANE_REPLY, number), f"getppid: {kind} {answered} {body}")
    node.end_process(7)
    ctx.expect(other.receive()[0] == 0, "a lane stays when its process has ended")
    status, out, err = ctx.end(process, b"")
    ctx.expect((status, out, err) == (7, b"onetwo", b""), f"{status} {out!r} {err!r}")
    with open(os.path.join(ctx.stage.work, "stats")) as f:
        stats = json.load(f)
    ctx.expect((stats["lanes"], stats["calls_over_lanes"]) == (2, 103), f"stats: {stats}")
    node.close()


def case_what_may_not_come_over_a_lane(ctx):
    def wrong_frame(node, lane):
        lane.send(GONE, struct.pack("<iiQQQQ", node.pid, 0, 0, 0, 0, 0))

    def other_process(node, lane):
        node.link.send(CALL, call(node.pid, CLONE, [signal.SIGCHLD]), 1)
        child = struct.unpack_from("<q", node.link.receive()[2])[0]
        lane.send(CALL, call(child, GETPPID, []), 2)

    for wrong in wrong_frame, other_process:
        node, process = fake_job(ctx, ["cat"])
        lane = node.open_lane(1)
        wrong(node, lane)
        ctx.expect(lane.receive()[0] == 0, f"{wrong.__name__}: the lane goes on")
        node.link.socket.close()
        status, out, err = ctx.end(process, b"")
        ctx.expect(status == 125 and b"lane" in err, f"{wrong.__name__}: {status} {out!r} {err!r}")
        node.close()


def case_lanes_that_cannot_be(ctx):
    node, process = fake_job(ctx, ["cat"], "--lanes=off")
    node.link.send(LANE_ASK, struct.pack("<iQ", node.pid, 1) + TOKEN)
    node.link.send(LANE_ASK, struct.pack("<iQ", 1, 1) + TOKEN)      # whose process?
    node.link.send(CALL, call(node.pid, GETPPID, []), 1)
    ctx.expect(node.link.receive()[:2] == (REPLY, 1), "a job without lanes ends at being asked for one")
    node.end_process()
    status, out, err = ctx.end(process, b"")
    ctx.expect((status, out, err) == (0, b"", b""), f"{status} {out!r} {err!r}")
    node.close()


def case_listening_beyond_loopback_needs_a_word(ctx):
    err = ctx.expect_failure([ctx.stage.omxsup, "node", "--listen", "0.0.0.0:0"], 125)
    ctx.expect(b"--insecure" in err, f"the remedy isn't named: {err!r}")


def run(options, name, user, stage):
    ctx = Context(options, user, stage)
    import failures
    import programs
    import terminals
    case = next(vars(module)["case_" + name] for module in (sys.modules[__name__], failures, programs, terminals)
                if "case_" + name in vars(module))
    result = case(ctx)
    return ctx.complaints + (result or [])
