"""The routes that carry the content of files."""

import binascii
import codecs
import json
import posixpath
import re
import urllib.parse

from call import STREAMED, Gone
from contract import LIMITS
from dispatch import encode
from moments import http_moment
from paths import resolve_path
from problem import Problem
from transfer import open_regular, read_pieces, write_all, write_body, write_whole

# Files under /proc and the like say that they are empty and then are not; so much of one is read.
UNSIZED_BYTES = 16 * 1024 * 1024
# A whole number of the three bytes that make four characters.
PIECE_BYTES = 3 << 16
BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}\s*", re.ASCII)
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
# Left as they are in a header's encoded name, beside letters, digits and `_.-~`, which always are.
PLAIN = "!"


def routes(home, entries):
    """Handlers by operation. Relative paths start at `home`."""

    def at(call):
        return resolve_path(home, call.query["path"])

    return {
        "readFile": lambda call: _send_content(call, at(call), entries),
        "writeFile": lambda call: _write_text(home, call.body),
        "readBytes": lambda call: _send_file(call, at(call), attached=False),
        "downloadFile": lambda call: _send_file(call, at(call), attached=True),
        "writeBytes": lambda call: _write_bytes(call, at(call)),
    }


def _write_text(home, body):
    path = resolve_path(home, body["path"])
    data = body["content"].encode() if body["encoding"] == "utf-8" else _from_base64(body["content"])

    def fill(file):
        write_all(file, data)
        return len(data)

    return {"path": path, "size": write_whole(path, int(body["mode"], 8), body["createDir"], fill)}


def _write_bytes(call, path):
    size = write_whole(path, int(call.query["mode"], 8), True, lambda file: write_body(call, file))
    return {"path": path, "size": size}


def _from_base64(text):
    """Both alphabets, and padding or none, as clients send them."""
    if not BASE64.fullmatch(text):
        raise Problem("invalid_request", detail="body.content: is not base64")
    plain = text.rstrip().rstrip("=").replace("-", "+").replace("_", "/")
    whole = plain[: len(plain) - 1] if len(plain) % 4 == 1 else plain
    return binascii.a2b_base64(whole + "=" * (-len(whole) % 4))


def _send_content(call, path, entries):
    """Answers a file as JSON without ever holding it whole: one look tells whether it is text, a second sends it."""
    with open_regular(path) as (file, found):
        if found.st_size > LIMITS["contentBodyBytes"]:
            raise Problem(
                "body_too_large",
                detail="Read its bytes from /files/content",
                limitBytes=LIMITS["contentBodyBytes"],
                sizeBytes=found.st_size,
            )
        length = found.st_size or UNSIZED_BYTES
        encoding = "utf-8" if _is_text(read_pieces(file, 0, length)) else "base64"
        entry = {**entries.entry_of(path, found), "encoding": encoding}
        writer = call.stream(200, {"content-type": "application/json"})
        writer.write(encode(entry)[:-1] + b',"content":"')
        turn = _text_turner() if encoding == "utf-8" else _base64_turner()
        for piece in read_pieces(file, 0, length, PIECE_BYTES):
            writer.write(turn(piece, False))
        writer.write(turn(b"", True) + b'"}')
    return STREAMED


def _is_text(pieces):
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        for piece in pieces:
            decoder.decode(piece)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _text_turner():
    # The file may have changed since it was found to be text.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return lambda piece, final: json.dumps(decoder.decode(piece, final), ensure_ascii=False)[1:-1].encode()


def _base64_turner():
    """A piece may be short of a multiple of three where a file comes in pieces of its own size."""
    kept = b""

    def turn(piece, final):
        nonlocal kept
        whole = kept + piece
        size = len(whole) if final else len(whole) - len(whole) % 3
        kept = whole[size:]
        return binascii.b2a_base64(whole[:size], newline=False)

    return turn


def _send_file(call, path, attached):
    """Sends a file's bytes, or the one range of them that was asked for."""
    with open_regular(path) as (file, found):
        size = found.st_size
        tag = f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{size:x}"'
        # A part of what is something else by now would be spliced to what the caller has.
        same = call.headers.get("if-range", tag) == tag
        part = _range_of(call.headers.get("range", ""), size) if same else None
        start, length = part or (0, size)
        headers = {
            "content-type": "application/octet-stream",
            "accept-ranges": "bytes",
            "last-modified": http_moment(found.st_mtime_ns),
            "etag": tag,
            **({"content-length": str(length)} if size else {}),
            **({"content-range": f"bytes {start}-{start + length - 1}/{size}"} if part else {}),
            **({"content-disposition": _disposition(path)} if attached else {}),
        }
        writer = call.stream(206 if part else 200, headers)
        if not size:
            for piece in read_pieces(file, 0, UNSIZED_BYTES):
                writer.write(piece)
        elif writer.send_file(file, start, length) < length:
            # A file that shrank meanwhile must not look whole.
            raise Gone
    return STREAMED


def _disposition(path):
    return f"attachment; filename*=UTF-8''{urllib.parse.quote(posixpath.basename(path), safe=PLAIN, errors='replace')}"


def _range_of(header, size):
    """Start and length that a header asks for; None for all, and for forms that may be ignored, as several ranges."""
    found = RANGE.fullmatch(header)
    if not found or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or end < start:
        raise Problem("range_not_satisfiable", sizeBytes=size)
    return start, end - start + 1
