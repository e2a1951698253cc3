"""Reads a tar (ustar, GNU or pax) as it arrives, holding no more than one header and one piece of content."""

import json
import re

from problem import Problem

BLOCK_BYTES = 512
EXTENSION_BYTES = 1024 * 1024
LARGEST = 2**53 - 1
OCTAL = re.compile(rb"[0-7]*")
DECIMAL = re.compile(rb"\d{1,16}")
ZEROES = bytes(BLOCK_BYTES)
REFUSED = {b"3": "a device", b"4": "a device", b"6": "a FIFO", b"S": "a sparse file"}


def invalid_archive(detail):
    return Problem("invalid_archive", detail=detail)


def shown_name(name):
    """A name from an archive, fit to be shown."""
    return json.dumps(name[:256].decode("utf-8", "replace"), ensure_ascii=False)


class TarEntry:
    """One entry. Names are bytes, as a tar knows no encoding; `content` has to be read before the next entry."""

    __slots__ = ("name", "type", "mode", "size", "modified_s", "link", "content")

    def __init__(self, header, extension):
        kind = header[156:157]
        self.name = extension[b"path"] if b"path" in extension else _name_of(header)
        self.type = _type_of(kind, self.name)
        size = _size_of(extension.get(b"size"), header)
        self.size = size if self.type == "file" else 0
        self.mode = _number_of(header[100:108]) & 0o777
        self.modified_s = _number_of(header[136:148])
        self.link = extension[b"linkpath"] if b"linkpath" in extension else _c_string(header[157:257])
        self.content = None
        if b"\0" in self.name or b"\0" in self.link:
            raise invalid_archive(f"{shown_name(self.name)} holds a NUL, or leads to one")


def read_tar(read):
    """The entries of an archive, which `read(size)` gives piece by piece."""
    reader = Reader(read)
    extension = {}
    while True:
        header = reader.exactly(BLOCK_BYTES)
        if header == ZEROES:
            return
        _check_sum(header)
        kind = header[156:157]
        if kind in (b"L", b"K", b"x", b"g"):
            _extend(extension, kind, reader.extension(_number_of(header[124:136])))
            continue
        entry = TarEntry(header, extension)
        entry.content = reader.pieces(entry.size)
        yield entry
        for _ in entry.content:
            raise RuntimeError("an entry was left unread")
        reader.pad(entry.size)
        extension = {}


class Reader:
    """Gives a source's bytes in the amounts that are asked for."""

    def __init__(self, read):
        self._read = read
        self._held = memoryview(b"")

    def exactly(self, size):
        held = self._held
        if len(held) >= size:
            self._held = held[size:]
            return bytes(held[:size])
        return b"".join(self.pieces(size))

    def pieces(self, size):
        while size > 0:
            if not self._held:
                self._held = memoryview(self._read())
                if not self._held:
                    raise invalid_archive("The archive ends in the middle of an entry")
            piece, self._held = self._held[:size], self._held[size:]
            size -= len(piece)
            yield piece

    def pad(self, size):
        """Skips to the end of the block in which content of this size ends."""
        self.exactly(-size % BLOCK_BYTES)

    def extension(self, size):
        if size > EXTENSION_BYTES:
            raise invalid_archive("A header of the archive is too long")
        text = self.exactly(size)
        self.pad(size)
        return text


def _extend(extension, kind, text):
    if kind == b"x":
        extension.update(_pax_records(text))
    elif kind == b"L":
        extension[b"path"] = _c_string(text)
    elif kind == b"K":
        extension[b"linkpath"] = _c_string(text)


def _check_sum(header):
    if header[:2] == b"\x1f\x8b":
        raise invalid_archive("The archive is compressed; send a plain tar")
    if sum(header) - sum(header[148:156]) + 8 * 0x20 != _number_of(header[148:156]):
        raise invalid_archive("The body is not a tar")


def _type_of(kind, name):
    if kind == b"5" or (kind not in (b"1", b"2") and name.endswith(b"/")):
        return "directory"
    if kind in (b"0", b"\0", b"7"):
        return "file"
    if kind in (b"1", b"2"):
        return "link" if kind == b"1" else "symlink"
    shown = REFUSED.get(kind) or f"an entry of type {json.dumps(kind.decode('latin-1'))}"
    raise invalid_archive(f"{shown_name(name)} is {shown}")


def _name_of(header):
    name = _c_string(header[:100])
    prefix = _c_string(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _number_of(field):
    """A field of octal digits, or of bytes where it begins with 0x80, as GNU tar writes what is too large."""
    if not field[0] & 0x80:
        text = _c_string(field).strip()
        if not OCTAL.fullmatch(text):
            raise invalid_archive("A number in the archive is broken")
        return int(text or b"0", 8)
    value = int.from_bytes(field[1:], "big")
    if value > LARGEST:
        raise invalid_archive("A number in the archive is too large")
    return value


def _size_of(extended, header):
    if extended is None:
        return _number_of(header[124:136])
    if not DECIMAL.fullmatch(extended) or int(extended) > LARGEST:
        raise invalid_archive("A size in the archive is broken")
    return int(extended)


def _pax_records(text):
    at = 0
    while at < len(text):
        blank = text.find(b" ", at)
        length = text[at:blank] if blank >= 0 else b""
        if not DECIMAL.fullmatch(length) or int(length) < 5:
            raise invalid_archive("A header of the archive is broken")
        name, _, value = text[blank + 1 : at + int(length) - 1].partition(b"=")
        if name.startswith(b"GNU.sparse."):
            raise invalid_archive("The archive holds a sparse file")
        yield name, value
        at += int(length)


def _c_string(text):
    return text.partition(b"\0")[0]
