"""One execution in a running interpreter: its output, its time, and whoever interrupts it."""

import os
import select
import time

from call import HUNG_UP
from command import available
from contexts.runtime import READ_BYTES, bundle_of
from contract import LIMITS

GRACE_SECONDS = LIMITS["interruptGraceMs"] / 1000
NEVER = float("inf")


class Execution:
    """
    Runs one cell in the thread that was asked to. `stop` may come from any other. All output that was written before the
    cell's end is in the pipes when the interpreter says that it is done, so that nothing has to mark where it ends.
    """

    def __init__(self, runtime, output, call, count, timeout_ms):
        self.runtime, self.output, self.count = runtime, output, count
        self.client = call.fileno()
        self.time_out_at = time.monotonic() + timeout_ms / 1000
        self.again_at = self.kill_at = self.bury_at = NEVER
        self.waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.asked = None
        self.stopped = None
        self.began = False
        self.ok = None
        self.dead = False
        self.poll = select.poll()
        self.polled = {}

    def stop(self):
        """Has it interrupted, from another thread."""
        self.asked = "interrupted"
        os.eventfd_write(self.waker, 1)

    def run(self, code, variables, said):
        """Sees the cell through: True when it went well, False when it failed, None when the interpreter died of it."""
        runtime = self.runtime
        for stream, piece in said.items():
            if piece:
                self.output.write(stream, bytes(piece))
        # JavaScript's interpreter ends the output with what is given second.
        runtime.send(["run", "", code, *(text for pair in variables.items() for text in pair)])
        if self.client is not None:
            self.poll.register(self.client, HUNG_UP)
            self.polled[self.client] = HUNG_UP
        while self.ok is None and not self.dead:
            now = time.monotonic()
            at = self._tick(now)
            self._poll_for(self._wanted())
            for descriptor, events in self.poll.poll(max(0, (at - now) * 1000)):
                self._ready(descriptor, events)
        self._catch_up()
        return self.ok

    def close(self):
        os.close(self.waker)

    def _wanted(self):
        """What to poll for. A reader who is behind holds the interpreter back, until the execution is being ended."""
        child, held = self.runtime.child, self.output.pending
        if held and self.stopped is not None:
            self.output.release()
            held = False
        wanted = {child.life: select.POLLIN, self.waker: select.POLLIN}
        if not held:
            wanted |= dict.fromkeys(self.runtime.streams, select.POLLIN)
            wanted[child.channel.fileno()] = select.POLLIN | (select.POLLOUT if self.runtime.outgoing else 0)
        if self.client is not None:
            wanted[self.client] = HUNG_UP | (select.POLLOUT if self.output.pending else 0)
        return wanted

    def _poll_for(self, wanted):
        for descriptor in self.polled.keys() - wanted.keys():
            self.poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            if self.polled.get(descriptor) != events:
                self.poll.register(descriptor, events)
        self.polled = wanted

    def _tick(self, now):
        """Does what it is time for; answers when it will be time again."""
        if now >= self.time_out_at:
            self._stop("timeout", now)
        if self.asked is not None:
            self._stop(self.asked, now)
        if now >= self.again_at:
            self.again_at = NEVER
            self._interrupt()
        if now >= self.kill_at:
            self.kill_at, self.bury_at = NEVER, now + GRACE_SECONDS / 2
            self.runtime.signal_death()
        if now >= self.bury_at:
            # Who was to tell of its end does not; user code may have stopped them.
            self.bury_at = NEVER
            self.runtime.child.nursery.dismiss()
        return min(self.time_out_at, self.again_at, self.kill_at, self.bury_at, self.output.ping(now) or NEVER, now + 3600)

    def _stop(self, reason, now):
        """First an interrupt, then, after half of the grace, another, and after all of it the end."""
        self.time_out_at, self.asked = NEVER, None
        if self.stopped is not None:
            return
        self.stopped = reason
        self.again_at, self.kill_at = now + GRACE_SECONDS / 2, now + GRACE_SECONDS
        self._interrupt()

    def _interrupt(self):
        # Before it has begun there is nothing to interrupt: it will be when it begins.
        if self.began:
            self.runtime.interrupt()

    def _ready(self, descriptor, events):
        child = self.runtime.child
        if descriptor in self.runtime.streams:
            self._read(descriptor, READ_BYTES)
        elif descriptor == self.client:
            if not events & HUNG_UP:
                self.output.push()
            if events & HUNG_UP or self.output.gone:
                self.client = None
                self._stop("interrupted", time.monotonic())
        elif descriptor == self.waker:
            os.eventfd_read(descriptor)
        elif descriptor == child.life:
            self.dead = child.hear()
        else:
            self._listen(events)

    def _listen(self, events):
        if events & select.POLLOUT:
            self.runtime.push()
        if not events & ~select.POLLOUT:
            return
        try:
            for message in self.runtime.receive():
                self._take(message)
        except ValueError:
            # User code can write to the channel too; what it breaks is its own interpreter.
            self.runtime.signal_death()
            self.dead = self.runtime.child.wait_end()

    def _take(self, message):
        kind, *parts = message
        if kind == b"began":
            self.began = True
            if self.stopped is not None:
                self.runtime.interrupt()
            return
        self._catch_up()
        if kind == b"done":
            self.ok = parts == [b"ok"]
        elif kind == b"result":
            data = bundle_of(parts[1:])
            main = parts[:1] == [b"main"]
            shown = {"type": "result", "text": data.get("text/plain", ""), "data": data}
            self.output.show({**shown, "executionCount": self.count, "main": main})
        elif kind == b"error":
            name, value, traceback = (*(part.decode("utf-8", "replace") for part in parts[:3]), "", "", "")[:3]
            self.output.show({"type": "error", "name": name, "value": value, "traceback": traceback})

    def _catch_up(self):
        """Takes what the streams hold at this moment: it was written before."""
        for descriptor in list(self.runtime.streams):
            left = available(descriptor)
            while left > 0:
                left -= self._read(descriptor, min(left, READ_BYTES))

    def _read(self, descriptor, size):
        """Reads a piece; answers its size, and at a stream's end more than there could be."""
        try:
            piece = os.read(descriptor, size)
        except BlockingIOError:
            return size
        if not piece:
            del self.runtime.streams[descriptor]
            return size
        self.output.write(self.runtime.child.stdout == descriptor and "stdout" or "stderr", piece)
        return len(piece)
