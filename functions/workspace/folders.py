"""Ways through folders that no link can bend, whatever is swapped meanwhile."""

import contextlib
import os

from problem import Problem

# What is not the sandbox's own disk: the kernel's faces, and the workspace itself.
FOREIGN = ("proc", "sys", "dev", "opt/cleanroom")
DEPTH = 256
NAME_BYTES = 255
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(path):
    """The names that a relative path is made of; one that could lead anywhere else is refused."""
    parts = tuple(path.split("/"))
    if any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > NAME_BYTES for part in parts) or len(parts) > DEPTH:
        raise Problem("invalid_archive", detail=f"{path[:256]!a} is no path of a snapshot")
    if is_foreign(path):
        raise Problem("invalid_archive", detail=f"{path[:256]!a} is not on the sandbox's disk")
    return parts


def is_foreign(path):
    """Whether a path leads off the sandbox's disk."""
    return any(path == name or path.startswith(f"{name}/") for name in FOREIGN)


class Folders:
    """
    The folders on the way to where work is being done, open. Each was opened by its name in the one above and as no link,
    so that no path leads anywhere else; going on nearby opens little.
    """

    def __init__(self, root):
        self._open = [os.open(root, FOLDER)]
        self._names = []
        # What a folder shall be once all is in it.
        self._facts = [None]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        while self._open:
            self._leave(finish=kind is None)

    def enter(self, path, make=False):
        """The open folder that a path lies in, and its last name there. `make` makes folders that are missing."""
        *way, name = path.split("/")
        self._go(way, make)
        return self._open[-1], name

    def listing(self, path):
        """What is in a folder, in the order of names; `path` is "" for the root."""
        self._go(path.split("/") if path else [], False)
        with os.scandir(self._open[-1]) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return sorted(found, key=lambda one: os.fsencode(one[0]))

    def describe(self, path, mode, mtime_ns):
        """Makes a folder and remembers what it shall be when it is left."""
        self._go(path.split("/"), True)
        self._facts[-1] = (mode, mtime_ns)

    @contextlib.contextmanager
    def beside(self, path):
        """The same as `enter`, for a path far from where work is being done."""
        *way, name = path.split("/")
        folder = os.dup(self._open[0])
        try:
            for part in way:
                below = os.open(part, FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
            yield folder, name
        finally:
            os.close(folder)

    def _go(self, way, make):
        common = 0
        while common < min(len(way), len(self._names)) and way[common] == self._names[common]:
            common += 1
        while len(self._names) > common:
            self._leave()
        for part in way[common:]:
            self._open.append(self._below(part, make))
            self._names.append(part)
            self._facts.append(None)

    def _below(self, part, make):
        try:
            return os.open(part, FOLDER, dir_fd=self._open[-1])
        except FileNotFoundError:
            if not make:
                raise
        os.mkdir(part, 0o755, dir_fd=self._open[-1])
        return os.open(part, FOLDER, dir_fd=self._open[-1])

    def _leave(self, finish=True):
        folder, facts = self._open.pop(), self._facts.pop()
        if self._names:
            self._names.pop()
        try:
            if facts and finish:
                mode, mtime_ns = facts
                os.fchmod(folder, mode)
                os.utime(folder, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(folder)
