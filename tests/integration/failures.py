"""Cases of failures: the link, the node, the supervisor, memory, process numbers."""
import contextlib
import itertools
import os
import re
import select
import signal
import struct
import time

from context import FAR_MODES, read_line, supervisor_of, tracer_of
from fake_node import HELLO, REFUSE, REPLY, FakeNode, frame
from harness import processes
from hosts import as_user, node_on_another_host
from programs import program_of_32_bits


def case_supervisor_ended_with_a_process_at_home(ctx):
    """What runs at home, traced because its children may leave, goes on with nobody tracing it."""
    program = program_of_32_bits(ctx, """
        static char buffer[8];
        call(4, 1, (int)"ready\\n", 6);
        call(4, 1, (int)buffer, call(3, 0, (int)buffer, 8));
        call(1, 4, 0, 0);""")
    for mode, number in itertools.product(FAR_MODES, (signal.SIGKILL, signal.SIGTERM)):
        process = ctx.start(ctx.stage.words(mode, [program]))
        read_line(process.stdout.fileno(), 10)
        os.kill(supervisor_of(process.pid), number)
        end = time.monotonic() + 5
        while tracer_of(process.pid) and time.monotonic() < end:
            time.sleep(0.005)
        ctx.expect(ctx.end(process, b"goes on") == (4, b"goes on", b""), f"{mode}: it doesn't go on")


def case_supervisor_asked_to_end(ctx):
    """What is away comes home, whatever it is waiting for, and goes on untraced; the supervisor ends."""
    script = "echo ready; read x; echo $x; grep TracerPid: /proc/self/status; exit 5"
    threads = """if True:
        import select, sys, threading, time
        pause = threading.Event()
        idle = [threading.Thread(target=pause.wait) for _ in range(6)]
        [thread.start() for thread in idle]
        print("ready", flush=True)
        x = input()
        pause.set()
        [thread.join() for thread in idle]
        print(x, select.select([], [], [], 0.01))
        print(open("/proc/self/status").read().partition("TracerPid:")[2].split()[0])"""
    jobs = (["sh", "-c", script], (5, b"goes on\nTracerPid:\t0\n", b"")), (
        ["python3", "-c", threads], (0, b"goes on ([], [], [])\n0\n", b""))
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    for mode, number, (words, expected) in itertools.product(FAR_MODES, numbers, jobs):
        process = ctx.start(ctx.stage.words(mode, words))
        read_line(process.stdout.fileno(), 10)
        os.kill(supervisor_of(process.pid), number)
        said = read_line(process.stderr.fileno(), 10)
        ctx.expect(re.fullmatch(rb"omxsup: asked to end: [^\n]*\n", said), f"{mode}: {number!r}: {said!r}")
        end = time.monotonic() + 5
        while tracer_of(process.pid) and time.monotonic() < end:
            time.sleep(0.005)
        ctx.expect(not tracer_of(process.pid), f"{mode}: {number!r}: {words[0]} is still traced")
        result = ctx.end(process, b"goes on\n")
        ctx.expect(result == expected, f"{mode}: {number!r}: {words[0]}: {result}")


