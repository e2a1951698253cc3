"""Whose rights user code and every file operation have, and how such code is started."""

import contextlib
import ctypes
import os
import threading

USER_ID = 1000
# The most there is: the kernel adds what a process holds in thousandths of the limit, and with anything less a workspace
# that holds much of a small sandbox goes before a user who hides memory in files and pipes.
EXPENDABLE = 1000
SCORE_PATH = "/proc/self/oom_score_adj"
PR_SET_DUMPABLE = 4


class User:
    """The user by whose rights everything is done; `identity` makes a program of subprocess nothing but them."""

    def __init__(self, home, identity, score):
        self.home, self.identity = home, identity
        self._score = score
        self._own_score = int(os.pread(score, 16, 0))
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def expendable(self):
        """What is started in this block inherits a score by which the system kills it first when memory ends."""
        with self._lock:
            os.pwrite(self._score, b"%d" % max(self._own_score, EXPENDABLE), 0)
            try:
                yield
            finally:
                os.pwrite(self._score, b"%d" % self._own_score, 0)


def become_user(home):
    """
    Takes the user's effective rights for the whole life of this process, while the real and saved uid stay root.
    So the kernel itself refuses every file that the user may not have, whatever a path is swapped for meanwhile, and
    yet no process of the user can signal, trace or read this one, which differs from them in real and saved uid.
    """
    score = _open_score()
    os.umask(0o022)
    if os.getuid() != 0:
        return User(home, {}, score)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(0, USER_ID, 0)
        os.setresuid(0, USER_ID, 0)
    return User(home, {"user": USER_ID, "group": USER_ID}, score)


def _open_score():
    """
    What took another's rights has lost its own files under /proc to root. For the moment of the opening it has them
    back: other processes of the user may look at it then, and there is none yet.
    """
    try:
        return os.open(SCORE_PATH, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        control = ctypes.CDLL(None).prctl
        control(PR_SET_DUMPABLE, 1, 0, 0, 0)
        try:
            return os.open(SCORE_PATH, os.O_RDWR | os.O_CLOEXEC)
        finally:
            control(PR_SET_DUMPABLE, 0, 0, 0, 0)


def close_strays(*meant):
    """Closes what whoever started us left open without meaning to; else every program of the user would have it."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor <= 2 or descriptor in meant:
            continue
        # The listing's own descriptor is gone by now.
        with contextlib.suppress(OSError):
            if os.get_inheritable(descriptor):
                os.close(descriptor)
