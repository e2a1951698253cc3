"""One thread for all that goes on by itself: what nobody waits for is read here."""

import os
import select
import threading
import time

# What is never due has a moment at infinity, which is no time to wait for.
LONGEST_WAIT_SECONDS = 3600


class Keeper:
    """
    Calls back when a descriptor is ready, on its own thread. Whoever is kept tells by `next_time` when it wants to be
    looked at in any case, and is looked at by `tick`.
    """

    def __init__(self):
        self.epoll = select.epoll()
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.epoll.register(self.wake_fd, select.EPOLLIN)
        self.lock = threading.RLock()
        self.callbacks = {}
        self.kept = set()
        self.thread = None

    def watch(self, descriptor, callback, events=select.EPOLLIN):
        """Calls `callback(descriptor)` whenever the descriptor is ready, until `release`."""
        with self.lock:
            self.callbacks[descriptor] = callback
            self.epoll.register(descriptor, events)
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.thread.start()

    def release(self, descriptor):
        """Calls back no more: once this has returned no callback of it runs or will. Releasing twice is one release."""
        with self.lock:
            if self.callbacks.pop(descriptor, None) is not None:
                self.epoll.unregister(descriptor)

    def keep(self, one):
        """Looks at one when its time has come, until `leave`."""
        with self.lock:
            self.kept.add(one)
        self.wake()

    def leave(self, one):
        with self.lock:
            self.kept.discard(one)

    def wake(self):
        """Looks at everyone again."""
        os.eventfd_write(self.wake_fd, 1)

    def run(self):
        while True:
            with self.lock:
                times = [at for one in self.kept if (at := one.next_time()) is not None]
            wait = min(max(0, min(times) - time.monotonic()), LONGEST_WAIT_SECONDS) if times else -1
            for descriptor, _ in self.epoll.poll(wait):
                if descriptor == self.wake_fd:
                    os.eventfd_read(self.wake_fd)
                    continue
                with self.lock:
                    callback = self.callbacks.get(descriptor)
                    if callback is not None:
                        callback(descriptor)
            with self.lock:
                now = time.monotonic()
                for one in list(self.kept):
                    one.tick(now)
