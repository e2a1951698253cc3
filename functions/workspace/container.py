"""
The first process of an image's program: made beside the workspace while that still may, then in a root, mounts and
processes of the image's own, without any right, waiting for the word to become the program. It runs nothing of the
image's before, and what it reads of the image it reads as data: names of users and groups.

On its descriptor 3 it is told one line of JSON, {"argv", "environment"}. It answers by an end of that stream when it has become
the program, and else says why not: {"failed"}.
"""

import fcntl
import json
import os
import posixpath
import signal
import socket
import stat
import sys

import lock
from forks import forked
from mounts import enter_root, unshare
from rights import EXPENDABLE

ROOT = "/opt/cleanroom/image"
DATABASE_BYTES = 1 << 20
ORDER_BYTES = 4 << 20
IDS = 65536
FIRST_FREE = 10
ORDERS = 3
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTS = "127.0.0.1 localhost sandbox\n::1 localhost\n"
NOT_FOUND, NOT_RUN = 127, 126
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


class Unusable(Exception):
    """Why the image's program cannot begin."""


class Begun:
    """The process that waits, seen from beside it: its number, where it takes its order, what it says."""

    def __init__(self, settings, pid, orders, stdout, stderr):
        self.settings, self.pid, self.orders, self.stdout, self.stderr = settings, pid, orders, stdout, stderr

    def close(self):
        self.orders.close()
        for descriptor in (self.stdout, self.stderr):
            os.close(descriptor)


def begin(settings, seccomp, own_processes):
    """Makes the process by the settings, which are JSON. `own_processes` stands for the process namespace that this one goes on making its own in."""
    settings = json.loads(settings)
    orders, theirs = socket.socketpair()
    stdout, stdout_end = os.pipe2(os.O_CLOEXEC)
    stderr, stderr_end = os.pipe2(os.O_CLOEXEC)
    unshare(lock.NEWPID)
    pid = os.fork()
    if pid == 0:
        wait_for_order(settings, seccomp, [theirs.fileno(), stdout_end, stderr_end])
    lock.join(own_processes, lock.NEWPID)
    theirs.close()
    for end in (stdout_end, stderr_end):
        os.close(end)
    for ours in (stdout, stderr):
        os.set_blocking(ours, False)
    return Begun(settings, pid, orders, stdout, stderr)


def wait_for_order(settings, seccomp, descriptors):
    """The life of the process until it is the program. Does not return."""
    with forked(NOT_RUN):
        leave_workspace(descriptors)
        orders = socket.socket(fileno=ORDERS)
        try:
            enter_root(ROOT)
            # Whatever this process should want to load from now on would be the image's.
            sys.path.clear()
            sys.meta_path.clear()
            write_hosts()
            raise_score()
            user = User(settings["user"])
            folder = folder_of(settings["folder"])
            user.become()
            lock.confine()
            lock.filter_calls(seccomp)
            lock.control(lock.PR_SET_PDEATHSIG, signal.SIGKILL)
            run(orders, user, folder)
        except (Unusable, OSError) as error:
            answer(orders, str(error))
            os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN)


def leave_workspace(descriptors):
    """Nothing of what the workspace holds goes along."""
    signal.set_wakeup_fd(-1)
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.umask(0o022)
    os.environ.clear()
    null = os.open(os.devnull, os.O_RDONLY)
    orders, stdout, stderr = descriptors
    wanted = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for one in (null, stdout, stderr, orders)]
    for number, one in enumerate(wanted):
        os.dup2(one, number, inheritable=number < ORDERS)
    os.closerange(ORDERS + 1, os.sysconf("SC_OPEN_MAX"))


def raise_score():
    """It dies before the workspace when memory ends, and so does all that it will start."""
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as score:
        if int(score.read()) < EXPENDABLE:
            score.write(str(EXPENDABLE).encode())


def write_hosts():
    """The one name that there is; an image has no such file, or an empty one where its builder had its own mounted."""
    try:
        os.makedirs("/etc", exist_ok=True)
        file = os.open("/etc/hosts", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError:
        return
    try:
        if stat.S_ISREG(os.fstat(file).st_mode) and os.fstat(file).st_size == 0:
            os.write(file, HOSTS.encode())
    finally:
        os.close(file)


class User:
    """Who the program is, as the image names them: a name or a number, and perhaps a group after a colon."""

    def __init__(self, text):
        name, _, group = text.partition(":")
        known = [row for row in table("/etc/passwd", 7)]
        row = next((row for row in known if row[0] == name), None) or next((row for row in known if row[2] == name), None)
        if row is None and name and not name.isdecimal():
            raise Unusable(f"The image's user {name[:64]} is not in its /etc/passwd")
        self.uid = number(row[2] if row else name or "0", "user")
        groups = [entry for entry in table("/etc/group", 4)]
        if group:
            found = next((entry for entry in groups if group in (entry[0], entry[2])), None)
            if found is None and not group.isdecimal():
                raise Unusable(f"The image's group {group[:64]} is not in its /etc/group")
            self.gid, self.groups = number(found[2] if found else group, "group"), []
        else:
            self.gid = number(row[3] if row else "0", "group")
            mine = row[0] if row else None
            self.groups = [number(entry[2], "group") for entry in groups if mine in entry[3].split(",")]
        self.home = (row[5] if row else "") or "/"

    def become(self):
        lock.become(self.uid, self.gid, self.groups[:64])


def table(path, width):
    """The rows of a file of users or groups, as far as they are any."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        text = os.read(file, DATABASE_BYTES) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)
    rows = [line.split(":") for line in text.decode("utf-8", "surrogateescape").split("\n")]
    return [row for row in rows if len(row) == width]


def number(text, what):
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < IDS):
        raise Unusable(f"The image's {what} {text[:64]} is none that a sandbox has: they go to {IDS - 1}")
    return int(text)


def folder_of(text):
    """The program's folder, which is made when it is missing."""
    folder = posixpath.normpath(posixpath.join("/", text))
    os.makedirs(folder, exist_ok=True)
    return folder


def run(orders, user, folder):
    with orders.makefile("rb") as told:
        line = told.readline(ORDER_BYTES)
    if not line.endswith(b"\n"):
        os._exit(0)
    order = json.loads(line)
    argv, environment = order["argv"], {"PATH": PATH, "HOME": user.home, **order["environment"]}
    try:
        os.chdir(folder)
    except OSError as error:
        raise Unusable(f"The program cannot begin in {folder}: {error.strerror}") from None
    tried = None
    for path in places(argv[0], environment["PATH"]):
        try:
            os.execve(path, argv, environment)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            if tried is None or isinstance(error, PermissionError):
                tried = error
        except OSError as error:
            raise Unusable(f"{argv[0]} cannot be run: {error.strerror}") from None
    if isinstance(tried, PermissionError):
        raise Unusable(f"{argv[0]} cannot be run: {tried.strerror}")
    raise FileNotFoundError(f"There is no program {argv[0]} in the image")


def places(name, path):
    return [name] if "/" in name else [posixpath.join(folder or ".", name) for folder in path.split(":")]


def answer(orders, why):
    try:
        orders.sendall(json.dumps({"failed": why}).encode() + b"\n")
    except OSError:
        # Nobody wants to know any more.
        pass
