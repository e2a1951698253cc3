"""A terminal: a shell, or another program, on a pseudo-terminal of the sandbox, which goes on whoever looks at it."""

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import time

from commands import Kept

# How far the one who is ahead of all who look may be behind before the program is held up.
WINDOW_BYTES = 256 * 1024


class Terminal(Kept):
    """
    What it prints is kept, the newest of it, for whoever comes or comes back. While somebody looks, a program that
    prints faster than any of them reads is held up; while nobody does it goes on, and the oldest is dropped.
    """

    def __init__(self, pool, number, size):
        super().__init__(pool)
        self.id, self.size = number, size
        self.master, self.slave_path = None, None
        self.viewers = set()
        self.watch = None
        self.unwatch = lambda: None

    def open(self):
        """Opens the pair; answers the descriptor of the other side, to be closed once the program has it."""
        self.master, slave = os.openpty()
        os.set_blocking(self.master, False)
        self.slave_path = os.ttyname(slave)
        self.resize(*self.size)
        return slave

    def resize(self, rows, cols):
        """Tells the programs how large the screen is."""
        with self.command.input_lock if self.command else contextlib.nullcontext():
            self.size = (rows, cols)
            if self.command is None or self.command.end is None:
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def write(self, piece):
        """Types as much as there is room for, without waiting; answers how much that was."""
        with self.command.input_lock:
            if self.command.end is not None:
                return len(piece)
            try:
                return os.write(self.master, piece)
            except BlockingIOError:
                return 0
            except OSError:
                # Nobody reads it any more.
                return len(piece)

    def in_use(self):
        """Whether a program of the shell's has the terminal; the shell itself waits for somebody who types."""
        with self.command.input_lock:
            if self.command.end is not None:
                return False
            try:
                return os.tcgetpgrp(self.master) not in (0, self.command.child.pid)
            except OSError:
                return False

    def join(self, viewer):
        with self.lock:
            self.viewers.add(viewer)
        self.pace()

    def leave(self, viewer):
        with self.lock:
            self.viewers.discard(viewer)
        self.pace()

    def tap(self, stream, piece):
        super().tap(stream, piece)
        self.pace()

    def tell(self):
        super().tell()
        with self.lock:
            for viewer in self.viewers:
                viewer.wake()

    def pace(self):
        """Holds its program up, or lets it go on, by how far the one who is ahead is behind."""
        if self.watch is None:
            return
        # What was seen must still be so when it is acted upon: else who has just caught up would wait for a held program.
        with self.watch.keeper.lock:
            with self.lock:
                end = self.backlogs["stdout"].end
                ahead = max((viewer.at for viewer in self.viewers), default=end)
            self.watch.hold(end - ahead > WINDOW_BYTES)

    def over(self):
        """Its program has ended: what it was in use for has too."""
        self.unwatch()

    def show(self):
        """What is told of it in a list."""
        rows, cols = self.size
        viewers = len(self.viewers)
        return {"terminalId": self.id, **self.command.show(), "rows": rows, "cols": cols, "viewers": viewers, "busy": self.in_use()}


class Viewer:
    """Somebody who looks at a terminal by a WebSocket, in one thread. `speech` says how both speak."""

    PING_SECONDS = 30
    WARN_SECONDS = 90
    SILENCE_SECONDS = 120

    def __init__(self, terminal, websocket, speech, at):
        self.terminal, self.websocket, self.speech, self.at = terminal, websocket, speech, at
        self.waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.waker_lock = threading.Lock()
        self.typed = b""
        self.warned = False
        self.ping_at = time.monotonic() + self.PING_SECONDS

    def wake(self):
        """Has it looked what there is, from any thread."""
        with self.waker_lock:
            if self.waker is not None:
                os.eventfd_write(self.waker, 1)

    def run(self):
        self.terminal.join(self)
        try:
            while self.step():
                pass
        finally:
            self.terminal.leave(self)
            with self.waker_lock:
                os.close(self.waker)
                self.waker = None

    def step(self):
        """Takes what has come, shows what there is, and waits for more; False once it is over."""
        end = self.terminal.command.end
        if not self.typed:
            self.hear()
        self.type()
        if self.websocket.code is not None:
            return False
        self.show()
        if end is not None and not self.websocket.pending:
            self.speech.end(self.websocket, end)
            return False
        return self.wait()

    def hear(self):
        for message in self.websocket.take():
            heard = self.speech.hear(self.websocket, message)
            if isinstance(heard, tuple):
                self.terminal.resize(*heard)
            else:
                self.typed += heard

    def type(self):
        if self.typed:
            self.typed = self.typed[self.terminal.write(self.typed) :]

    def show(self):
        """Sends what is kept from here on, as far as it is taken."""
        while not self.websocket.pending:
            piece = self.terminal.piece_from("stdout", self.at)
            if piece is None:
                return
            chunk, offset, _ = piece
            self.speech.output(self.websocket, chunk, offset, offset - self.at)
            self.at = offset + len(chunk)
            self.terminal.pace()

    def wait(self):
        now, heard = time.monotonic(), self.websocket.heard_at
        silent = now - heard
        if silent >= self.SILENCE_SECONDS:
            self.speech.close(self.websocket, "silence")
            return False
        if silent < self.WARN_SECONDS:
            self.warned = False
        elif not self.warned:
            self.warned = True
            self.speech.warn(self.websocket, self.SILENCE_SECONDS - silent)
        if now >= self.ping_at:
            self.ping_at = now + self.PING_SECONDS
            self.websocket.ping()
        until = min(self.ping_at, heard + (self.SILENCE_SECONDS if self.warned else self.WARN_SECONDS))
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        wanted = (0 if self.typed else select.POLLIN) | (select.POLLOUT if self.websocket.pending else 0)
        poll.register(self.websocket, wanted | select.POLLRDHUP)
        if self.typed and self.terminal.command.end is None:
            poll.register(self.terminal.master, select.POLLOUT)
        ready = dict(poll.poll(max(1, (until - now) * 1000)))
        if self.waker in ready:
            os.eventfd_read(self.waker)
        events = ready.get(self.websocket.fileno(), 0)
        if events & select.POLLOUT:
            self.websocket.push()
        # One who has hung up reads nothing any more; what they typed is not waited for.
        return not (self.typed and events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR))
