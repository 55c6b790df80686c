"""What a case has at hand: the stage it runs on, and a look at processes, here and on the node."""
import os
import re
import select
import subprocess
import time

from harness import processes

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


def state_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


def wait_until(ctx, condition, otherwise, patience_s=10):
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return ctx.complaints.append(otherwise)
        time.sleep(0.002)


def tracer_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"TracerPid:\s+(\d+)", f.read()).group(1))


def supervisor_of(pid):
    tracer = tracer_of(pid)
    if not tracer:
        raise RuntimeError(f"{pid} has no supervisor")        # a signal to 0 would be ours, too
    return tracer
