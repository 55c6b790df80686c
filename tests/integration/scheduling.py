"""Cases of nice values, scheduling classes and CPUs: as home's kernel has a deputy, the node's has its guest."""
import json
import os
import resource

from context import FAR_MODES, guest_of, read_line, wait_until

CLASSES = {os.SCHED_OTHER: "other", os.SCHED_BATCH: "batch", os.SCHED_IDLE: "idle", os.SCHED_FIFO: "fifo"}


def scheduling_of(pid):
    return (os.getpriority(os.PRIO_PROCESS, pid), CLASSES[os.sched_getscheduler(pid)], os.sched_getaffinity(pid))


def expect_on_node(ctx, process, wanted, what):
    wait_until(ctx, lambda: guest_of(process.pid) != process.pid, f"{what}: there is no guest of {process.pid}")
    there = guest_of(process.pid)
    wait_until(ctx, lambda: scheduling_of(there) == wanted,
               f"{what}: the guest has {scheduling_of(there)}, not {wanted}")


def cpus():
    return os.sched_getaffinity(0)


def may_raise_limit():
    """True where root's node may let its guests have a better nice value again (not without CAP_SYS_RESOURCE)."""
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NICE, (20, 20))
        except (OSError, ValueError):
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def case_a_command_leaves_as_it_is_scheduled(ctx):
    last = max(cpus())
    ways = {("nice", "-n", "5"): (5, "other", cpus()), ("chrt", "-b", "0"): (0, "batch", cpus()),
            ("chrt", "-i", "0"): (0, "idle", cpus()), ("taskset", "-c", str(last)): (0, "other", {last})}
    for mode in FAR_MODES:
        for under, wanted in ways.items():
            process = ctx.start([*under, *ctx.stage.words(mode, [ctx.guest("outsider")])])
            read_line(process.stdout.fileno(), 10)
            expect_on_node(ctx, process, wanted, f"{mode}: {' '.join(under)}")
            ctx.end(process, b"x")


class Shell:
    """A shell that is a guest, and does what it is told."""

    def __init__(self, ctx, words):
        self.process = ctx.start(words)

    def does(self, line):
        self.process.stdin.write(f"{line} >/dev/null; echo $?\n".encode())
        self.process.stdin.flush()
        return read_line(self.process.stdout.fileno(), 10)


def case_a_guest_is_scheduled_as_it_asks(ctx):
    last = max(cpus())
    for mode in FAR_MODES:
        shell = Shell(ctx, ctx.stage.words(mode, ["sh"]))
        group = "setsid sh -c 'renice -n 0 -g $$'"
        steps = {"renice -n 3 -p $$": (3, "other", cpus()),                       # by another guest
                 "renice -n 7 -g $$": (7, "other", cpus()),
                 group: (7, "other", cpus()),                                     # another's group
                 "chrt -b -p 0 $$": (7, "batch", cpus()),
                 f"taskset -pc {last} $$": (7, "batch", {last}),
                 "chrt -i -p 0 $$": (7, "idle", {last}),
                 "renice -n 9 -p $$": (9, "idle", {last})}
        for line, wanted in steps.items():
            shell.does(line)
            expect_on_node(ctx, shell.process, wanted, f"{mode}: after {line}")
        # What home refuses doesn't reach the node, and what it doesn't is followed, if the node's kernel allows it.
        status = shell.does("renice -n 0 -p $$")
        allowed = ctx.user.uid == 0
        ctx.expect(status == (b"0\n" if allowed else b"1\n"), f"{mode}: renice to 0 said {status}")
        back = 0 if allowed and may_raise_limit() else 9
        expect_on_node(ctx, shell.process, (back, "idle", {last}), f"{mode}: after going back")
        ctx.end(shell.process, b"")


