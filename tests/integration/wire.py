"""Cases of who speaks what at either end of a link or a lane: by hand, and wrong."""
import json
import os
import re
import signal
import socket
import struct
import time

from context import read_line
from fake_node import (CALL, CLONE, GETPPID, GONE, HELLO, LANE_ASK, LANE_REPLY, PING, PROTOCOL_VERSION, READ, REPLY,
                       TOKEN, WRITE, FakeNode, call, frame)


def case_hello_that_makes_no_sense(ctx):
    """Whoever connects and says something wrong is told what."""
    def words(pid_max, cpus=1024):
        return struct.pack("<6I", PROTOCOL_VERSION, os.getuid(), pid_max, 1, cpus, 1) + bytes(136)
    texts = struct.pack("<I", 0) * 4
    first_words = {
        "a short hello": (frame(HELLO, words(32768)), b"makes no sense"),
        "too much": (frame(HELLO, words(32768) + texts + b"x"), b"makes no sense"),
        "no process numbers": (frame(HELLO, words(0) + texts), b"process numbers up to 0"),
        "too many": (frame(HELLO, words(0xffffffff) + texts), b"process numbers up to 4294967295"),
        "no CPUs": (frame(HELLO, words(4194304, 0) + texts), b"0 CPUs"),
        "more than any kernel has": (frame(HELLO, words(4194304, 8193) + texts), b"8193 CPUs"),
        "another version": (frame(HELLO, struct.pack("<I", 77)), b"home speaks protocol 77"),
    }
    node = ctx.stage.node(("--insecure",))                    # it is we who connect, not the node's user
    for what, (said, answer) in first_words.items():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(node.socket)
            s.sendall(said)
            try:
                got = b"".join(iter(lambda: s.recv(4096), b""))
            except OSError as e:
                got = repr(e).encode()
        ctx.expect(got[4:6] == b"\x02\x00" and answer in got, f"{what}: {got!r}")


def case_node_that_asks_for_too_much(ctx):
    """Each limit ends the job with one line, whoever of it is there."""
    run, node = [ctx.stage.omxsup, "run"], ctx.stage.node()
    script = "for i in 1 2 3 4 5; do sleep 9 & done; wait"
    for limit, command in {"deputies=3": ["sh", "-c", script], "files=1": ["true"]}.items():
        status, out, err = ctx.run([*run, "--on", node.address, "--limit", limit, "--", *command])
        ctx.expect(status == 125 and re.fullmatch(rb"omxsup: node \S+ asks for too much: more than \d [^\n]+\n", err),
                   f"{limit}: status {status}, {out!r} {err!r}")
    flood = ["--limit", "queue-bytes=1000000"]
    fake, process = fake_job(ctx, ["sleep", "9"], *flood)
    try:
        for _ in range(1000):
            fake.link.send(PING, bytes(65536))                   # whose answers nobody reads
    except OSError:
        pass
    status, out, err = ctx.end(process)
    fake.close()
    ctx.expect(status == 125 and b"more than 1000000 bytes of answers" in err, f"a flood: {status}, {out!r} {err!r}")


# Connects in ways in which no supervisor does; run as the node's user, whom alone it listens to.
STRANGERS = """
import socket, struct, sys, time
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.settimeout(5)
    return s
def is_closed(data):
    s = connect()
    s.sendall(data)
    try:
        return s.recv(100) == b""
    except ConnectionResetError:
        return True
def frame(kind, body, flags=0):
    return struct.pack("<IHHQ", len(body), kind, flags, 0) + body
version = int(sys.argv[2])
lane = struct.pack("<I", version) + b"T" * 16 + struct.pack("<Q", 1)
said = {"wrong token": frame(26, lane), "wrong version": frame(26, b"!" * 28), "short lane": frame(26, lane[:-1]),
        "long lane": frame(26, lane + b"x"), "call": frame(10, b""), "flags": frame(1, b"", 1), "HTTP": b"GET / HTTP/1.1\\r\\n" * 2,
        "zeroes": bytes(1000)}
for what, data in said.items():
    if not is_closed(data):
        print("not closed:", what)
silent = [connect() for _ in range(70)]
for s in silent[:3]:
    if s.recv(1) != b"":
        print("an old silent one was not closed")
in_pieces = connect()
hello = frame(1, struct.pack("<I", 999))
for piece in hello[:3], hello[3:17], hello[17:]:
    in_pieces.sendall(piece)
    time.sleep(0.05)
if in_pieces.recv(16)[4:6] != b"\\x02\\x00":
    print("a hello in pieces was not answered")
print("ready", flush=True)
sys.stdin.read()
"""


