"""A shell command that runs, or ran, with everything it started."""

import fcntl
import os
import select
import signal
import struct
import termios
import threading
import time

from call import HUNG_UP
from contract import LIMITS
from problem import Problem
from moments import iso_moment
from tree import kill_tree, signal_tree

TIMED_OUT = 124
NOT_STARTED = 127
READ_BYTES = 64 * 1024
# How long what a command left behind may hold its output open: until it is quiet, and no longer than that.
QUIET_SECONDS = 0.02
DRAIN_SECONDS = 1
GRACE_SECONDS = LIMITS["interruptGraceMs"] / 1000
NEVER = float("inf")


class Command:
    """
    The course of a command. Whoever owns it, a request's own thread or the keeper, tells it which descriptor is ready
    and what time it is; `tap(stream, piece)` gets its output.
    """

    def __init__(self, child, spec, tap, oom_kills):
        self.child, self.spec, self.tap, self.oom_kills = child, spec, tap, oom_kills
        self.created_at = iso_moment(time.time_ns())
        self.started = time.monotonic()
        self.oom_before = oom_kills()
        self.input = memoryview((spec.get("stdin") or "").encode("utf-8", "replace"))
        self.input_lock = threading.Lock()
        self.names = {one: name for one, name in ((child.stdout, "stdout"), (child.stderr, "stderr")) if one is not None}
        seconds = spec.get("timeout") or (None if spec["background"] else LIMITS["timeoutDefaultMs"] / 1000)
        self.time_out_at = NEVER if seconds is None else self.started + seconds
        self.kill_at = self.bury_at = self.quiet_at = self.drained_at = NEVER
        self.exited_at = None
        self.stopped = None
        self.end = None
        self.ended = threading.Event()
        self.asked_to_stop = False
        # What it is asked by to end: a shell that somebody types at heeds another than a command does.
        self.farewell = signal.SIGTERM
        # Set by whoever owns it: has it looked at, and is told just before its descriptors are closed.
        self.wake = self.let_go = nothing

    @property
    def id(self):
        return str(self.child.pid or 0)

    @property
    def pid(self):
        """The first process's number while it is surely still its own."""
        return self.child.pid if self.child.alive else None

    def show(self):
        """What is told of it."""
        shown = {
            "processId": self.id,
            "status": self.end["status"] if self.end else "running",
            "command": self.spec["command"],
            "createdAt": self.created_at,
        }
        if self.spec.get("tag") is not None:
            shown["tag"] = self.spec["tag"]
        if self.end:
            shown["exitCode"] = self.end["exitCode"]
        return shown

    def readers(self, held=False):
        """The descriptors that `ready` is to be called for; those of its output are left alone while that is held back."""
        readers = set() if held else set(self.names)
        if self.exited_at is None:
            readers.add(self.child.life)
        return readers

    def ready(self, descriptor):
        """Takes what a descriptor has."""
        if descriptor == self.child.life:
            if self.child.hear():
                self._exited()
            return
        try:
            piece = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # A terminal that no program has open any more.
            piece = b""
        if not piece:
            del self.names[descriptor]
            return
        self.tap(self.names[descriptor], piece)
        if self.exited_at is not None:
            self.quiet_at = time.monotonic() + QUIET_SECONDS

    def _exited(self):
        self.exited_at = now = time.monotonic()
        self.kill_at = self.bury_at = NEVER
        self.quiet_at, self.drained_at = now + QUIET_SECONDS, now + DRAIN_SECONDS
        # Its own output is in the pipes by now. All of that belongs to it, whatever else may follow.
        for descriptor in list(self.names):
            left = available(descriptor)
            while left > 0 and (piece := read_left(descriptor, min(left, READ_BYTES))):
                self.tap(self.names[descriptor], piece)
                left -= len(piece)

    def next_time(self):
        """When it wants to be looked at in any case."""
        return min(self.time_out_at, self.kill_at, self.bury_at, self.quiet_at, self.drained_at)

    def tick(self, now):
        """Does what it is time for; True once it has ended."""
        if self.asked_to_stop:
            self.stop("killed", now)
        if now >= self.time_out_at:
            self.stop("timeout", now)
        if now >= self.kill_at:
            self.kill_at, self.bury_at = NEVER, now + DRAIN_SECONDS
            aside(self.kill)
        if now >= self.bury_at:
            # Who was to tell of its end does not; user code may have stopped them.
            self.bury_at = NEVER
            self.child.nursery.dismiss()
        over = self.exited_at is not None and (not self.names or now >= min(self.quiet_at, self.drained_at))
        if over and self.end is None:
            self._finish()
        return self.end is not None

    def stop(self, reason, now):
        """Ends it with all that it started: asked first, then, after the grace, without asking."""
        self.time_out_at = NEVER
        if self.stopped is not None or self.exited_at is not None:
            return
        self.stopped = reason
        self.kill_at = now + GRACE_SECONDS
        signal_tree(self.farewell, self.pid, self.child.tree)

    def ask_to_stop(self):
        """Has it stopped by whoever owns it, and waits for its end."""
        with self.input_lock:
            self.asked_to_stop = True
            self.wake()
        self.ended.wait()
        kill_tree(name=self.child.tree)

    def kill(self):
        kill_tree(self.pid, self.child.tree)

    def _finish(self):
        if self.stopped is not None:
            aside(lambda: kill_tree(name=self.child.tree)) if self.spec["background"] else kill_tree(name=self.child.tree)
        status = self.child.status
        killed = status == -signal.SIGKILL
        oom = self.stopped is None and (killed or status == 128 + signal.SIGKILL) and self.oom_kills() > self.oom_before
        self.end = {
            "status": self.stopped or ("oom" if oom else "killed" if killed else "completed"),
            "exitCode": TIMED_OUT if self.stopped == "timeout" else status if status >= 0 else 128 - status,
            "executionTimeMs": (self.exited_at - self.started) * 1000,
        }
        with self.input_lock:
            self.wake = nothing
            self.let_go()
            self.child.close()
        self.ended.set()

    def feed(self):
        """Writes what it was given as input as far as it takes it now; True when there is no more to come."""
        with self.input_lock:
            try:
                while self.input and self.child.stdin is not None:
                    self.input = self.input[os.write(self.child.stdin, self.input) :]
            except BlockingIOError:
                return False
            except OSError:
                # What reads no input breaks the pipe; that is its own affair.
                self.input = memoryview(b"")
            if not self.spec["background"]:
                self._close_input()
        return True

    def check_input(self):
        """Refuses where its standard input is closed."""
        if self.child.stdin is None:
            raise Problem("conflict", detail="Its standard input is closed", processId=self.id)

    def write(self, piece):
        """Writes to its standard input at the pace at which it reads; `conflict` when that is closed."""
        rest = memoryview(piece)
        while rest:
            with self.input_lock:
                self.check_input()
                try:
                    if not self.input:
                        rest = rest[os.write(self.child.stdin, rest) :]
                        continue
                except BlockingIOError:
                    pass
                except OSError:
                    self._close_input()
                    continue
            self.ended.wait(QUIET_SECONDS)

    def close_input(self):
        """Ends its standard input once all that was written has gone in."""
        while self.input and not self.ended.wait(QUIET_SECONDS):
            pass
        with self.input_lock:
            self._close_input()

    def _close_input(self):
        if self.child.stdin is not None:
            os.close(self.child.stdin)
            self.child.stdin = None


