"""Unpacks a tar below a folder, and nowhere else."""

import contextlib
import os
import stat

from contract import LIMITS
from problem import Problem
from tar import invalid_archive, read_tar, shown_name
from transfer import NEW_FILE, write_all

DEFERRED_BYTES = 16 * 1024 * 1024
NAME_BYTES = 255
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """
    Every step from folder to folder goes by descriptor and never through a link: neither one that was there, nor one of
    the archive's, which are made last, nor one that is put in a folder's place meanwhile.
    """

    def __init__(self, root):
        self.entries, self.bytes = 0, 0
        self._chain = Chain(root)
        self._links, self._modes = {}, {}
        self._deferred_bytes = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._chain.close()

    @property
    def done(self):
        """What has been unpacked so far."""
        return {"entries": self.entries, "bytes": self.bytes}

    def unpack(self, read):
        """Unpacks what `read()` gives; answers how much it was."""
        for entry in read_tar(read):
            self.entries += 1
            if self.entries > LIMITS["archiveEntries"]:
                raise invalid_archive(f"The archive has more than {LIMITS['archiveEntries']} entries")
            self._place(entry)
        for names, target in self._links.items():
            self._make_link(names, target)
        for names, mode in reversed(self._modes.items()):
            os.chmod(self._chain.enter(names), mode)
        return self.done

    def _place(self, entry):
        names = _safe_names(entry.name)
        self._links.pop(names, None)
        if entry.type == "directory":
            self._chain.enter(names)
            if names:
                self._defer(entry.name)
                self._modes[names] = entry.mode
            return
        if not names:
            raise invalid_archive("An entry that is no folder has no name")
        if entry.type == "symlink":
            self._chain.enter(names[:-1])
            self._defer(entry.name + entry.link)
            self._links[names] = _safe_target(names, entry.link)
        elif entry.type == "link":
            self._make_hard_link(names, _safe_names(entry.link))
        else:
            self._write_file(names, entry)

    def _write_file(self, names, entry):
        folder = self._chain.enter(names[:-1])
        _clear(folder, names)
        file = os.open(names[-1], NEW_FILE, 0o600, dir_fd=folder)
        try:
            for piece in entry.content:
                write_all(file, piece)
                self.bytes += len(piece)
            os.fchmod(file, entry.mode)
            os.utime(file, (entry.modified_s, entry.modified_s))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(names[-1], dir_fd=folder)
            raise
        finally:
            os.close(file)

    def _make_hard_link(self, names, target):
        if names == target:
            return
        there = os.dup(self._chain.enter(target[:-1]))
        try:
            if not _is_file(there, target):
                raise invalid_archive(f"{_shown(names)} links to what is no file of the archive")
            folder = self._chain.enter(names[:-1])
            _clear(folder, names)
            os.link(target[-1], names[-1], src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(there)

    def _make_link(self, names, target):
        folder = self._chain.enter(names[:-1])
        _clear(folder, names)
        os.symlink(target, names[-1], dir_fd=folder)

    def _defer(self, cost):
        self._deferred_bytes += len(cost)
        if self._deferred_bytes > DEFERRED_BYTES:
            raise invalid_archive("The archive's links and folders have too long names")


class Chain:
    """The folders from the root to where we are, each open. What two places have in common is not walked again."""

    def __init__(self, root):
        # The root itself is where the caller said, through whatever links lead there.
        self._open = [os.open(root, FOLDER & ~os.O_NOFOLLOW)]
        self._names = ()

    def close(self):
        while self._open:
            os.close(self._open.pop())

    def enter(self, names):
        """The descriptor of a folder below the root, made where it is missing; it lasts until another is entered."""
        common = 0
        while common < min(len(names), len(self._names)) and names[common] == self._names[common]:
            common += 1
        self._names = self._names[:common]
        while len(self._open) > common + 1:
            os.close(self._open.pop())
        for depth in range(common, len(names)):
            self._open.append(self._step(names[: depth + 1]))
            self._names = names[: depth + 1]
        return self._open[-1]

    def _step(self, names):
        with contextlib.suppress(FileExistsError):
            os.mkdir(names[-1], dir_fd=self._open[-1])
        try:
            return os.open(names[-1], FOLDER, dir_fd=self._open[-1])
        except NotADirectoryError:
            pass
        if _is_link(self._open[-1], names[-1]):
            raise invalid_archive(f"{_shown(names)} would lead through a link")
        raise invalid_archive(f"{_shown(names)} is a file where a folder is meant")


def _safe_names(name):
    """An entry's names below the folder, without forms that mean the same; one that could lead outside is refused."""
    if name.startswith(b"/"):
        raise invalid_archive(f"{shown_name(name)} is an absolute name")
    names = tuple(one for one in name.split(b"/") if one not in (b"", b"."))
    if b".." in names:
        raise invalid_archive(f"{shown_name(name)} holds a `..`")
    if len(name) > LIMITS["pathBytes"] or any(len(one) > NAME_BYTES for one in names):
        raise invalid_archive(f"{shown_name(name)} is too long")
    if len(names) > LIMITS["archiveDepth"]:
        raise invalid_archive(f"{shown_name(name)} lies deeper than {LIMITS['archiveDepth']} folders")
    return names


def _safe_target(names, target):
    """
    A link's target, when following it from its own folder never leaves the archive. It climbs first and goes down then:
    above a name that is a link itself lies another folder than above its name.
    """
    steps = [one for one in target.split(b"/") if one not in (b"", b".")]
    climbs = next((at for at, one in enumerate(steps) if one != b".."), len(steps))
    if target == b"" or target.startswith(b"/") or climbs >= len(names) or b".." in steps[climbs:]:
        raise invalid_archive(f"{_shown(names)} links to {shown_name(target)}, outside of the archive")
    return target


def _clear(folder, names):
    """Takes away the file or link that an entry replaces; a folder stays, and the archive is refused."""
    try:
        os.unlink(names[-1], dir_fd=folder)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError) as error:
        if isinstance(error, PermissionError) and not _is_folder(folder, names[-1]):
            raise
        raise invalid_archive(f"{_shown(names)} is a folder where a file or link is meant") from None


def _mode_of(folder, name):
    try:
        return os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return 0


def _is_link(folder, name):
    return stat.S_ISLNK(_mode_of(folder, name))


def _is_folder(folder, name):
    return stat.S_ISDIR(_mode_of(folder, name))


def _is_file(folder, names):
    return len(names) > 0 and stat.S_ISREG(_mode_of(folder, names[-1]))


def _shown(names):
    return shown_name(b"/".join(names))


def with_progress(problem, done):
    """A Problem that also says how far the unpacking had come: what was written until then stays."""
    return Problem(problem.code, **{"detail": str(problem), **problem.facts, "unpacked": done})
