"""Every process a test starts stays below this one (it is their subreaper), so what is left over can be counted."""
import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _parents():
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        stat = _read(pid, "stat")
        if stat:
            parents[int(pid)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def descendants(of=None):
    """Pids of everything below `of` (this process by default), zombies included."""
    parents = _parents()
    found, front = [], [of or os.getpid()]
    while front:
        children = [pid for pid, parent in parents.items() if parent in front]
        found += children
        front = children
    return found


def reap(keep=()):
    """Collects orphans that ended. `keep`: children somebody else waits for."""
    for pid in descendants():
        if pid not in keep:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def describe(pid):
    state = _read(pid, "stat").rpartition(")")[2].split()[:2]
    return (f"  {pid} (state, parent: {' '.join(state)}) comm={_read(pid, 'comm')} wchan={_read(pid, 'wchan')} "
            f"syscall={_read(pid, 'syscall').split(' ')[0]} cmdline={_read(pid, 'cmdline')[:100]}")


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def leftovers(expected, patience_s=3.0):
    """Who is still there although nobody but `expected` should be. Ends take a moment: asks until it runs out."""
    end = time.monotonic() + patience_s
    while True:
        reap(keep=expected)
        # A node's session made in advance belongs to the node: it bears this name until a job takes it.
        left = [pid for pid in descendants() if pid not in expected and _read(pid, "comm") != "omxsup-spare"]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.01)
