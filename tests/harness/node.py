"""A node for tests: `omxsup node` on a unix socket. Its worker makes the empty root and namespaces by itself."""
import contextlib
import os
import signal
import subprocess
import time


class Node:
    def __init__(self, omxsup, directory, user, environment, options=(), under=()):
        self.socket = os.path.join(directory, "node.sock")
        self.address = "unix:" + self.socket
        self.log_path = os.path.join(directory, "node.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*under, omxsup, "node", "--listen", self.address, "--name", "testnode", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment,
                start_new_session=True, preexec_fn=user.become)
        self._wait_until_listening()
        self.first_fds = self.fds()

    def _wait_until_listening(self, patience_s=10):
        end = time.monotonic() + patience_s
        while "listening on" not in self.log():                 # its socket is there before anybody can connect to it
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the node did not start:\n" + self.log())
            time.sleep(0.005)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def fds(self):
        names = []
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):          # closed since it was listed
                names.append(os.readlink(f"/proc/{self.pid}/fd/{fd}"))
        return sorted(names)

    @property
    def pid(self):
        return self.process.pid

    def fd_growth(self, patience_s=2.0):
        """Descriptors the daemon didn't have before its first job. Cached file contents (sealed memfds) are wanted."""
        end = time.monotonic() + patience_s
        while True:
            more = [fd for fd in self.fds() if "memfd:" not in fd]
            before = [fd for fd in self.first_fds if "memfd:" not in fd]
            if len(more) <= len(before) or time.monotonic() > end:
                return [fd for fd in more if fd not in before] if len(more) > len(before) else []
            time.sleep(0.02)

    def stop(self):
        """A daemon asked to end must end by itself, with status 0 and without its socket."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return ["the node did not end within 5 s of SIGTERM"]
        return [] if status == 0 else [f"the node ended with status {status}"]
