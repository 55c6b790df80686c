"""Two hosts, a node on one of them, and the ping-pong between them that everything is held against."""
import argparse, contextlib, json, os, struct, subprocess

_args = argparse.ArgumentParser()
_args.add_argument("build")
_args.add_argument("--only", default="")
_args.add_argument("--json")
_args.add_argument("--quick", action="store_true")
_args.add_argument("--idle", choices=["halt", "poll", "both"], default="both")
args = _args.parse_args()
BUILD = os.path.abspath(args.build)
OMXSUP = os.path.join(BUILD, "supervisor/omxsup")
WORK = os.path.join(BUILD, "tests/guest_work")
LIFE = os.path.join(BUILD, "tests/life_work")
PINGPONG = os.path.join(BUILD, "tests/bench_pingpong")
CPUS = os.cpu_count()
ROUNDS = 1 if args.quick else 3
NS = f"omxb{os.getpid()}"
rows = []


class Hosts:
    """Two places to run things: in namespaces of their own as root, else plainly on this machine."""
    def __init__(self):
        self.own = os.geteuid() == 0 and subprocess.run(["ip", "-V"], capture_output=True).returncode == 0
        self.address = "10.91.7.2" if self.own else "127.0.0.1"
        self.home_address = "10.91.7.1" if self.own else "127.0.0.1"

    def __enter__(self):
        if self.own:
            sh = lambda *a: subprocess.run(a, check=True)
            for k in "12":
                sh("ip", "netns", "add", NS + k)
                sh("ip", "-n", NS + k, "link", "set", "lo", "up")
            sh("ip", "-n", NS + "1", "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", NS + "2")
            for k in "12":
                sh("ip", "-n", NS + k, "addr", "add", f"10.91.7.{k}/24", "dev", "v0")
                sh("ip", "-n", NS + k, "link", "set", "v0", "up")
        return self

    def __exit__(self, *_):
        if self.own:
            for k in "12":
                subprocess.run(["ip", "netns", "del", NS + k])

    def command(self, host, cpu, words):
        prefix = ["ip", "netns", "exec", NS + str(host)] if self.own else []
        return prefix + ["taskset", "-c", str(cpu)] + words


@contextlib.contextmanager
def running(words, **kw):
    p = subprocess.Popen(words, **kw)
    try:
        yield p
    finally:
        p.terminate()
        p.wait()


def port_of(p):
    return p.stdout.readline().decode().strip().rsplit(":", 1)[1]


class Bed:
    """A node on one host, everything else on the other."""
    def __init__(self, hosts, home_cpu=0, node_cpu=None, spin=None, lanes="auto"):
        self.hosts, self.home_cpu, self.node_cpu = hosts, home_cpu, (1 % CPUS if node_cpu is None else node_cpu)
        self.lanes, self.env = lanes, dict(os.environ)
        if spin is not None:
            self.env["OMXSUP_SPIN_US"] = str(spin)

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        node = self.stack.enter_context(running(self.hosts.command(2, self.node_cpu,
            [OMXSUP, "node", "--listen", self.hosts.address + ":0", "--insecure", "--name", "bench", "--lanes", self.lanes]), stdout=subprocess.PIPE, env=self.env))
        self.node = f"{self.hosts.address}:{port_of(node)}"
        server = self.stack.enter_context(running(self.hosts.command(2, self.node_cpu, [PINGPONG, "server", "0"]), stdout=subprocess.PIPE))
        self.pingpong_port = server.stdout.readline().decode().split()[-1]
        return self

    def __exit__(self, *exc):
        return self.stack.__exit__(*exc)

    def home(self, words, **kw):
        return subprocess.run(self.hosts.command(1, self.home_cpu, words), stdout=subprocess.PIPE, env=self.env, check=True, **kw).stdout

    def pingpong(self, *more):
        return json.loads(self.home([PINGPONG, "client", self.hosts.address, self.pingpong_port, *more]))

    def round_trip(self):
        return self.pingpong("--count", "2000" if args.quick else "5000")

    def away(self, words, stats=None, **kw):
        option = [f"--stats={stats}"] if stats else []
        return self.home([OMXSUP, "run", "--on", self.node, *option, "--", *words], **kw)

    def fed(self, words):
        with running(self.hosts.command(1, self.home_cpu, [WORK, "feed"]), stdout=subprocess.PIPE) as feeder:
            return json.loads(self.away(words, stdin=feeder.stdout))


def report(name, value, goal, unit="×", **more):
    rows.append(dict(name=name, value=value, goal=goal, unit=unit, **more))
    details = "  ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in more.items())
    print(f"{name:<64} {value:9.3f} {unit:<3} goal {goal:<10} {details}", flush=True)


def wanted(name):
    return args.only in name


def median_of(rounds, measure):
    got = [measure() for _ in range(rounds)]
    return sorted(got, key=lambda g: g[0])[len(got) // 2]


@contextlib.contextmanager
def polling():
    """Idle CPUs poll instead of halting while /dev/cpu_dma_latency is held at 0."""
    with open("/dev/cpu_dma_latency", "wb", buffering=0) as f:
        f.write(struct.pack("i", 0))
        yield
