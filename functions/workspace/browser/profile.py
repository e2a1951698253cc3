"""What a browser remembers of its user as one stream, and such a stream as what it remembers. Only the core asks for either."""

import errno
import io
import json
import os
import shutil
import stat
import tarfile

from browser.cookies import kept
from browser.flags import PROFILE
from call import STREAMED
from contract import LIMITS, OPERATIONS
from folders import Folders, parts_of
from guard import refuse_clients
from problem import Problem
from tar import invalid_archive, read_tar, shown_name

FOLDER = f"{PROFILE}/Default".removeprefix("/")
# Logins and what pages keep for themselves; no cache, no extension, no setting and nothing else that the browser would run or obey.
KEPT = ("Cookies", "Cookies-journal", "IndexedDB", "Local Storage/leveldb")
SESSION = "session-cookies.json"
SESSION_BYTES = 4 << 20
PIECE_BYTES = 1 << 18
DEPTH = 16
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT)


def routes(browser, root="/"):
    """What answers for the profile that `browser` has below `root`."""
    return {"takeProfile": lambda call: _take(call, browser, root), "giveProfile": lambda call: _give(call, browser, root)}


def is_kept(path):
    """Whether a path below the profile's folder is one that a profile has."""
    return any(path == name or path.startswith(f"{name}/") for name in KEPT)


def _take(call, browser, root):
    """The browser has closed before a byte is read: what it has not written by then is nowhere."""
    refuse_clients(call)
    with browser.at_rest(cleanly=True), Folders(root) as folders:
        files = list(_files(folders))
        session = json.dumps(browser.cookies).encode()
        _refuse_above(sum(size for _, size in files) + len(session))
        if len(session) > SESSION_BYTES:
            raise Problem("body_too_large", detail="The cookies of the session are too many", limitBytes=SESSION_BYTES)
        writer = call.stream(200, {"content-type": OPERATIONS["takeProfile"]["streams"]["response"]})
        with tarfile.open(fileobj=_Sink(writer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE_BYTES) as tar:
            tar.addfile(_head(SESSION, len(session)), io.BytesIO(session))
            for path, _ in files:
                _add(tar, folders, path)
        writer.end()
    return STREAMED


class _Sink:
    """A stream's writer as the file that a tar is written to."""

    def __init__(self, writer):
        self._writer = writer

    def write(self, data):
        self._writer.write(bytes(data))
        return len(data)


def _refuse_above(size):
    limit = LIMITS["browserProfileBytes"]
    if size > limit:
        raise Problem("body_too_large", detail=f"A browser profile has at most {limit} bytes", limitBytes=limit, sizeBytes=size)


def _files(folders):
    """Path and size of each file that is kept. What is a link, or has more names than one, is nobody's that the browser made."""
    waiting = list(KEPT[::-1])
    count = 0
    while waiting:
        path = waiting.pop()
        about = _about(folders, path)
        if about is None:
            continue
        if stat.S_ISREG(about.st_mode) and about.st_nlink == 1:
            count += 1
            yield path, about.st_size
        elif stat.S_ISDIR(about.st_mode) and path.count("/") < DEPTH:
            waiting += [f"{path}/{name}" for name in _names(folders, path)]
        if count + len(waiting) > LIMITS["archiveEntries"]:
            raise Problem("body_too_large", detail="There are too many files in the browser's profile", limitEntries=LIMITS["archiveEntries"])


def _about(folders, path):
    """What is there now; None for nothing, and for what a link would lead to."""
    try:
        folder, name = folders.enter(f"{FOLDER}/{path}")
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _names(folders, path):
    try:
        return [name for name, _ in reversed(folders.listing(f"{FOLDER}/{path}")) if _is_text(name)]
    except OSError:
        return []


def _is_text(name):
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _add(tar, folders, path):
    """Whatever has taken the file's place meanwhile is opened without waiting, and is no link."""
    try:
        folder, name = folders.enter(f"{FOLDER}/{path}")
        descriptor = os.open(name, OPEN, dir_fd=folder)
    except OSError:
        return
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode):
            tar.addfile(_head(path, about.st_size), file)


def _head(path, size):
    """Nothing but name and size: equal profiles are equal bytes."""
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, 0o600
    return entry


def _give(call, browser, root):
    """What there is of a profile is replaced while no browser runs; where one runs from the beginning, it runs again after it."""
    refuse_clients(call)
    try:
        with browser.at_rest(cleanly=False):
            with Folders(root) as folders:
                _clear(folders)
                browser.cookies = _unpack(call, folders)
    except OSError as error:
        if error.errno in FULL:
            raise Problem("disk_full") from None
        raise Problem("forbidden", detail=f"The profile cannot be put where it belongs: {os.strerror(error.errno or 0)}") from None
    browser.run_again()


def _clear(folders):
    for path in KEPT:
        about = _about(folders, path)
        if about is None:
            continue
        folder, name = folders.enter(f"{FOLDER}/{path}")
        if stat.S_ISDIR(about.st_mode):
            shutil.rmtree(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


def _unpack(call, folders):
    """Writes plain files under the names that a profile has, and refuses all else; answers the cookies to be set."""
    cookies, size = [], 0
    for entry in read_tar(call.read):
        path = os.fsdecode(entry.name)
        size += entry.size
        _refuse_above(size)
        if entry.type != "file" or not (path == SESSION or is_kept(path)):
            raise invalid_archive(f"{shown_name(entry.name)} is nothing that a browser profile has")
        if path == SESSION:
            cookies = _cookies(entry)
            continue
        folder, name = folders.enter("/".join(parts_of(f"{FOLDER}/{path}")), make=True)
        _write(entry, folder, name)
    return cookies


def _write(entry, folder, name):
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(file, "wb", buffering=0) as target:
        for piece in entry.content:
            while piece:
                piece = piece[target.write(piece) :]


def _cookies(entry):
    if entry.size > SESSION_BYTES:
        raise invalid_archive("The cookies of the profile are too many")
    try:
        found = json.loads(b"".join(entry.content))
    except ValueError:
        raise invalid_archive("The cookies of the profile are not JSON") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise invalid_archive("The cookies of the profile are no list")
    return [kept(one) for one in found]
