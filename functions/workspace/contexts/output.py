"""Where one execution's output goes: kept for one answer, or sent as it comes."""

from contract import LIMITS
from events import EventWriter
from output import Head, Window, dropped_marker, text_decoder

STREAMS = ("stdout", "stderr")
PIECES_KEPT = 10_000


class KeptOutput:
    """Keeps an execution's output for one answer: the head of each stream, and the results up to their bound."""

    # Nobody has to keep up with it.
    pending = gone = False

    def __init__(self):
        self.heads = {stream: Head(LIMITS["outputBytes"]) for stream in STREAMS}
        self.pieces = []
        self.result_bytes = 0

    def write(self, stream, piece):
        """Takes output; a stretch of a stream is [stream, start, end]."""
        head = self.heads[stream]
        start = len(head)
        head.add(piece)
        if len(head) == start:
            return
        last = self._last_stretch(stream)
        if last is not None:
            last[2] = len(head)
        else:
            self.pieces.append([stream, start, len(head)])

    def _last_stretch(self, stream):
        """The stretch that grows: the last one, or, where streams take turns by the byte, the last of that stream."""
        if len(self.pieces) >= PIECES_KEPT:
            return next((one for one in reversed(self.pieces) if isinstance(one, list) and one[0] == stream), None)
        last = self.pieces[-1] if self.pieces else None
        return last if isinstance(last, list) and last[0] == stream else None

    def show(self, item):
        """Takes a result or an error."""
        size = size_of(item)
        self.result_bytes += size
        fits = self.result_bytes <= LIMITS["resultsBytes"] and len(self.pieces) < 2 * PIECES_KEPT
        if fits or item["type"] == "error":
            self.pieces.append(item)
        else:
            self.write("stderr", dropped_marker(size).encode())

    def release(self):
        """Nothing is ever held back."""

    def ping(self, _now):
        return None

    def finish(self):
        """Nothing more will come; answers how much of each stream was not kept."""
        return {stream: head.dropped for stream, head in self.heads.items()}

    def text(self, stream):
        return self.heads[stream].text()

    def items(self):
        """What came, in its order; a stream that was cut ends with the marker."""
        decoders = {stream: text_decoder() for stream in STREAMS}
        items = []
        for piece in self.pieces:
            if isinstance(piece, dict):
                items.append(piece)
                continue
            stream, start, end = piece
            text = decoders[stream].decode(self.heads[stream].bytes[start:end])
            if text:
                items.append({"type": stream, "text": text})
        for stream in STREAMS:
            if self.heads[stream].dropped:
                items.append({"type": stream, "text": dropped_marker(self.heads[stream].dropped)})
        return items


class SentOutput(EventWriter):
    """Sends an execution's output as it comes, no faster than the client reads, up to a bound."""

    def __init__(self, writer):
        super().__init__(writer)
        self.windows = {stream: Window(LIMITS["streamBytes"]) for stream in STREAMS}
        self.result_bytes = 0

    def write(self, stream, piece):
        text = self.windows[stream].take(piece)
        if text:
            self.offer({"type": stream, "text": text})

    def show(self, item):
        size = size_of(item)
        self.result_bytes += size
        fits = self.result_bytes <= LIMITS["streamBytes"]
        self.offer(item if fits else {"type": "stderr", "text": dropped_marker(size)})

    def release(self):
        """From here on nothing is held back: what a reader who is behind does not take is counted as dropped."""
        if self.pending:
            for window in self.windows.values():
                window.close()

    def finish(self):
        for stream in STREAMS:
            text = self.windows[stream].end()
            if text:
                self.send({"type": stream, "text": text})
        return {stream: window.dropped for stream, window in self.windows.items()}


def size_of(item):
    if item["type"] == "result":
        return sum(len(text) for text in item["data"].values())
    return len(item["traceback"])
