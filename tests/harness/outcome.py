"""What a program did, as far as anybody can see: output, errors, status, and the files it left."""
import hashlib
import os
import stat
from dataclasses import dataclass


@dataclass
class Outcome:
    stdout: bytes
    stderr: bytes
    status: int          # as subprocess has it: negative is a signal's number
    files: dict

    def differences(self, native):
        """One line for each thing that isn't as it was natively."""
        found = []
        if self.status != native.status:
            found.append(f"exit status {self.status}, natively {native.status}")
        for name in "stdout", "stderr":
            found += _text_differences(name, getattr(self, name), getattr(native, name))
        for path in sorted(self.files.keys() | native.files.keys()):
            mine, theirs = self.files.get(path), native.files.get(path)
            if mine != theirs:
                found.append(f"file {path}: {mine}, natively {theirs}")
        return found


def _text_differences(name, mine, theirs, context=3):
    if mine == theirs:
        return []
    mine_lines, their_lines = mine.split(b"\n"), theirs.split(b"\n")
    for number, (a, b) in enumerate(zip(mine_lines + [b"(end)"], their_lines + [b"(end)"]), 1):
        if a != b:
            break
    shown = b"\n    ".join(mine_lines[max(0, number - context):number + context])[:1500].decode(errors="replace")
    return [f"{name} line {number}: {a[:200]!r}, natively {b[:200]!r}; around it:\n    {shown}"]


def _describe_file(path):
    s = os.lstat(path)
    kind = stat.filemode(s.st_mode)
    if stat.S_ISLNK(s.st_mode):
        return kind, os.readlink(path)
    if stat.S_ISREG(s.st_mode):
        with open(path, "rb") as f:
            return kind, s.st_nlink, s.st_size, hashlib.sha256(f.read()).hexdigest()[:16]
    return (kind,)


def files_below(root):
    found = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = _describe_file(path)
    return found
