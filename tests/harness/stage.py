"""A directory in which one command runs natively and in other ways, one after the other, under the same path."""
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from . import processes
from .node import Node
from .outcome import Outcome, files_below

MODES = {"native": None, "home": ["--home"], "remote": ["--on"], "local": ["--local-node"],
         "epoll": ["--on", "--link=epoll"], "lanes": ["--on"], "lazy": ["--on"], "recalled": ["--on"]}
# What a mode asks of its node. `lanes`: every guest gets its own lane at once, and every call site is rewritten at its
# first use (docs/lanes.md); otherwise only long-running ones do. `lazy`: data files are mapped as big ones are, however
# small. `recalled`: at random moments one of its processes is asked to come home. `without-X`: as if the kernel lacked X.
NODE_OPTIONS = {"epoll": ("--link=epoll",), "lanes": ("--lanes=always",), "lazy": ("--lazy-above=0",)}
# `skewed`: a node that was started a day later than home (it sees so; all guests' clocks are home's all the same).
# `hour-ahead`: a node that takes home's CLOCK_REALTIME to be an hour ahead of its own. It isn't, on one machine: whoever
# sees the kernel's clock instead of what the node says of home's is an hour late.
for mode, skew in {"skewed": "0,86400", "hour-ahead": "3600"}.items():
    MODES[mode] = ["--on"]
    NODE_OPTIONS[mode] = ("--test-skew=" + skew,)
for what in ("procmap-query", "sync-wake-up", "cache", "userfaultfd", "big-pages"):
    MODES["without-" + what] = ["--on"]
    NODE_OPTIONS["without-" + what] = ("--without=" + what,)


class TimedOut(Exception):
    pass


class Stage:
    def __init__(self, omxsup, user, timeout_s, seed=0):
        self.user, self.timeout_s = user, timeout_s
        self.seed, self.recalled = seed, 0
        self.directory = tempfile.mkdtemp(prefix="omxsup-test-")
        os.chmod(self.directory, 0o755)
        user.give(self.directory)
        self.work = os.path.join(self.directory, "work")
        self.omxsup = self.reachable(omxsup)
        self.nodes = {}

    def reachable(self, path):
        if self.user.can_reach(path):
            return os.path.abspath(path)
        copy = os.path.join(self.directory, os.path.basename(path))
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
        return copy

    def environment(self):
        # A fixed one: the same output whoever calls, and nothing of the caller's leaks into a comparison.
        return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": self.work, "LANG": "C.UTF-8",
                "TZ": "UTC", "TMPDIR": self.work, "USER": self.user.name}

    def node(self, options=(), under=()):
        """With these options, and started by the command `under`."""
        key = (*under, *options)
        if key not in self.nodes:
            directory = os.path.join(self.directory, f"node{len(self.nodes)}")
            os.mkdir(directory)
            self.user.give(directory)
            self.nodes[key] = Node(self.omxsup, directory, self.user, self.environment(), options, under)
        return self.nodes[key]

    def words(self, mode, command):
        """The command line that runs `command` in that mode."""
        if mode == "native":
            return command
        options = list(MODES[mode])
        if "--on" in options:
            node = self.node(NODE_OPTIONS.get(mode, ()))
            options[options.index("--on")] = "--on=" + node.address
        return [self.omxsup, "run", *options, "--", *command]

    def fresh_work(self):
        if os.path.isdir(self.work):
            shutil.rmtree(self.work)
        os.mkdir(self.work, 0o755)
        self.user.give(self.work)

    def start(self, words, **streams):
        how = {"cwd": self.work, "env": self.environment(), "start_new_session": True, "preexec_fn": self._prepare,
               "umask": 0o022}
        return subprocess.Popen(words, **how | streams)

    def _prepare(self):
        self.user.become()
        for number in signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE:      # a shell's background jobs ignore some
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))      # core files would differ

    def run(self, mode, command):
        words = self.words(mode, command)
        self.fresh_work()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            try:
                if mode == "recalled":
                    self._recall(process)
                status = process.wait(self.timeout_s)
            except subprocess.TimeoutExpired:
                out.seek(0), err.seek(0)
                raise TimedOut(self._autopsy(process, out.read(), err.read())) from None
            left = self.leftover_processes()
            out.seek(0), err.seek(0)
            outcome = Outcome(out.read(), err.read(), status, files_below(self.work))
        return outcome, left

    def _recall(self, process):
        """Until it ends: now and then one of the job's processes, its first one or another, comes home."""
        chance = random.Random(self.seed)
        end = time.monotonic() + self.timeout_s
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.05))
            away = [p["pid"] for p in json.loads(self._ask("ps", "--json") or "[]") if p["place"] != "home"]
            ours = set(processes.descendants()) & set(away)
            if ours:
                self.recalled += 1
                self._ask("migrate", str(chance.choice(sorted(ours))), "home")

    def _ask(self, *words):
        """One that ends just then can't be asked any more."""
        asked = self.start([self.omxsup, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            return asked.communicate(timeout=self.timeout_s)[0].decode()
        except subprocess.TimeoutExpired:
            asked.kill()
            asked.wait()
            raise TimedOut(f"omxsup {' '.join(words)} gets no answer") from None

    def _autopsy(self, process, out, err):
        there = processes.descendants()
        report = [f"not finished after {self.timeout_s} s; processes:"] + [processes.describe(pid) for pid in there]
        report += ["stdout so far: " + repr(out[-800:]), "stderr so far: " + repr(err[-800:])]
        processes.kill_all(pid for pid in there if pid not in self.node_pids())
        process.wait()
        processes.leftovers(self.node_pids())
        return "\n".join(report)

    def node_pids(self):
        return [node.pid for node in self.nodes.values()]

    def leftover_processes(self):
        left = processes.leftovers(self.node_pids())
        described = [f"left over: {processes.describe(pid).strip()}" for pid in left]
        processes.kill_all(left)
        processes.leftovers(self.node_pids())
        return described

    def finish(self):
        """Ends the nodes; what they still hold or say is returned as complaints."""
        complaints = []
        for node in self.nodes.values():
            complaints += [f"the node keeps {fd}" for fd in node.fd_growth()] if node.process.poll() is None else []
            complaints += node.stop()
        return complaints + self.leftover_processes()

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)
