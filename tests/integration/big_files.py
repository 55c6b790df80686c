"""Cases of big mapped files, whose pages come from home where a guest touches them."""
import json
import os
import re
import signal

from context import FAR_MODES, guest_of, state_of, tracer_of, wait_for_state, wait_until
from harness import processes


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
