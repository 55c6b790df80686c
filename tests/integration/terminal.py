"""A person at a terminal: types lines and keys, waits for what the screen says, changes the window's size."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

PROMPT = "@ "


def group_members(group):
    """The names of a process group's commands, sorted: their numbers may have begun anew between two of them."""
    members = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                name, _, rest = f.read().partition(" (")[2].rpartition(") ")
        except OSError:
            continue
        if int(rest.split()[2]) == group:
            members.append(name)
    return sorted(members)


class Terminal:
    def __init__(self, stage, words, path="", patience_s=20):
        self.said, self.seen, self.patience_s = b"", 0, patience_s
        environment = stage.environment() | {"PS1": PROMPT, "TERM": "xterm"}
        environment["PATH"] = path + environment["PATH"]
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(stage.work)
                stage._prepare()
                os.execve(words[0], words, environment)
            finally:
                os._exit(99)
        self.resize(24, 80)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def wait_for(self, pattern):
        """False if it doesn't come. What came before is never looked at again."""
        end = time.monotonic() + self.patience_s
        while not (found := re.search(pattern.encode(), self.said[self.seen:])):
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                self.said += f"\n(waited in vain for {pattern!r})".encode()
                return False
            try:
                more = os.read(self.master, 4096)
            except OSError:
                more = b""
            if not more:
                self.said += f"\n(ended before {pattern!r})".encode()
                return False
            self.said += more
        self.seen += found.end()
        return True

    def wait_for_job(self, commands):
        """Until these are all that is in front. A key typed earlier would find a shell on its way, which ignores it."""
        end = time.monotonic() + self.patience_s
        while time.monotonic() < end:
            if group_members(os.tcgetpgrp(self.master)) == sorted(commands.split()):
                return True
            time.sleep(0.005)
        self.said += f"\n(waited in vain for {commands} in front)".encode()
        return False

    def play(self, steps):
        """Each step: what is typed, which commands must be in front before ("": whichever), what must come."""
        for keys, in_front, pattern in steps:
            if in_front and not self.wait_for_job(in_front):
                return
            if isinstance(keys, tuple):
                self.resize(*keys)
            else:
                os.write(self.master, keys.encode())
            if not self.wait_for(pattern):
                return

    def close(self):
        """The status of the command; a shell gets SIGHUP as from every terminal that goes away."""
        os.close(self.master)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return "did not end"

    def transcript(self):
        """What a person sees, without what differs from run to run."""
        text = re.sub(rb"\x1b\[\?2004[hl]\r?", b"", self.said).replace(b"\r", b"").decode(errors="replace")
        text = re.sub(r"\] \d+", "] PID", text)
        return re.sub(r"(?m)^(.*Stopped.*\n)\1+", r"\1", text)      # told by itself and asked for, or only once