def attend(command, call, sent=None):
    """
    Sees a command through in this thread. `sent` is where its output goes when that may be behind: while it is pending
    nothing more is read, and what it has is pushed. A caller who hangs up ends the command.
    """
    waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    command.wake, command.let_go = (lambda: os.eventfd_write(waker, 1)), (lambda: os.close(waker))
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    client, stdin, reading = call.fileno(), None, set()
    poll.register(client, HUNG_UP)
    if not command.feed():
        stdin = command.child.stdin
        poll.register(stdin, select.POLLOUT)
    while not command.tick(now := time.monotonic()):
        at = command.next_time()
        held = sent is not None and sent.pending
        if held and command.stopped is not None:
            # Once it is being ended nothing holds its output back: what the reader does not take is counted as dropped.
            sent.close()
            held = False
        wanted = command.readers(held)
        for descriptor in reading - wanted:
            poll.unregister(descriptor)
        for descriptor in wanted - reading:
            poll.register(descriptor, select.POLLIN)
        reading = wanted
        if sent is not None and client is not None:
            at = min(at, sent.ping(now))
            poll.modify(client, HUNG_UP | (select.POLLOUT if sent.pending else 0))
        for descriptor, events in poll.poll(None if at == NEVER else max(0, (at - now) * 1000)):
            if descriptor in reading:
                command.ready(descriptor)
            elif descriptor == client:
                if not events & HUNG_UP:
                    sent.push()
                if events & HUNG_UP or (sent is not None and sent.gone):
                    poll.unregister(client)
                    client = None
                    command.stop("killed", now)
            elif descriptor == stdin:
                if command.feed():
                    poll.unregister(stdin)
                    stdin = None
            else:
                os.eventfd_read(descriptor)
    return command.end


def nothing():
    """What is done where nothing has to be."""


def available(descriptor):
    """How many bytes a pipe holds at this moment."""
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]


def read_left(descriptor, size):
    """What is known to be there, unless it is a terminal's and went with its last program."""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""


def aside(work):
    """Does something that takes its time without keeping anyone waiting, as far as there are threads to be had."""
    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError:
        work()
