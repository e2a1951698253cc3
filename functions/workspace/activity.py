"""Counts what runs, so that the platform knows an idle sandbox from a busy one."""

import contextlib
import threading


class Activity:
    """Uses of the sandbox, counted by whoever makes them. `now_ms` tells the time."""

    def __init__(self, now_ms):
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._running = 0
        self._last_ms = now_ms()
        self._looks = []

    @contextlib.contextmanager
    def use(self):
        """One use, for as long as the block lasts."""
        end = self.begin()
        try:
            yield
        finally:
            end()

    def begin(self):
        """Begins a use that outlasts its block; what it answers ends it, and ending twice is one end."""
        with self._lock:
            self._running += 1
        open_uses = [None]

        def end():
            with self._lock:
                if open_uses:
                    open_uses.pop()
                    self._running -= 1
                    self._last_ms = self._now_ms()

        return end

    def watch(self, busy):
        """Has `busy` asked whenever somebody wants to know, for uses that begin and end by themselves; what it answers ends that."""
        with self._lock:
            self._looks.append(busy)
        return lambda: self._looks.remove(busy) if busy in self._looks else None

    def read(self):
        looked = any([busy() for busy in list(self._looks)])
        with self._lock:
            if looked:
                self._last_ms = self._now_ms()
            busy = self._running > 0 or looked
            return {"busy": busy, "idleMs": 0 if busy else self._now_ms() - self._last_ms}
