"""How the server has processes made: interpreters by the seed, programs by the launcher, which the seed makes too."""

import fcntl
import os
import re
import secrets
import select
import signal
import socket
import threading

from launch import TREE_VARIABLE, base_environment
from launcher import encode_order
from proc import users_of
from rights import USER_ID
from tree import kill_tree, signal_one

ORDER_SECONDS = 5
NOT_STARTED = 127
WORD = re.compile(rb"(pid|failed|status) (-?\d{1,10})")
WORD_BYTES = 64


class Nursery:
    """Makes processes. `requests` leads to the seed."""

    def __init__(self, requests):
        self.requests = requests
        self.lock = threading.Lock()
        self.orders = None
        self.launcher = None

    def interpreter(self):
        """An interpreter that is a fork of the seed."""
        channel, theirs = socket.socketpair()
        stdout, stdout_end = pipe()
        stderr, stderr_end = pipe()
        life, life_end = pipe()
        tree = secrets.token_hex(12)
        try:
            socket.send_fds(self.requests, [f"interpreter {tree}".encode()], [theirs.fileno(), stdout_end, stderr_end, life_end])
        finally:
            theirs.close()
            for end in (stdout_end, stderr_end, life_end):
                os.close(end)
        return Child(self, tree, None, stdout, stderr, life, channel)

    def program(self, argv, cwd, variables, input, channel=False):
        """
        A program of the user's. `input` is whether something will be written to its standard input, or the socket
        that is its standard input, which stays ours too.
        """
        child = self._program(argv, cwd, variables, input, channel)
        if child.wait_pid() is None and child.failed is None:
            # The launcher was ended with the order in its hands.
            kill_tree(name=child.tree)
            child.close()
            child = self._program(argv, cwd, variables, input, channel)
            child.wait_pid()
        return child

    def terminal(self, argv, cwd, variables, path):
        """A program of the user's whose three streams are a terminal, by its path."""
        for attempt in range(2):
            tree = secrets.token_hex(12)
            life, life_end = pipe()
            try:
                self.order(*encode_order(cwd, argv, {**base_environment(), TREE_VARIABLE: tree, **variables}, path), [life_end])
            except BaseException:
                os.close(life)
                raise
            finally:
                os.close(life_end)
            child = Child(self, tree, None, None, None, life, None)
            if child.wait_pid() is not None or child.failed is not None or attempt > 0:
                return child
            kill_tree(name=tree)
            child.close()

    def _program(self, argv, cwd, variables, input, channel):
        tree = secrets.token_hex(12)
        everything = {**base_environment(), TREE_VARIABLE: tree, **variables}
        ours, ends = [], []
        first = input if isinstance(input, socket.socket) else "input" if input else "null"
        for kind in (first, "output", "output", *(["channel"] if channel else []), "output"):
            own, end = make(kind)
            ours.append(own)
            ends.append(end)
        stdin, stdout, stderr, *talk, life = ours
        try:
            self.order(*encode_order(cwd, argv, everything), ends)
        except BaseException:
            for own in (stdin, stdout, stderr, life):
                if own is not None:
                    os.close(own)
            raise
        finally:
            for end in ends:
                os.close(end)
        return Child(self, tree, stdin, stdout, stderr, life, talk[0] if talk else None)

    def owns(self, pid):
        """Whether a process is the workspace's own, or what that hangs from."""
        if pid in (1, self.launcher, os.getpid(), os.getppid()) or os.path.exists(f"/proc/self/task/{pid}"):
            return True
        return os.getuid() != USER_ID and any(user != USER_ID for user in users_of(pid))

    def order(self, head, body, descriptors):
        """Gives an order to the launcher, to a new one if there is none that listens."""
        with self.lock:
            for attempt in range(2):
                if self.orders is None:
                    self.orders = self.hire()
                try:
                    socket.send_fds(self.orders, [head], descriptors)
                    return self.orders.sendall(body)
                except OSError:
                    self.orders.close()
                    self.orders = None
                    if attempt > 0:
                        raise

    def ready(self):
        """Has a launcher wait for the first order."""
        with self.lock:
            if self.orders is None:
                self.orders = self.hire()

    def hire(self):
        orders, theirs = socket.socketpair()
        # One that takes no orders, as a stopped one, is as good as none.
        orders.settimeout(ORDER_SECONDS)
        life, life_end = os.pipe2(os.O_CLOEXEC)
        try:
            socket.send_fds(self.requests, [b"launcher -"], [theirs.fileno(), life_end])
        finally:
            theirs.close()
            os.close(life_end)
        with open(life, "rb", buffering=0) as told:
            said = told.read(64).split()
        self.launcher = int(said[1]) if said else None
        return orders

    def adopt(self, pid):
        """The life of a program whose launcher has gone, as the seed tells it, whose child it is then."""
        life, life_end = pipe()
        try:
            socket.send_fds(self.requests, [b"orphan %d" % pid], [life_end])
        finally:
            os.close(life_end)
        return life

    def dismiss(self):
        """Ends a launcher that does not answer: the next order goes to another, what it started to the seed."""
        with self.lock:
            if self.orders is not None:
                self.orders.close()
                self.orders = None
            if self.launcher is not None:
                signal_one(self.launcher, signal.SIGKILL)
                self.launcher = None


