"""Describes paths as AgentRun does, with the names of owners."""

import os
import posixpath
import stat

from moments import iso_moment

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
LETTERS = {stat.S_IFDIR: "d", stat.S_IFLNK: "l"}


class Entries:
    """Remembers who is who for as long as the files that say so stay as they are."""

    def __init__(self, users="/etc/passwd", groups="/etc/group"):
        self._users, self._groups = Names(users), Names(groups)

    def describe(self, path):
        """One path itself, not what it links to."""
        return self.entry_of(path, os.lstat(path))

    def entry_of(self, path, found):
        kind = stat.S_IFMT(found.st_mode)
        bits = "".join("rwx"[place % 3] if found.st_mode >> (8 - place) & 1 else "-" for place in range(9))
        shown = shown_name(path)
        return {
            "name": posixpath.basename(shown) or "/",
            "type": KINDS.get(kind, "other"),
            "path": shown,
            "size": found.st_size,
            "mode": f"{stat.S_IMODE(found.st_mode):04o}",
            "permissions": LETTERS.get(kind, "-") + bits,
            "owner": self._users.of(found.st_uid),
            "group": self._groups.of(found.st_gid),
            "modifiedTime": iso_moment(found.st_mtime_ns),
        }


class Names:
    """The names that a file such as /etc/passwd gives to numbers."""

    def __init__(self, path):
        self._path = path
        # One value, so that threads see the names and their moment together.
        self._read = (None, {})

    def of(self, number):
        try:
            changed_ns = os.stat(self._path).st_mtime_ns
        except OSError:
            changed_ns = 0
        if changed_ns != self._read[0]:
            self._read = (changed_ns, self._read_names())
        return self._read[1].get(str(number)) or str(number)

    def _read_names(self):
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                rows = [line.rstrip("\n").split(":") for line in file]
        except OSError:
            return {}
        return {row[2]: row[0] for row in rows if len(row) > 2}


def shown_name(path):
    """A path as text that any client can read, also where its bytes are none."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
