"""
Messages between the workspace and its interpreters: a length, then parts that each carry a length, all 32-bit
little-endian. Both interpreters speak it without loading a JSON parser, and figures travel as bytes.
"""


def encode_frame(parts):
    """One message of texts."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    payload = b"".join(len(part).to_bytes(4, "little") + part for part in encoded)
    return len(payload).to_bytes(4, "little") + payload


class FrameReader:
    """Takes bytes as they come and gives whole messages. A message above the bound, or a broken one, is a ValueError."""

    def __init__(self, limit_bytes):
        self.limit_bytes = limit_bytes
        self.held = bytearray()

    def take(self, piece):
        """The messages that are whole by now, each a list of its parts."""
        self.held += piece
        while len(self.held) >= 4:
            size = int.from_bytes(self.held[:4], "little")
            if size > self.limit_bytes:
                raise ValueError(f"a message of {size} bytes")
            if len(self.held) < 4 + size:
                return
            payload = bytes(self.held[4 : 4 + size])
            del self.held[: 4 + size]
            yield parts_of(payload)


def parts_of(payload):
    parts, at = [], 0
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 4], "little")
        if at + 4 + size > len(payload):
            raise ValueError("a broken message")
        parts.append(payload[at + 4 : at + 4 + size])
        at += 4 + size
    return parts
