"""The newest output of background processes, kept for whoever attaches."""

from collections import deque

from contract import LIMITS

BLOCK_BYTES = 64 * 1024


class Backlog:
    """The newest output of one stream, each byte under its offset from the stream's start."""

    def __init__(self, pool):
        self.pool = pool
        self.blocks = deque()
        self.size = 0
        # The offset of the first byte that is still kept.
        self.start = 0
        pool.backlogs.append(self)

    @property
    def end(self):
        """The offset after the last byte."""
        return self.start + self.size

    def append(self, piece):
        """Takes what has come."""
        last = self.blocks[-1] if self.blocks else None
        if last is not None and len(last) + len(piece) <= BLOCK_BYTES:
            last += piece
        else:
            self.blocks.append(bytearray(piece))
        self.size += len(piece)
        self.trim(LIMITS["backlogBytes"])
        self.pool.fit()

    def trim(self, limit_bytes):
        """Drops the oldest bytes until at most this many are kept."""
        while self.size > limit_bytes:
            excess, first = self.size - limit_bytes, self.blocks[0]
            dropped = min(len(first), excess)
            if dropped == len(first):
                self.blocks.popleft()
            else:
                del first[:dropped]
            self.start += dropped
            self.size -= dropped

    def piece_from(self, offset):
        """What is kept from an offset on, one piece at a time, with its own offset; None when there is nothing yet."""
        at = self.start
        for block in self.blocks:
            if offset < at + len(block):
                skipped = max(0, offset - at)
                return bytes(block[skipped:]), at + skipped
            at += len(block)
        return None

    def forget(self):
        """Gives up what is kept; forgetting twice is one forgetting."""
        if self in self.pool.backlogs:
            self.pool.backlogs.remove(self)
        self.blocks.clear()
        self.size = 0


class BacklogPool:
    """All backlogs together, held to one bound: the largest gives way first."""

    def __init__(self):
        self.backlogs = []

    def fit(self):
        while (excess := sum(one.size for one in self.backlogs) - LIMITS["backlogTotalBytes"]) > 0:
            largest = max(self.backlogs, key=lambda one: one.size)
            largest.trim(max(0, largest.size - excess))
