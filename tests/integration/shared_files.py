"""Cases of files that a guest has mapped shared and that somebody outside of its job reads, writes, or maps, too."""
import json
import mmap
import os
import signal

from context import FAR_MODES, read_line, wait_until


def fresh_file(ctx):
    path = os.path.join(ctx.stage.work, "shared")
    with open(path, "wb") as f:
        f.write(bytes(4096))
    os.chown(path, ctx.user.uid, -1)
    return path


def maps_shared(ctx, mode, path):
    """A guest that has the file mapped and copies its first byte to its second one, until that is 255."""
    words = ctx.stage.words(mode, [ctx.guest("outsider"), "share", path])
    words.insert(words.index("run") + 1, "--stats=stats")
    process = ctx.start(words)
    says(ctx, process, mode, b"mapped\n")
    return process


def says(ctx, process, mode, wanted):
    line = read_line(process.stdout.fileno(), ctx.stage.timeout_s)
    ctx.expect(line == wanted, f"{mode}: the guest said {line!r}, not {wanted!r}")


def ended(ctx, process, mode):
    """What --stats says of the guest: where it was, and why."""
    status, out, err = ctx.end(process, b"")
    ctx.expect((status, out, err) == (0, b"", b""), f"{mode}: {status} {out!r} {err!r}")
    with open(os.path.join(ctx.stage.work, "stats")) as f:
        return [(p["where"], p["reason"]) for p in json.load(f)["processes"]]


def answers(ctx, process, mode, store, load):
    """What somebody stores in the first byte the guest copies to the second one, up to the end."""
    for turn in 1, 2, 3, 4, 5, 255:
        store(turn)
        if turn < 255:
            wait_until(ctx, lambda: load() == turn, f"{mode}: no answer in turn {turn}")
    says(ctx, process, mode, b"saw the end\n")


def case_shared_file_read_and_written_by_others(ctx):
    """While the guest makes no call at all."""
    for mode in FAR_MODES:
        path = fresh_file(ctx)
        process = maps_shared(ctx, mode, path)
        with open(path, "r+b", buffering=0) as file:
            answers(ctx, process, mode, lambda turn: os.pwrite(file.fileno(), bytes([turn]), 0),
                    lambda: os.pread(file.fileno(), 1, 1)[0])
        where = ended(ctx, process, mode)
        ctx.expect(where == [("away", "")], f"{mode}: {where}")


def case_shared_file_mapped_by_others(ctx):
    """Before the guest maps it, and when it has: then they share it at home."""
    for mode in FAR_MODES:
        for before in True, False:
            path = fresh_file(ctx)
            process = None if before else maps_shared(ctx, mode, path)
            # Of the guest's own user, whose processes its supervisor sees. Stopped: all answers are the guest's.
            other = ctx.start([ctx.guest("outsider"), "share", path])
            says(ctx, other, mode, b"mapped\n")
            os.kill(other.pid, signal.SIGSTOP)
            process = process or maps_shared(ctx, mode, path)
            wait_until(ctx, lambda: "memfd:" not in open(f"/proc/{process.pid}/maps").read(),
                       f"{mode}, {before}: the guest doesn't come home")
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 4096) as memory:
                answers(ctx, process, mode, lambda turn: memory.__setitem__(0, turn), lambda: memory[1])
            os.kill(other.pid, signal.SIGCONT)
            says(ctx, other, mode, b"saw the end\n")
            ctx.end(other, b"")
            where = ended(ctx, process, mode)
            why = f"a file that process {other.pid} has mapped shared, too, can't be on two machines at once"
            ctx.expect(any(place == "came home" and why in reason for place, reason in where), f"{mode}: {where}")
