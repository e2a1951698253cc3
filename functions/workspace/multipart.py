"""Reads a form (multipart/form-data) as it arrives, holding no more than a part's head and a piece of its content."""

import re
import urllib.parse

from problem import Problem

HEAD_BYTES = 16 * 1024
PIECE_BYTES = 1 << 18
MOST_PARTS = 32
BOUNDARY = re.compile(
    r"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70}))\s*(?:;.*)?", re.IGNORECASE
)
PARAMETER = re.compile(r";\s*([\w*-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s\"]*))", re.ASCII)
ESCAPED = re.compile(r"\\([\"\\])")


def broken_form(why):
    return Problem("invalid_request", detail=f"The form is broken: {why}")


class Part:
    """One field of a form, or one file: `file_name` is None for a field. Its pieces are read before the next part."""

    def __init__(self, head, pieces):
        disposition = head.get("content-disposition", "")
        facts = dict(_parameters(disposition))
        if not disposition.lower().startswith("form-data"):
            raise broken_form("a part is no form data")
        self.name = facts.get("name", "")
        self.file_name = facts.get("filename*", facts.get("filename"))
        if self.file_name is None and head.get("content-type", "").lower().startswith("application/octet-stream"):
            self.file_name = ""
        self.pieces = pieces


class Form:
    """The parts of a form. `read(size)` gives its bytes, b"" at the end."""

    def __init__(self, content_type, read):
        found = BOUNDARY.fullmatch(content_type)
        if not found:
            raise broken_form("it names no boundary")
        # Each delimiter follows a line's end, and the first may be the first thing of all.
        self._delimiter = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
        self._read = read
        self._held = bytearray(b"\r\n")

    def parts(self):
        """Part after part; what comes before the first and after the last is nobody's."""
        for _ in self._until_delimiter():
            pass
        for _ in range(MOST_PARTS):
            if self._at_end():
                return
            pieces = self._until_delimiter
            part = Part(self._head(), pieces())
            yield part
            for _ in part.pieces:
                pass
        raise broken_form(f"it has more than {MOST_PARTS} parts")

    def _at_end(self):
        """Whether the delimiter just read was the last; it is followed by two dashes then, and else by a line's end."""
        while len(self._held) < 2:
            self._fill()
        mark = bytes(self._held[:2])
        if mark == b"--":
            return True
        line = self._line()
        if line.strip(b" \t"):
            raise broken_form("a delimiter is followed by something else")
        return False

    def _head(self):
        head, total = {}, 0
        while line := self._line():
            total += len(line)
            name, colon, value = line.decode("utf-8", "replace").partition(":")
            if not colon or total > HEAD_BYTES:
                raise broken_form("a part's head cannot be read")
            head[name.strip().lower()] = value.strip()
        return head

    def _line(self):
        while (end := self._held.find(b"\r\n")) < 0:
            if len(self._held) > HEAD_BYTES:
                raise broken_form("a part's head is too long")
            self._fill()
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line

    def _until_delimiter(self):
        """Pieces up to the next delimiter, which is taken away. What may be the beginning of one waits for the rest."""
        keep = len(self._delimiter) - 1
        while (end := self._held.find(self._delimiter)) < 0:
            if len(self._held) > keep:
                piece = bytes(memoryview(self._held)[:-keep])
                del self._held[:-keep]
                yield piece
            self._fill()
        if end > 0:
            yield bytes(memoryview(self._held)[:end])
        del self._held[: end + len(self._delimiter)]

    def _fill(self):
        piece = self._read(PIECE_BYTES)
        if not piece:
            raise broken_form("it ends before its last delimiter")
        self._held += piece


def _parameters(disposition):
    for name, quoted, plain in PARAMETER.findall(disposition):
        value = ESCAPED.sub(r"\1", quoted) if quoted else plain
        if name.endswith("*"):
            charset, _, rest = value.partition("'")
            encoding = "latin-1" if charset.lower() == "iso-8859-1" else "utf-8"
            value = urllib.parse.unquote(rest.partition("'")[2], encoding, "replace")
        yield name.lower(), value