class Child:
    """A process as it is known from outside: its streams, its tree's name, and its life as far as that has been told."""

    __slots__ = (
        "nursery", "tree", "stdin", "stdout", "stderr", "life", "channel", "pid", "status", "failed", "said", "lock", "told",
    )  # fmt: skip

    def __init__(self, nursery, tree, stdin, stdout, stderr, life, channel):
        self.nursery = nursery
        self.tree, self.stdin, self.stdout, self.stderr, self.life, self.channel = tree, stdin, stdout, stderr, life, channel
        self.pid = self.status = self.failed = None
        self.said = b""
        # A life that has told all that it will.
        self.told = None
        self.lock = threading.Lock()

    @property
    def alive(self):
        """Whether it runs, as far as has been heard."""
        return self.status is None

    def hear(self):
        """Takes in what its life tells, without waiting; True once it has ended."""
        with self.lock:
            while self.status is None and self.life is not None and readable(self.life):
                self._take(os.read(self.life, 256))
        return self.status is not None

    def _take(self, piece):
        if not piece and self.pid is not None and self.told is None:
            self.told, self.life = self.life, self.nursery.adopt(self.pid)
            return
        if not piece:
            self.status = -signal.SIGKILL
            return
        *lines, self.said = (self.said + piece).split(b"\n")
        for line in lines:
            self._note(line)
        if len(self.said) > WORD_BYTES:
            self.status = -signal.SIGKILL

    def _note(self, line):
        """Notes one word of its life. Who watches over it is the user's own process, and one that speaks nonsense is gone."""
        found = WORD.fullmatch(line)
        if not found:
            self.status = -signal.SIGKILL
        elif found[1] == b"pid":
            self.pid = int(found[2])
        elif found[1] == b"failed":
            self.failed, self.status = int(found[2]), NOT_STARTED
        else:
            self.status = int(found[2])

    def wait_pid(self):
        """Waits until its number is known; None when it came to nothing."""
        while not self.hear() and self.pid is None:
            self._wait()
        return self.pid

    def wait_end(self):
        """Waits until it has ended."""
        while not self.hear():
            self._wait()
        return True

    def _wait(self):
        if not readable(self.life, ORDER_SECONDS * 1000):
            self.nursery.dismiss()

    def close(self):
        """Closes every descriptor; closing twice is one closing."""
        with self.lock:
            for name in ("stdin", "stdout", "stderr", "life", "told"):
                descriptor = getattr(self, name)
                if descriptor is not None:
                    setattr(self, name, None)
                    os.close(descriptor)
        if self.channel is not None:
            self.channel.close()
            self.channel = None


def pipe():
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)
    return read, write


def make(kind):
    """Our end and the program's end of one of its descriptors; a socket is the program's as it is."""
    if isinstance(kind, socket.socket):
        return None, fcntl.fcntl(kind, fcntl.F_DUPFD_CLOEXEC, 0)
    if kind == "null":
        return None, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    if kind == "channel":
        own, end = socket.socketpair()
        return own, end.detach()
    read, write = os.pipe2(os.O_CLOEXEC)
    own, end = (write, read) if kind == "input" else (read, write)
    os.set_blocking(own, False)
    return own, end


def readable(descriptor, wait_ms=0):
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(wait_ms))