def case_strangers_at_a_node(ctx):
    node = ctx.stage.node()
    before = ctx.outsider("remote")
    strangers = ctx.start(["python3", "-c", STRANGERS, node.socket, str(PROTOCOL_VERSION)])
    said = b""
    while not said.endswith(b"ready\n"):
        line = read_line(strangers.stdout.fileno(), 20)
        said += line
        if not line:
            break
    ctx.expect(said == b"ready\n", f"strangers: {said!r}")
    # Silent ones are still connected: neither a job that runs nor a new one minds.
    started = time.monotonic()
    process = ctx.start(ctx.stage.words("remote", ["echo", "fine"]))
    out, err = process.communicate(b"", timeout=ctx.stage.timeout_s)
    ctx.expect((process.returncode, out, err) == (0, b"fine\n", b""), f"{process.returncode} {out!r} {err!r}")
    ctx.expect(time.monotonic() - started < 5, "a job waited for silent connections")
    out, err = strangers.communicate(b"", timeout=ctx.stage.timeout_s)
    ctx.expect((out, err) == (b"", b""), f"strangers: {out!r} {err!r}")
    status, out, err = ctx.end(before, b"x")
    ctx.expect((status, out, err) == (5, b"read 1\n", b""), f"the job from before: {status} {out!r} {err!r}")


def fake_job(ctx, command, *options):
    """A job on a node without guests, and the two ends of its standard output."""
    node = FakeNode(os.path.join(ctx.stage.directory, "fake"))
    process = ctx.start([ctx.stage.omxsup, "run", *options, "--on=" + node.address, "--", *command])
    node.take_job()
    return node, process


def case_calls_over_a_lane(ctx):
    node, process = fake_job(ctx, ["cat"], "--stats=stats")
    lane = node.open_lane(41)
    lane.send(CALL, call(node.pid, WRITE, [1, 0x1000, 3], (3, b"one")), 0)
    reply = lane.receive()
    frames = node.link.frames_so_far()
    ctx.expect(reply == (LANE_REPLY, 0, struct.pack("<QqHHI", frames, 3, 0, 0, 0)), f"write over a lane: {reply}")
    node.link.send(CALL, call(node.pid, WRITE, [1, 0x1000, 3], (3, b"two")), 8)
    ctx.expect(node.link.receive() == (REPLY, 8, struct.pack("<qHHI", 3, 0, 0, 0)), "write over the link")
    # A call that blocks; a lane whose end comes meanwhile harms nobody, another one goes on.
    lane.send(CALL, call(node.pid, READ, [0, 0x2000, 10], (10, b"")), 9)
    time.sleep(0.05)
    process.stdin.write(b"in")
    process.stdin.flush()
    reply = lane.receive()
    body = struct.pack("<QqHHI", node.link.frames_so_far(), 2, 0, 0, 1) + struct.pack("<QI", 0x2000, 2) + b"in"
    ctx.expect(reply == (LANE_REPLY, 9, body), f"read over a lane: {reply}")
    lane.send(CALL, call(node.pid, READ, [0, 0x2000, 10], (10, b"")), 10)
    time.sleep(0.05)
    lane.socket.close()
    process.stdin.write(b"lost")
    process.stdin.flush()
    time.sleep(0.05)
    other = node.open_lane(41)
    for number in range(100):
        other.send(CALL, call(node.pid, GETPPID, []), number)
        kind, answered, body = other.receive()
        ctx.expect((kind, answered) == (LANE_REPLY, number), f"getppid: {kind} {answered} {body}")
    node.end_process(7)
    ctx.expect(other.receive()[0] == 0, "a lane stays when its process has ended")
    status, out, err = ctx.end(process, b"")
    ctx.expect((status, out, err) == (7, b"onetwo", b""), f"{status} {out!r} {err!r}")
    with open(os.path.join(ctx.stage.work, "stats")) as f:
        stats = json.load(f)
    ctx.expect((stats["lanes"], stats["calls_over_lanes"]) == (2, 103), f"stats: {stats}")
    node.close()


def case_what_may_not_come_over_a_lane(ctx):
    def wrong_frame(node, lane):
        lane.send(GONE, struct.pack("<iiQQQQ", node.pid, 0, 0, 0, 0, 0))

    def other_process(node, lane):
        node.link.send(CALL, call(node.pid, CLONE, [signal.SIGCHLD]), 1)
        child = struct.unpack_from("<q", node.link.receive()[2])[0]
        lane.send(CALL, call(child, GETPPID, []), 2)

    for wrong in wrong_frame, other_process:
        node, process = fake_job(ctx, ["cat"])
        lane = node.open_lane(1)
        wrong(node, lane)
        ctx.expect(lane.receive()[0] == 0, f"{wrong.__name__}: the lane goes on")
        node.link.socket.close()
        status, out, err = ctx.end(process, b"")
        ctx.expect(status == 125 and b"lane" in err, f"{wrong.__name__}: {status} {out!r} {err!r}")
        node.close()


def case_lanes_that_cannot_be(ctx):
    node, process = fake_job(ctx, ["cat"], "--lanes=off")
    node.link.send(LANE_ASK, struct.pack("<iQ", node.pid, 1) + TOKEN)
    node.link.send(LANE_ASK, struct.pack("<iQ", 1, 1) + TOKEN)      # whose process?
    node.link.send(CALL, call(node.pid, GETPPID, []), 1)
    ctx.expect(node.link.receive()[:2] == (REPLY, 1), "a job without lanes ends at being asked for one")
    node.end_process()
    status, out, err = ctx.end(process, b"")
    ctx.expect((status, out, err) == (0, b"", b""), f"{status} {out!r} {err!r}")
    node.close()
