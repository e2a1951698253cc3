"""A running interpreter as the server knows it: runs one cell at a time, and dies for good when it dies."""

import base64
import os
import signal
import socket
import threading

from contexts.frames import FrameReader, encode_frame
from contract import LIMITS
from tree import kill_tree, signal_one

FRAME_LIMIT_BYTES = 2 * LIMITS["resultBytes"]
READ_BYTES = 64 * 1024
IDLE_KEPT_BYTES = 64 * 1024


class Runtime:
    """
    What an interpreter prints while nothing runs is read by the keeper, so that what a cell started is not held up; the
    newest of it begins the next execution's output.
    """

    def __init__(self, child, keeper):
        self.child, self.keeper = child, keeper
        self.frames = FrameReader(FRAME_LIMIT_BYTES)
        self.streams = {child.stdout: "stdout", child.stderr: "stderr"}
        self.idle = {"stdout": bytearray(), "stderr": bytearray()}
        self.outgoing = memoryview(b"")
        self.lock = threading.Lock()
        self.busy = self.doomed = False

    @property
    def alive(self):
        """Whether cells can be run in it."""
        return not self.doomed and not self.child.hear()

    def adopt(self, cwd, variables):
        """Makes it its context's: the folder and the variables that it begins with."""
        self.send(["adopt", cwd, *flat(variables)])

    def send(self, parts):
        """Sends a message as far as the interpreter takes it now; the rest is `outgoing`."""
        self.outgoing = memoryview(bytes(self.outgoing) + encode_frame(parts))
        self.push()

    def push(self):
        """Sends more of what is outgoing."""
        try:
            while self.outgoing:
                sent = self.child.channel.send(self.outgoing, socket.MSG_DONTWAIT)
                self.outgoing = self.outgoing[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.outgoing = memoryview(b"")

    def receive(self):
        """The messages that have come; a ValueError where user code has broken the channel."""
        try:
            piece = self.child.channel.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            piece = b""
        if not piece:
            raise ValueError("the channel has ended")
        return self.frames.take(piece)

    def begin(self):
        """Takes the interpreter for one execution; answers what it printed meanwhile, by stream, or None if it is no more."""
        with self.lock:
            if not self.alive:
                return None
            self.busy = True
        for descriptor in list(self.streams):
            self.keeper.release(descriptor)
        said, self.idle = self.idle, {"stdout": bytearray(), "stderr": bytearray()}
        return said

    def end(self):
        """Gives it back."""
        with self.lock:
            self.busy = False
            over = self.doomed or not self.child.alive
        if over:
            self.child.close()
            return
        for descriptor in self.streams:
            self.keeper.watch(descriptor, self._keep_idle)

    def _keep_idle(self, descriptor):
        try:
            piece = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if not piece:
            self.keeper.release(descriptor)
            return
        kept = self.idle[self.streams[descriptor]]
        kept += piece
        del kept[:-IDLE_KEPT_BYTES]

    def interrupt(self):
        """Interrupts what runs, and the programs that it waits for, as Ctrl-C does in a terminal."""
        pid = self.child.wait_pid()
        if pid is not None and self.child.alive:
            signal_one(-pid, signal.SIGINT)

    def signal_death(self):
        """Kills it with all that it started; whoever runs a cell in it will see."""
        pid = self.child.wait_pid()
        kill_tree(pid if not self.child.hear() else None, self.child.tree)

    def kill(self):
        """Ends it for good; killing twice is one killing."""
        with self.lock:
            if self.doomed:
                return
            self.doomed = True
            busy = self.busy
        self.signal_death()
        if not busy:
            for descriptor in list(self.streams):
                self.keeper.release(descriptor)
            self.child.close()


def flat(variables):
    return [text for pair in variables.items() for text in pair]


def bundle_of(parts):
    """Media types to texts: bytes of images become base64, as JSON needs them."""
    data = {}
    for media, content in zip(parts[::2], parts[1::2]):
        kind = media.decode("utf-8", "replace")
        binary = kind != "image/svg+xml" if kind.startswith("image/") else kind == "application/pdf"
        data[kind] = base64.b64encode(content).decode() if binary else content.decode("utf-8", "replace")
    return data