def case_children_are_scheduled_as_their_parent_was(ctx):
    last = max(cpus())
    for mode in FAR_MODES:
        process = ctx.start(ctx.stage.words(
            mode, ["sh", "-c", f"renice -n 4 -p $$ >&2; taskset -pc {last} $$ >&2; sh -c 'echo $$; read line'; :"]))
        child = int(read_line(process.stdout.fileno(), 10))
        there = guest_of(child)
        ctx.expect(there != child and scheduling_of(there) == (4, "other", {last}),
                   f"{mode}: the child has {scheduling_of(there)}")
        ctx.end(process, b"x\n")


def case_a_guest_is_rescheduled_from_outside(ctx):
    last = max(cpus())
    for mode in FAR_MODES:
        process = ctx.outsider(mode)
        os.setpriority(os.PRIO_PROCESS, process.pid, 6)
        os.sched_setaffinity(process.pid, {last})
        expect_on_node(ctx, process, (6, "other", {last}), f"{mode}: from outside")
        ctx.end(process, b"x")


def case_a_realtime_guest_is_an_ordinary_one_on_a_node(ctx):
    if ctx.user.uid != 0:
        return                              # an ordinary user has no realtime threads
    process = ctx.start(["chrt", "-f", "1", *ctx.stage.words("remote", [ctx.guest("outsider")])])
    read_line(process.stdout.fileno(), 10)
    expect_on_node(ctx, process, (0, "other", cpus()), "chrt -f")
    ctx.expect(os.sched_getscheduler(process.pid) == os.SCHED_FIFO, "its deputy isn't a realtime thread any more")
    ctx.end(process, b"x")


def case_a_polite_node(ctx):
    """No guest has more than the node itself."""
    first = min(cpus())
    node = ctx.stage.node(under=("nice", "-n", "8", "taskset", "-c", str(first)))
    for nice, wanted in {"0": 8, "5": 8, "12": 12}.items():
        words = ["nice", "-n", nice, ctx.stage.omxsup, "run", "--on=" + node.address, "--", ctx.guest("outsider")]
        process = ctx.start(words)
        read_line(process.stdout.fileno(), 10)
        expect_on_node(ctx, process, (wanted, "other", {first}), f"nice {nice} on a node of nice 8")
        ctx.end(process, b"x")


def case_cpu_that_the_node_lacks(ctx):
    """The guest runs on those that it has, and says at home what was asked for."""
    first, last = min(cpus()), max(cpus())
    if first == last:
        ctx.skip("one CPU only")
    node = ctx.stage.node(under=("taskset", "-c", str(first)))
    words = [ctx.stage.omxsup, "run", "--on=" + node.address, "--", "sh"]
    shell = Shell(ctx, ["taskset", "-c", str(last), *words])
    shell.does(":")
    expect_on_node(ctx, shell.process, (0, "other", {first}), "pinned to a CPU that the node lacks")
    ctx.expect(os.sched_getaffinity(shell.process.pid) == {last}, "home has forgotten what was asked for")
    ctx.end(shell.process, b"")


def case_io_priority_is_the_deputys(ctx):
    """Home makes a guest's reads by itself only as long as the guest's I/O priority is its own."""
    line = "{}; i=0; while [ $i -lt 20 ]; do i=$((i+1)); read line < data; done"
    by_supervisor = {}
    with open(os.path.join(ctx.stage.work, "data"), "w") as f:
        f.write("a\n")
    ctx.stage.user.give(f.name)
    for first in ":", "ionice -c 3 -p $$":
        words = ctx.stage.words("remote", ["sh", "-c", line.format(first)])
        words.insert(words.index("run") + 1, "--stats=stats")
        ctx.expect(ctx.run(words)[0] == 0, f"{first}: failed")
        with open(os.path.join(ctx.stage.work, "stats")) as f:
            by_supervisor[first] = json.load(f)["run_by_supervisor"]
    ctx.expect(by_supervisor.pop(":") >= 20 + by_supervisor.popitem()[1], "it didn't matter")
