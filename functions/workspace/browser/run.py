"""One run of the browser: from its start until it ends, however it ends."""

import os
import re
import signal
import threading
import time

from browser.flags import command, variables
from launch import HOME
from nursery import readable
from tree import kill_tree, signal_one, tree_members

SPOKEN = re.compile(rb"DevTools listening on ws://127\.0\.0\.1:(\d{1,5})(/devtools/browser/[\w-]{1,64})\s")
START_SECONDS = 60
LOOK_MS = 250
GOODBYE_SECONDS = 3
REST_SECONDS = 0.02
LOG_BYTES = 16 * 1024
LOG_SHOWN = 2000
PIECE_BYTES = 64 * 1024


class Run:
    """`port` and `path` are where its DevTools listen, once `begin` has answered True."""

    def __init__(self, nursery, keeper, on_end):
        self.nursery, self.keeper, self.on_end = nursery, keeper, on_end
        self.child = None
        self.port = self.path = None
        self.log = b""
        self.lock = threading.Lock()
        # Whether its end is wanted: what ends without that has crashed.
        self.dismissed = False
        self.ended = False
        self.started_ns = time.time_ns()

    def begin(self, display, size, own):
        """Starts it; False when nothing came of it, and `log` says why."""
        self.child = self.nursery.program(command(size), HOME, variables(display, own), input=False)
        until = time.monotonic() + START_SECONDS
        while self.port is None and not self.child.hear() and time.monotonic() < until:
            if readable(self.child.stderr, LOOK_MS):
                self._read(self.child.stderr)
        if self.port is None:
            self.end()
            return False
        self.keeper.watch(self.child.stderr, self._read)
        self.keeper.watch(self.child.stdout, self._read)
        self._watch_life()
        return True

    def reason(self):
        """In words, how it ended."""
        status = self.child.status
        if status is None:
            return "it did not say where it listens"
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit {status}"

    def last_words(self):
        return self.log[-LOG_SHOWN:].decode("utf-8", "replace")

    def end(self, ask=None, seconds=GOODBYE_SECONDS):
        """
        Asks it to end, by a signal or by `ask`, and kills what is left; ending twice is one end. True when all of it went by
        itself: the first process writes the profile, and another one the cookies, which it goes on with after the first has gone.
        """
        with self.lock:
            self.dismissed = True
            if self.ended:
                return False
            self.ended = True
        child = self.child
        until = time.monotonic() + seconds
        asked = child.pid is not None and child.alive and (ask or self._signal)()
        while asked and not child.hear() and time.monotonic() < until:
            readable(child.life, LOOK_MS)
        while asked and (left := tree_members(name=child.tree)) and time.monotonic() < until:
            time.sleep(REST_SECONDS)
        clean = asked and child.status == 0 and not left
        self._bury()
        return clean

    def _signal(self):
        return signal_one(self.child.pid, signal.SIGTERM)

    def _bury(self):
        child = self.child
        for descriptor in (child.stderr, child.stdout, child.life):
            if descriptor is not None:
                self.keeper.release(descriptor)
        kill_tree(child.pid if child.alive else None, child.tree)
        child.close()

    def _read(self, descriptor):
        """Keeps the last of what it says, and finds in it where it listens."""
        try:
            piece = os.read(descriptor, PIECE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            self.keeper.release(descriptor)
            return
        self.log = (self.log + piece)[-LOG_BYTES:]
        found = SPOKEN.search(self.log) if self.port is None else None
        if found:
            self.port, self.path = int(found[1]), found[2].decode()

    def _watch_life(self):
        self.watched = self.child.life
        self.keeper.watch(self.watched, self._heard)

    def _heard(self, descriptor):
        gone = self.child.hear()
        if gone or self.child.life != descriptor:
            self.keeper.release(descriptor)
        if not gone and self.child.life != descriptor:
            self._watch_life()
        if gone:
            with self.lock:
                crashed, self.ended = not self.ended, True
            if crashed:
                self.on_end(self)
