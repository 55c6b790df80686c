"""Two hosts on this machine, for cases of what crosses a network."""
import contextlib
import os
import signal
import subprocess
import time


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
