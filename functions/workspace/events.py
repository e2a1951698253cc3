"""Server-sent events: the item's type as the event's name, with a ping where nothing else is said."""

import time

from call import Gone
from dispatch import encode

PING = b": ping\n\n"
PING_SECONDS = 15

EVENT_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}


def wants_events(call):
    """Whether a client asked for events rather than for one document."""
    return "text/event-stream" in call.headers.get("accept", "")


class EventWriter:
    """Sends items. What was offered and has not left yet is `pending`."""

    def __init__(self, writer):
        self.writer = writer
        self.ping_at = time.monotonic() + PING_SECONDS
        # Whether it turned out, while something was offered, that the client has left.
        self.gone = False

    @property
    def pending(self):
        """Whether the client is behind; one that has gone is not."""
        return self.writer.pending and not self.gone

    def send(self, item):
        """Sends an item and waits while the client is behind."""
        self.writer.write(framed(item))

    def offer(self, item):
        """Sends an item as far as the client has room; the rest follows by `push`."""
        self._try(self.writer.offer, framed(item))

    def push(self):
        """Sends more of what was offered."""
        self._try(self.writer.push)

    def _try(self, send, *data):
        try:
            if not self.gone:
                send(*data)
        except Gone:
            self.gone = True

    def ping(self, now):
        """Says that there is nothing to say when it is time to; answers when it will be next."""
        if now >= self.ping_at:
            self.ping_at = now + PING_SECONDS
            if not self.pending:
                self._try(self.writer.offer, PING)
        return self.ping_at


def framed(item):
    return b"event: %b\ndata: %b\n\n" % (item["type"].encode(), encode(item))
