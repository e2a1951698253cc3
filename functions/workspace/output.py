"""Output under a bound: what is kept of it, what is let through, and the words that stand for the rest."""

import codecs


def dropped_marker(size):
    """The line that stands where output was left out."""
    return f"\n[... {size} bytes dropped ...]\n"


def text_decoder():
    """Makes text of pieces that may end within a character."""
    return codecs.getincrementaldecoder("utf-8")("replace")


class Head:
    """Keeps the beginning of a stream and counts the rest, so that a flood costs no more memory than its bound."""

    def __init__(self, limit_bytes):
        self.limit_bytes = limit_bytes
        self.bytes = bytearray()
        self.dropped = 0

    def __len__(self):
        return len(self.bytes)

    def add(self, piece):
        """Takes a piece, as far as there is room."""
        room = self.limit_bytes - len(self.bytes)
        if len(piece) <= room:
            self.bytes += piece
        else:
            self.bytes += piece[:room]
            self.dropped += len(piece) - room

    def text(self):
        """All that is kept. Cut within a character, the rest of it is left out rather than shown broken."""
        text = text_decoder().decode(self.bytes)
        return text + dropped_marker(self.dropped) if self.dropped else text


class Window:
    """Lets a stream through up to a bound, as text that never splits a character, and counts the rest."""

    def __init__(self, limit_bytes):
        self.room = limit_bytes
        self.dropped = 0
        self.decoder = text_decoder()

    def take(self, piece):
        """The text that may go on; empty once the bound is met."""
        kept = piece if len(piece) <= self.room else piece[: self.room]
        self.room -= len(kept)
        self.dropped += len(piece) - len(kept)
        return self.decoder.decode(kept)

    def close(self):
        """Lets nothing more through."""
        self.room = 0

    def end(self):
        """What is left of the last character, and the marker when something was dropped."""
        rest = self.decoder.decode(b"", final=True)
        return rest + dropped_marker(self.dropped) if self.dropped else rest
