"""What a fork of the seed does first: it becomes what it was forked for, and nothing of the seed stays open in it."""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import sys

from contexts import python
from forks import forked, woken_by
from launch import TREE_VARIABLE, base_environment
from launcher import CHANNEL, Launcher
from lock import (
    PR_GET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, USER,
    control, keep_capabilities,
)  # fmt: skip
from rights import EXPENDABLE

FIRST_FREE = 10
# Where a process shows its arguments and its first variables, counted from the state in /proc/self/stat.
AREA_FIELDS = slice(45, 49)


def become_interpreter(tree, streams, seed):
    """Becomes the user's own process in every respect, and then an interpreter. Does not return."""
    with forked(126):
        begin(streams, seed, "python3", f"{TREE_VARIABLE}={tree}")
        raise_score()
        os.environ.update(base_environment(), **{TREE_VARIABLE: tree})
        python.forget()
        draw_again()
        python.run()


def become_launcher(orders, seed):
    """Becomes the user, and then a launcher; nobody of the user's may look into it. Does not return."""
    with forked(126):
        begin([orders, 1, 2], seed, "launcher", "")
        launcher = Launcher(socket.socket(fileno=CHANNEL), woken_by(signal.SIGCHLD), EXPENDABLE)
        control(PR_SET_DUMPABLE, 0)
        launcher.run()


def begin(streams, seed, title, variable):
    """Leaves what is the seed's, and is the user's from here on, under a title of its own and with no variables."""
    leave_home(streams)
    become_user()
    end_with(seed)
    control(PR_SET_NAME, ctypes.c_char_p(title.encode()))
    show(title, variable)
    os.umask(0o022)
    os.environ.clear()


def leave_home(streams):
    """What is the seed's is left behind: its signals, its session, its descriptors."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    take_descriptors(streams)


def take_descriptors(streams):
    """Standard streams and the channel, at 0 to 3, and no other."""
    channel, stdout, stderr = streams
    null = os.open(os.devnull, os.O_RDONLY)
    wanted = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for one in (null, stdout, stderr, channel)]
    for number, one in enumerate(wanted):
        os.dup2(one, number, inheritable=number < 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))


def become_user():
    """
    The user's uid thrice, which needs no capability since it is the effective one already. From then on this process
    may be looked into like any of the user's, which also makes its score its own to raise.
    """
    if os.geteuid() == 0:
        os.setgroups([])
    if os.getresuid() != (USER, USER, USER):
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    if os.getresuid() != (USER, USER, USER) or os.getresgid() != (USER, USER, USER):
        raise PermissionError("this fork is not the user")
    keep_capabilities()
    control(PR_SET_NO_NEW_PRIVS, 1)
    control(PR_SET_DUMPABLE, 1)


def raise_score():
    """Makes this process die before the seed when memory ends."""
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as score:
        own = int(score.read())
        if own < EXPENDABLE:
            score.write(str(EXPENDABLE).encode())


def end_with(parent):
    """Dies when the parent dies, also if that was a moment ago."""
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def take_orphans():
    """Whose parents go become this process's children, and their ends its to know."""
    control(PR_SET_CHILD_SUBREAPER, 1)


@contextlib.contextmanager
def same_death():
    """Whoever started this process may have it die with them; the system forgets that when rights change, so it is said again."""
    wanted = ctypes.c_int()
    control(PR_GET_PDEATHSIG, ctypes.byref(wanted))
    yield
    control(PR_SET_PDEATHSIG, wanted.value)


def name(text):
    control(PR_SET_NAME, ctypes.c_char_p(text.encode()))


def show(command, variable):
    """Writes over what the system shows as this process's command line and variables: those of whoever was forked."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    arguments, arguments_end, variables, variables_end = (int(one) for one in fields[AREA_FIELDS])
    for start, end, text in ((arguments, arguments_end, command), (variables, variables_end, variable)):
        room = end - start
        if room > len(text):
            ctypes.memmove(start, text.encode().ljust(room, b"\0"), room)


def draw_again():
    """Two forks must not draw the same numbers."""
    drawer = sys.modules.get("random")
    if drawer is not None:
        drawer.seed()
    numbers = sys.modules.get("numpy")
    if numbers is not None:
        numbers.random.seed()
