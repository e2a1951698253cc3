"""What the user has made: all that is theirs, since what they make is theirs and nobody can give it away."""

import stat

from contract import LIMITS
from folders import DEPTH, is_foreign
from problem import Problem


class Owned:
    """Paths as a walk meets them: a folder, then all that is in it, then the next."""

    def __init__(self):
        self.paths = []
        self.size = 0
        # Sockets, pipes, and what not even its owner may read.
        self.skipped = 0


def owned_files(folders, user_id):
    """Walks the sandbox's disk for what belongs to a user. Links are listed and not followed."""
    owned = Owned()
    waiting = _below(folders, "")
    while waiting:
        path, about = waiting.pop()
        if about.st_uid == user_id:
            _take(owned, path, about)
        if stat.S_ISDIR(about.st_mode) and not is_foreign(path):
            waiting += _below(folders, path)
    return owned


def _below(folders, path):
    """What is in a folder, the first last; nothing of one that has gone, or that the user may not look into."""
    try:
        listing = folders.listing(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    prefix = f"{path}/" if path else ""
    if listing and path.count("/") + 2 > DEPTH:
        raise Problem("not_supported", detail=f"A snapshot keeps folders in folders up to {DEPTH} deep", path=f"/{path}")
    return [(prefix + name, about) for name, about in reversed(listing)]


def _take(owned, path, about):
    kind = stat.S_IFMT(about.st_mode)
    readable = kind == stat.S_IFLNK or about.st_mode & stat.S_IRUSR
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) or not readable:
        owned.skipped += 1
    if kind == stat.S_IFDIR or (readable and kind in (stat.S_IFREG, stat.S_IFLNK)):
        owned.paths.append(path)
    if kind == stat.S_IFREG:
        owned.size += about.st_size
    if len(owned.paths) > LIMITS["archiveEntries"]:
        raise Problem("body_too_large", detail="There are too many files for a snapshot", limitEntries=LIMITS["archiveEntries"])