def case_supervisor_asked_to_end_while_a_call_is_under_way(ctx):
    """It waits for a write that is half done; asked again it ends, and the process with it."""
    writer = "import os\nos.write(2, b'ready\\n')\nos.write(1, bytes(1 << 20))\nos.write(2, b'written\\n')"
    for mode, number in itertools.product(FAR_MODES, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
        for again in False, True:
            process = ctx.start(ctx.stage.words(mode, ["python3", "-c", writer]))
            read_line(process.stderr.fileno(), 10)
            select.select([process.stdout], [], [], 10)            # it fills the pipe
            supervisor = supervisor_of(process.pid)
            os.kill(supervisor, number)
            read_line(process.stderr.fileno(), 10)
            ctx.expect(tracer_of(process.pid) == supervisor, f"{mode}: {number!r}: it has left its write")
            if again:
                os.kill(supervisor, number)
                process.wait(10)
            status, out, err = ctx.end(process)
            expected = (-signal.SIGKILL, b"") if again else (0, b"written\n")
            ctx.expect((status, err) == expected, f"{mode}: {number!r}, again {again}: {status} {err!r}")
            ctx.expect(again or len(out) == 1 << 20, f"{mode}: {number!r}: {len(out)} bytes came")


class Cgroup:
    """A group of processes with a limit of its own, made by root; takes in processes that run already."""
    def __init__(self, ctx, controller, limit, value):
        if os.getuid() != 0:
            ctx.skip("only root can make cgroups")
        above = f"/sys/fs/cgroup/{controller}"                    # version 1
        if not os.path.isdir(above):
            above, limit = "/sys/fs/cgroup", {"memory.limit_in_bytes": "memory.max"}.get(limit, limit)
        self.path = f"{above}/omxsup-test-{os.getpid()}"
        try:
            os.mkdir(self.path)
            self.write(limit, value)
        except OSError as e:
            ctx.skip(f"no cgroup with a limit of {controller} here: {e}")

    def write(self, file, value):
        with open(f"{self.path}/{file}", "w") as f:
            f.write(str(value))

    def take(self, pids):
        for pid in pids:
            self.write("cgroup.procs", pid)

    def inside(self, user):
        """Words before a command that runs in it."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh", *as_user(user)]

    def close(self):
        os.rmdir(self.path)


@contextlib.contextmanager
def node_within(ctx, controller, limit, value):
    group, node = Cgroup(ctx, controller, limit, value), ctx.stage.node(("--lanes=auto",))
    group.take([node.pid, *processes.descendants(node.pid)])
    try:
        yield node, group
    finally:
        ctx.complaints += node.stop()
        ctx.stage.nodes.pop(("--lanes=auto",))
        ctx.complaints += ctx.stage.leftover_processes()
        group.close()


def case_memory_exhausted_on_a_node(ctx):
    """The kernel there kills the guest that wants too much: one line and 125; the other guest and the node go on."""
    with node_within(ctx, "memory", "memory.limit_in_bytes", 100 << 20) as (node, _):
        run = [ctx.stage.omxsup, "run", "--on=" + node.address, "--"]
        other = ctx.start([*run, ctx.guest("outsider")])
        read_line(other.stdout.fileno(), 10)
        wants = "print(1, flush=True); wanted = bytearray(300 << 20); print(2)"
        status, out, err = ctx.run_beside([*run, "python3", "-c", wants])
        ctx.expect((status, out) == (125, b"1\n") and re.fullmatch(rb"omxsup: \S+ was killed on node [^\n]+\n", err),
                   f"the greedy one: {status} {out!r} {err!r}")
        ctx.expect(ctx.run_beside([*run, "echo", "well"]) == (0, b"well\n", b""), "the node isn't well")
        ctx.expect(ctx.end(other, b"x") == (5, b"read 1\n", b""), "the other guest isn't well")


FORKS_UNTIL_IT_FAILS = """
import errno, os, signal
children = []
try:
    while True:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except OSError as e:
    print(errno.errorcode[e.errno], flush=True)
for child in children:
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
print(os.popen("echo goes on").read(), end="")
"""


def case_process_numbers_exhausted_on_a_node(ctx):
    with node_within(ctx, "pids", "pids.max", 30) as (node, group):
        run = [ctx.stage.omxsup, "run", "--on=" + node.address, "--"]
        other = ctx.start([*run, ctx.guest("outsider")])
        read_line(other.stdout.fileno(), 10)
        result = ctx.run_beside([*run, "python3", "-c", FORKS_UNTIL_IT_FAILS])
        ctx.expect(result == (0, b"EAGAIN\ngoes on\n", b""), f"forks: {result}")
        for _ in range(2):                                       # one takes the session that was made in advance
            group.write("pids.max", 1)
            status, out, err = ctx.run_beside([*run, "true"])
            ctx.expect((status, out) == (125, b"") and re.fullmatch(rb"omxsup: [^\n]+\n", err),
                       f"none is left: {status} {out!r} {err!r}")
        ctx.expect(b"can't make another process" in err, f"the reason isn't named: {err!r}")
        ctx.expect(ctx.end(other, b"x") == (5, b"read 1\n", b""), "the other guest isn't well")


def case_process_numbers_exhausted_at_home(ctx):
    group = Cgroup(ctx, "pids", "pids.max", 30)
    for mode in ("native", *FAR_MODES):
        words = ctx.stage.words(mode, ["python3", "-c", FORKS_UNTIL_IT_FAILS])
        result = ctx.end(ctx.start([*group.inside(ctx.user), *words], preexec_fn=None), b"")
        ctx.expect(result == (0, b"EAGAIN\ngoes on\n", b""), f"{mode}: {result}")
    group.write("pids.max", 1)
    words = [*group.inside(ctx.user), *ctx.stage.words("remote", ["true"])]
    status, out, err = ctx.end(ctx.start(words, preexec_fn=None), b"")
    ctx.expect(status == 125 and out == b"" and re.fullmatch(rb"omxsup: [^\n]+\n", err), f"{status} {out!r} {err!r}")
    group.close()


def case_node_that_speaks_otherwise(ctx):
    """Whatever a node says at first that isn't right: one line, 125."""
    cpu = bytes(136)                                           # and when it was sent
    texts = struct.pack("<I", 0) * 4
    answers = {
        "another version": (frame(HELLO, struct.pack("<IIII", 99, 0, 32768, 0) + cpu + texts), b"version 99"),
        "a refusal": (frame(REFUSE, struct.pack("<I", 4) + b"full"), b"full"),
        "a short hello": (frame(HELLO, b"x"), b""),
        "another frame": (frame(REPLY, b""), b""),
        "no frame": (b"HTTP/1.0 400 Bad Request\r\n\r\n", b""),
        "nothing": (b"", b""),
    }
    for what, (answer, reason) in answers.items():
        node = FakeNode(os.path.join(ctx.stage.directory, "fake"))
        process = ctx.start([ctx.stage.omxsup, "run", "--on=" + node.address, "--", "echo", "ran"])
        peer = node.accept()
        peer.receive()
        peer.socket.sendall(answer)
        peer.socket.close()
        status, out, err = ctx.end(process, b"")
        ctx.expect((status, out) == (125, b"") and re.fullmatch(rb"omxsup: [^\n]+\n", err) and reason in err,
                   f"{what}: {status} {out!r} {err!r}")
        node.close()


def case_link_that_is_cut(ctx):
    """Nobody hears a word any more, no goodbye either: both ends notice, and the node is well when it is back."""
    with node_on_another_host(ctx, "--patience=2") as (hosts, far):
        before = processes.descendants()
        jobs = [ctx.start([*far, ctx.guest("outsider"), *how], preexec_fn=None) for how in ([], ["compute"])]
        for job in jobs:
            read_line(job.stdout.fileno(), 10)
        hosts.cut(True)
        os.kill(jobs[1].pid, signal.SIGUSR1)                     # this one's link has something to send, too
        for job in jobs:
            out, err = job.communicate(timeout=20)
            ctx.expect(job.returncode == 125 and re.fullmatch(rb"omxsup: lost the link to node [^\n]+\n", err),
                       f"{job.returncode} {out!r} {err!r}")
        ctx.complaints += [f"left over: {processes.describe(pid)}" for pid in processes.leftovers(before, 20)]
        hosts.cut(False)
        hosts.wait_for("10.99.0.2", 7117)
        process = ctx.start([*far, "echo", "again"], preexec_fn=None)
        out, err = process.communicate(b"", timeout=ctx.stage.timeout_s)
        ctx.expect((process.returncode, out, err) == (0, b"again\n", b""), f"{process.returncode} {out!r} {err!r}")
