"""A tar as it comes, entry by entry. It is read strictly: what two readers could take for two things is refused."""

import re

BLOCK = 512
PIECE_BYTES = 1 << 20
RECORD_BYTES = 1 << 20
NUMBER = re.compile(rb"[0-7]{1,12}")
FILES, HARD, SYMBOLIC, FOLDER = (b"0", b"\0", b"7"), b"1", b"2", b"5"


class Refused(Exception):
    """Why this layer is not unpacked."""


def show(name):
    """A name from the tar in a sentence: short, and harmless to whoever reads it."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else "?" for letter in text[:120])


class Stream:
    """Standard input, read as a tar is: by blocks."""

    def __init__(self, descriptor):
        self.file = open(descriptor, "rb", buffering=PIECE_BYTES)

    def block(self):
        """The next block; None at the end."""
        data = self.file.read(BLOCK)
        if not data:
            return None
        if len(data) < BLOCK:
            raise Refused("the tar is cut off")
        return data

    def pieces(self, size):
        """A body, and away with what fills its last block."""
        left = size
        while left > 0:
            piece = self.file.read(min(left, PIECE_BYTES))
            if not piece:
                raise Refused("the tar is cut off within a file")
            left -= len(piece)
            yield piece
        self.file.read(-size % BLOCK)

    def record(self, size):
        """A small body as a whole: a long name, or what an extended header says."""
        if size > RECORD_BYTES:
            raise Refused("a header of the tar is too long")
        return b"".join(self.pieces(size))

    def drain(self):
        while self.file.read(PIECE_BYTES):
            pass


class Entry:
    __slots__ = ("name", "kind", "size", "mode", "uid", "gid", "mtime", "link")


def number(field):
    """A number as tars have them: octal digits, or for large ones its bytes."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise Refused("a header of the tar holds a number below zero")
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    digits = field.strip(b" \0")
    if digits and not NUMBER.fullmatch(digits):
        raise Refused("a header of the tar holds no number where one must be")
    return int(digits or b"0", 8)


def extended(record):
    """What an extended header says: `length key=value` and a line's end, again and again."""
    said, at = {}, 0
    while at < len(record):
        space = record.find(b" ", at, at + 12)
        digits = record[at:space]
        if space < 0 or not digits.isdigit():
            raise Refused("an extended header of the tar is broken")
        end = at + int(digits)
        key, equals, value = record[space + 1 : end - 1].partition(b"=")
        if end > len(record) or end <= space + 1 or not equals or record[end - 1 : end] != b"\n":
            raise Refused("an extended header of the tar is broken")
        said[key] = value
        at = end
    return said


def decimal(text):
    if not re.fullmatch(rb"\d{1,19}", text):
        raise Refused("an extended header of the tar holds no number where one must be")
    return int(text)


def moment(text):
    """Seconds as nanoseconds."""
    found = re.fullmatch(rb"-?(\d{1,11})(?:\.(\d{1,12}))?", text)
    if not found:
        return 0
    return int(found[1]) * 10**9 + int((found[2] or b"").ljust(9, b"0")[:9])


def text_of(field):
    return field.split(b"\0", 1)[0]


def entries_of(stream, count):
    """The tar's entries; the body of each is read before the next is asked for. `count` is told of each header."""
    said, long_name, long_link = {}, None, None
    while (block := stream.block()) is not None:
        if not any(block):
            stream.drain()
            return
        count()
        if sum(block[:148]) + 8 * 32 + sum(block[156:]) != number(block[148:156]):
            raise Refused("a header of the tar is damaged")
        kind, size = block[156:157], number(block[124:136])
        if kind in (b"x", b"g"):
            record = extended(stream.record(size))
            # What is said for all entries is about the making of the tar.
            said = record if kind == b"x" else said
            continue
        if kind in (b"L", b"K"):
            name = text_of(stream.record(size))
            long_name, long_link = (name, long_link) if kind == b"L" else (long_name, name)
            continue
        if kind == b"S" or any(key.startswith(b"GNU.sparse.") for key in said):
            raise Refused("a file is stored as sparse, which images do not have: build it again without --sparse")
        entry = Entry()
        prefix = text_of(block[345:500]) if block[257:263] == b"ustar\0" else b""
        short = text_of(block[:100])
        entry.name = said.get(b"path", long_name if long_name is not None else prefix + b"/" + short if prefix else short)
        entry.link = said.get(b"linkpath", long_link if long_link is not None else text_of(block[157:257]))
        entry.kind = kind
        entry.size = decimal(said[b"size"]) if b"size" in said else size
        entry.mode = number(block[100:108])
        entry.uid = decimal(said[b"uid"]) if b"uid" in said else number(block[108:116])
        entry.gid = decimal(said[b"gid"]) if b"gid" in said else number(block[116:124])
        entry.mtime = moment(said[b"mtime"]) if b"mtime" in said else number(block[136:148]) * 10**9
        attributes = any(key.startswith(b"SCHILY.xattr.") for key in said)
        said, long_name, long_link = {}, None, None
        yield entry, attributes
