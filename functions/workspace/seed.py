"""
The first process of a workspace. It has loaded what interpreters need and does no more than fork: the server, and
interpreters when the server asks for one. It has one thread, since a fork of several would inherit what others hold.

The server asks by datagrams: "interpreter <tree>" with the descriptors [channel, stdout, stderr, life], "launcher -" with
[orders, life], "orphan <pid>" with [life] for a program whose launcher has gone. `life` is told the number of the new process, and later its end, as "pid 12\n" and "status 9\n".
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time

import born
from contexts import figures
from forks import forked, woken_by
from handed import receive
from launch import base_environment

HEAVY = ("numpy", "pandas", "matplotlib", "matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg")
OWN = (
    "workspace", "server", "nursery", "keeper", "commands", "processes", "display", "view", "desktop.actions",
    "contexts.contexts", "contexts.routes", "cryptography.hazmat.backends.openssl.backend", "websocket", "terminals",
    "browser.browser", "browser.routes", "container", "program",
)  # fmt: skip
MESSAGE_BYTES = 256
ENDED_REMEMBERED = 256
ORPHAN_LOOKS, ORPHAN_LOOK_SECONDS = 200, 0.005
DESCRIPTORS = 4


def preload():
    """Loads what user code may want, as far as it is there, so that each fork has it from its beginning."""
    for name in OWN:
        importlib.import_module(name)
    before = dict(os.environ)
    # What is loaded looks at home for its settings and for what it has worked out before.
    os.environ.update(base_environment())
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ImportError:
            break
    if "matplotlib.pyplot" in sys.modules:
        figures.warm(sys.modules["matplotlib.pyplot"])
    os.environ.clear()
    os.environ.update(before)
    # What is loaded stays: a collector that looked at it again would write to, and so copy, all of it in every fork.
    gc.collect()
    gc.freeze()


def run(listener, environment, begun=None):
    """Forks the server, forks interpreters while that lives, and ends with it. Does not return."""
    woken = woken_by(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    seed = os.getpid()
    server = os.fork()
    if server == 0:
        for ours in (here, woken):
            ours.close()
        serve(listener, there, environment, seed, begun)
    listener.close()
    there.close()
    if begun is not None:
        begun.close()
    born.take_orphans()
    Seed(here, woken, server).run()


def serve(listener, requests, environment, seed, begun):
    """The server's process, which must not outlive the seed."""
    with forked(1):
        os.close(signal.set_wakeup_fd(-1))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        born.end_with(seed)
        born.name("workspace")
        from nursery import Nursery
        from workspace import serve_workspace

        serve_workspace(listener, environment, Nursery(requests), begun)
        os._exit(0)


class Seed:
    """What the seed keeps: the server's number, and for each interpreter the descriptor that tells its life."""

    def __init__(self, requests, woken, server):
        self.requests = requests
        self.woken = woken
        self.server = server
        self.lives = {}
        # How those ended that nobody has asked about, the newest.
        self.ended = {}

    def run(self):
        poll = select.poll()
        poll.register(self.requests, select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self.woken.fileno():
                    self.wake()
                elif not self.hear():
                    # The server ends; its status is still to come.
                    poll.unregister(number)

    def wake(self):
        """Passes on being told to stop, and buries the dead."""
        try:
            numbers = self.woken.recv(4096)
        except BlockingIOError:
            return
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            os.kill(self.server, signal.SIGTERM)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.server:
                os._exit(code if code >= 0 else 128 - code)
            life = self.lives.pop(pid, None)
            if life is not None:
                tell(life, f"status {code}\n")
                os.close(life)
                continue
            self.ended[pid] = code
            if len(self.ended) > ENDED_REMEMBERED:
                del self.ended[next(iter(self.ended))]

    def hear(self):
        """Does what the server asks for; False when it asks for nothing more."""
        data, descriptors = receive(self.requests, MESSAGE_BYTES, DESCRIPTORS)
        if not data:
            return False
        *streams, life = descriptors
        kind, subject = data.decode().split(" ")
        if kind == "orphan":
            self.adopt(int(subject), life)
            return True
        try:
            pid = self.fork(kind, subject, streams)
        except OSError as error:
            tell(life, f"failed {error.errno}\n")
            os.close(life)
            return True
        finally:
            for descriptor in streams:
                os.close(descriptor)
        self.lives[pid] = life
        tell(life, f"pid {pid}\n")
        return True

    def adopt(self, pid, life):
        """Tells how a program ends that was somebody else's; one that is nobody's any more has been killed."""
        code = self.ended.pop(pid, None)
        if code is None and becomes_child(pid):
            self.lives[pid] = life
            return
        tell(life, f"status {-signal.SIGKILL if code is None else code}\n")
        os.close(life)

    def fork(self, kind, tree, streams):
        seed = os.getpid()
        pid = os.fork()
        if pid == 0 and kind == "interpreter":
            born.become_interpreter(tree, streams, seed)
        elif pid == 0:
            born.become_launcher(streams[0], seed)
        return pid


def becomes_child(pid):
    """A launcher's descriptors are closed before its children are given away, so that one may be ours only in a moment."""
    for _ in range(ORPHAN_LOOKS):
        if has_child(pid):
            return True
        if not os.path.exists(f"/proc/{pid}"):
            return False
        time.sleep(ORPHAN_LOOK_SECONDS)
    return False


def has_child(pid):
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def tell(life, text):
    try:
        os.write(life, text.encode())
    except OSError:
        # Nobody wants to know any more.
        pass
