"""Whose rights a test runs with: the caller's, or those of an ordinary user that a root caller drops to."""
import os
import pwd
import signal


class User:
    def __init__(self, name):
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
        self.name, self.uid, self.gid = entry.pw_name, entry.pw_uid, entry.pw_gid

    def become(self):
        """In a forked child. Root drops for good; anybody else can only stay what he is. What nohup or a shell in the
        background ignores would be inherited, and programs do something else then."""
        for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(ignored, signal.SIG_DFL)
        if os.getuid() == 0 and self.uid != 0:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)

    def give(self, path):
        if os.getuid() == 0:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path):
        """False if a directory above or the file itself is closed to others: then a copy must do."""
        if self.uid == os.getuid():
            return True
        path = os.path.realpath(path)
        while os.stat(path).st_mode & 0o005 == 0o005:
            if path == "/":
                return True
            path = os.path.dirname(path)
        return False


def available():
    """Root tests as root and as nobody: most mistakes about rights show in only one of the two."""
    return ["root", "nobody"] if os.getuid() == 0 else [pwd.getpwuid(os.getuid()).pw_name]
