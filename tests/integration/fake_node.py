"""A node that has no guests: what home does for a peer that says this and that. Speaks docs/protocol.md."""
import os
import select
import socket
import struct

HELLO, REFUSE, CALL, REPLY, IMAGE, IMAGE_DONE, KILL, GONE = 1, 2, 10, 11, 12, 13, 15, 16
PING, LANE_ASK, LANE, LANE_REPLY, CLOCK = 23, 25, 26, 27, 38
READ, WRITE, CLONE, GETPPID = 0, 1, 56, 110
PROTOCOL_VERSION = 7
TOKEN = bytes(range(16))


def frame(kind, body=b"", number=0):
    return struct.pack("<IHHQ", len(body), kind, 0, number) + body


def text(s):
    return struct.pack("<I", len(s)) + s


def call(tid, number, arguments, *pieces):
    """Pieces: (n, bytes) of each buffer; n alone for one that home fills."""
    arguments = list(arguments) + [0] * (6 - len(arguments))
    body = struct.pack("<iI6Q", tid, number, *arguments)
    for size, data in pieces:
        body += struct.pack("<I", size) + data
    return body


class Peer:
    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(5)
        self.frames = 0

    def send(self, kind, body=b"", number=0):
        self.socket.sendall(frame(kind, body, number))

    def receive(self):
        """(type, id, body); (0, 0, b"") at the end."""
        header = self._exactly(16)
        if not header:
            return 0, 0, b""
        length, kind, _, number = struct.unpack("<IHHQ", header)
        body = self._exactly(length)
        self.frames += 1
        if kind == CLOCK and body[:8] == bytes(8):            # now and then, unasked
            return self.receive()
        return kind, number, body

    def frames_so_far(self):
        """How many frames have come, those with nothing but the time that have not been received yet included."""
        while select.select([self.socket], [], [], 0)[0]:
            length, kind, _, _ = struct.unpack("<IHHQ", self._exactly(16))
            assert kind == CLOCK, kind
            self._exactly(length)
            self.frames += 1
        return self.frames

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                return b""
            data += more
        return data


class FakeNode:
    def __init__(self, path):
        self.address = "unix:" + path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen(8)
        self.listener.settimeout(5)

    def accept(self):
        return Peer(self.listener.accept()[0])

    def take_job(self):
        """Takes a job's link and its first process, whose pid is known afterwards."""
        self.link = self.accept()
        kind, _, body = self.link.receive()
        assert kind == HELLO, kind
        version, _, pid_max = struct.unpack_from("<III", body)
        numbers_and_cpu = body[16:152]
        asked = struct.pack("<q", 1)
        numbers = struct.pack("<IIII", version, 0, pid_max, 0)
        self.link.send(HELLO, numbers + numbers_and_cpu + asked + text(b"fake") + text(b"") * 3)
        kind, _, body = self.link.receive()
        assert (kind, body[:8], len(body)) == (CLOCK, asked, 48), (kind, body)
        kind, _, body = self.link.receive()
        assert kind == IMAGE, kind
        self.pid = struct.unpack_from("<i", body)[0]
        self.version = version
        self.link.send(IMAGE_DONE, struct.pack("<i", self.pid) + text(b""))
        # Answered once the deputy stands ready.
        self.link.send(CALL, call(self.pid, GETPPID, []), 1)
        kind, number, _ = self.link.receive()
        assert (kind, number) == (REPLY, 1), (kind, number)

    def open_lane(self, number):
        self.link.send(LANE_ASK, struct.pack("<iQ", self.pid, number) + TOKEN)
        lane = self.accept()
        kind, _, body = lane.receive()
        assert (kind, body) == (LANE, struct.pack("<I", self.version) + TOKEN + struct.pack("<Q", number)), (kind, body)
        return lane

    def end_process(self, status=0):
        self.link.send(GONE, struct.pack("<iiQQQQ", self.pid, status << 8, 0, 0, 0, 0))

    def close(self):
        self.listener.close()
        os.unlink(self.address.removeprefix("unix:"))
