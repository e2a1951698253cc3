"""The content of files: opened at once whatever lies there, read piece by piece, written whole or not at all."""

import contextlib
import os
import posixpath
import re
import secrets
import stat

from paths import make_parents, on_path
from problem import Problem

PIECE_BYTES = 1 << 18
OWN_FILE = re.compile(r"/proc/(\d+)/")
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def open_regular(path):
    """A regular file for reading, as its descriptor and its facts."""
    with on_path(path):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise Problem("not_a_file", detail=f"{path} is {_kind_of(found.st_mode)}", path=path)
        _refuse_own_process(file, path)
        with on_path(path):
            yield file, found
    finally:
        os.close(file)


def _refuse_own_process(file, path):
    """A process may always look at itself: what /proc tells of this one, under whatever name, is not for others."""
    own = OWN_FILE.match(os.readlink(f"/proc/self/fd/{file}"))
    if own and os.path.exists(f"/proc/self/task/{own[1]}"):
        raise Problem("forbidden", detail="That belongs to the sandbox itself", path=path)


def read_pieces(file, offset, length, piece_bytes=PIECE_BYTES):
    """Reads `length` bytes from an offset, piece by piece; fewer when the file ends before."""
    at = 0
    while at < length:
        piece = os.pread(file, min(piece_bytes, length - at), offset + at)
        if not piece:
            return
        at += len(piece)
        yield piece


def write_whole(path, mode, parents, fill):
    """
    Writes a file so that it appears whole or not at all; answers its size. `fill` writes into the descriptor that it is
    given. What a link names is written, not the link.
    """
    with on_path(path):
        target = _real_target(path)
        if parents:
            make_parents(target)
        part = posixpath.join(posixpath.dirname(target), f".cleanroom-{secrets.token_hex(8)}.part")
        file = _open_new(part, path)
        try:
            try:
                size = fill(file)
                os.fchmod(file, mode)
            finally:
                os.close(file)
            os.rename(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    return size


def write_all(file, data):
    """Writes all of some bytes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def write_body(call, file):
    """Writes a request's body into a file, through one buffer that is used again and again; answers its size."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    total = 0
    while size := call.read_into(buffer):
        write_all(file, buffer[:size])
        total += size
    return total


def _open_new(part, path):
    try:
        return os.open(part, NEW_FILE, 0o600)
    except FileNotFoundError:
        # Under /proc and its like the folder is there and yet takes no files.
        if os.path.exists(posixpath.dirname(part)):
            raise Problem("forbidden", detail="Files cannot be made there", path=path) from None
        raise


def _real_target(path):
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return path
    if not stat.S_ISREG(found.st_mode):
        raise Problem("not_a_file", detail=f"{path} is {_kind_of(found.st_mode)}", path=path)
    return os.path.realpath(path)


def _kind_of(mode):
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "a device")
