"""Paths that callers name, and what the system's refusals about them are as Problems."""

import contextlib
import errno
import os
import posixpath

from contract import LIMITS
from problem import Problem

NAME_BYTES = 255
CODES = {
    "file_not_found": ("ENOENT",),
    "forbidden": ("EACCES", "EPERM", "EROFS", "EBUSY"),
    "not_a_directory": ("ENOTDIR",),
    "not_a_file": ("EISDIR", "ENXIO", "EIO", "ENODEV"),
    "already_exists": ("EEXIST", "ENOTEMPTY"),
    "invalid_path": ("EINVAL", "ENAMETOOLONG", "ELOOP"),
    "disk_full": ("ENOSPC", "EDQUOT", "EFBIG"),
}
CODE_OF = {getattr(errno, name): code for code, names in CODES.items() for name in names}
SAID = {
    "forbidden": "The sandbox's user may not do that with",
    "file_not_found": "There is no",
    "not_a_directory": "There is no directory at, or on the way to,",
    "disk_full": "The disk has no room for",
}


def resolve_path(home, path):
    """The absolute path that a caller means; relative ones start at home. What no file system could have is refused."""
    segments = path.split("/")
    sizes = [len(segment.encode()) for segment in segments]
    wrong = None
    if path == "":
        wrong = "The path is empty"
    elif "\0" in path:
        wrong = "The path holds a NUL"
    elif sum(sizes) + len(sizes) - 1 > LIMITS["pathBytes"]:
        wrong = f"The path is longer than {LIMITS['pathBytes']} bytes"
    elif ".." in segments:
        wrong = "The path holds a `..`"
    elif max(sizes) > NAME_BYTES:
        wrong = f"A name in the path is longer than {NAME_BYTES} bytes"
    if wrong:
        raise Problem("invalid_path", detail=wrong, path=path[:256])
    below = "." if path == "~" else path.removeprefix("~/")
    return "/" + posixpath.normpath(posixpath.join(home, below)).lstrip("/")


def file_problem(error, path):
    """The Problem that a failed system call is. A failure that says nothing about the path passes unchanged."""
    code = CODE_OF.get(error.errno)
    if code is None:
        return error
    detail = {"detail": f"{SAID[code]} {path}"} if code in SAID else {}
    return Problem(code, **detail, path=path)


@contextlib.contextmanager
def on_path(path):
    """File work whose refusals by the system come back as Problems about this path."""
    try:
        yield
    except OSError as error:
        raise file_problem(error, path) from None


def make_parents(path):
    """Makes the folders above a path that are missing."""
    make_folders(posixpath.dirname(path))


def make_folders(path):
    """Makes a folder and those above it that are missing; a file in its place is an error."""
    missing = []
    while True:
        try:
            os.mkdir(path)
            break
        except FileNotFoundError:
            missing.append(path)
            path = posixpath.dirname(path)
        except FileExistsError:
            if not missing and not os.path.isdir(path):
                raise
            break
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
