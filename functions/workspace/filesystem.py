"""The routes that look at and change directories."""

import errno
import os
import posixpath

from contract import LIMITS
from paths import make_parents, on_path, resolve_path
from problem import Problem
from tool import run_tool


def routes(user, entries):
    """Handlers by operation, with the rights of `user`."""
    room = Filesystem(user, entries)

    def at(path):
        return resolve_path(user.home, path)

    return {
        "listDirectory": lambda call: room.list(at(call.query["path"]), call.query["depth"]),
        "statPath": lambda call: room.stat(at(call.query["path"])),
        "makeDirectory": lambda call: room.make(at(call.body["path"]), call.body["parents"], int(call.body["mode"], 8)),
        "movePath": lambda call: room.move(at(call.body["source"]), at(call.body["destination"])),
        "removePath": lambda call: room.remove(at(call.body["path"])),
    }


class Filesystem:
    """What can be done to directories, in the form in which it is answered."""

    def __init__(self, user, entries):
        self._user, self._entries = user, entries

    def list(self, root, depth):
        """Lists level by level, so that what is cut off at the bound is the deepest."""
        found, level = [], [root]
        with on_path(root):
            names = _names_in(root)
        for deep in range(depth):
            below = []
            for folder in level:
                # Below the root a folder may be closed to the user or gone; the others are still worth listing.
                for name in names if deep == 0 else _names_or_none(folder):
                    if len(found) >= LIMITS["entriesListed"]:
                        return {"path": root, "entries": found, "truncated": True}
                    path = posixpath.join(folder, name)
                    try:
                        entry = self._entries.describe(path)
                    except OSError:
                        continue
                    found.append(entry)
                    if entry["type"] == "directory":
                        below.append(path)
            level = below
        return {"path": root, "entries": found, "truncated": False}

    def stat(self, path):
        with on_path(path):
            return {"entry": self._entries.describe(path)}

    def make(self, path, parents, mode):
        """Making it twice is one making."""
        with on_path(path):
            if os.path.isdir(path):
                return {"entry": self._entries.describe(path)}
            if os.path.exists(path):
                raise Problem("not_a_directory", detail=f"{path} exists and is no directory", path=path)
            if parents:
                make_parents(path)
            try:
                os.mkdir(path)
            except FileExistsError:
                pass
            os.chmod(path, mode)
            return {"entry": self._entries.describe(path)}

    def move(self, source, destination):
        """What is at the destination already stays, and the move is refused."""
        with on_path(source):
            os.lstat(source)
            if f"{destination}/".startswith(f"{source}/"):
                raise Problem("invalid_path", detail="A directory cannot be moved into itself", path=destination)
            if os.path.lexists(destination):
                raise Problem("already_exists", detail=f"{destination} exists", path=destination)
            with on_path(destination):
                make_parents(destination)
                try:
                    os.rename(source, destination)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    self._move_across(source, destination)
            return {"entry": self._entries.describe(destination)}

    def _move_across(self, source, destination):
        """Another file system takes a copy first; a copy that fails leaves nothing of itself."""
        try:
            run_tool(self._user, ["/bin/cp", "-a", "--", source, destination], destination)
        except BaseException:
            self._remove_any(destination, True)
            raise
        self._remove_any(source, True)

    def remove(self, path):
        """Removing twice is one removal."""
        with on_path(path):
            if path == "/":
                raise Problem("forbidden", detail="The root directory stays", path=path)
            try:
                entry = self._entries.describe(path)
            except FileNotFoundError:
                return {}
            self._remove_any(path, entry["type"] == "directory")
            return {"entry": entry}

    def _remove_any(self, path, directory):
        """Directories may be nested deeper than any path can name; `rm` walks such ones too."""
        if directory:
            run_tool(self._user, ["/bin/rm", "-rf", "--", path], path)
        else:
            os.unlink(path)


def _names_in(folder):
    """The names in a folder in their order, no more than a listing can hold and one beyond."""
    names = []
    with os.scandir(folder) as found:
        for entry in found:
            names.append(entry.name)
            if len(names) > LIMITS["entriesListed"]:
                break
    return sorted(names)


def _names_or_none(folder):
    try:
        return _names_in(folder)
    except OSError:
        return []
