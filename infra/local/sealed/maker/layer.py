"""
A layer of an image as it comes in a tar, laid over what is below it at `/`. Names that lead out, links to nothing and
floods are refused; what could do harm but is no reason to refuse an image — devices, set-uid bits, attributes, owners
that no sandbox has — is left out and counted.
"""

import errno
import os
import stat

from tape import FILES, FOLDER, HARD, SYMBOLIC, Refused, entries_of, show

NAME_BYTES, PATH_BYTES = 255, 4096
# What a user namespace of a sandbox maps; who is beyond it is nobody.
OWNERS, NOBODY = 65536, 65534
GONE, OPAQUE, AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
UNUSABLE = {b"3": "devices", b"4": "devices", b"6": "pipes"}


class Layer:
    """What is laid over the root of this process. `bounds` are what it may still take: bytes, entries, depth."""

    def __init__(self, bounds):
        self.bounds = bounds
        self.entries = self.bytes = 0
        self.left_out = {}
        # What this layer itself brought, and what leads there: an opaque folder hides only what is below the layer.
        self.ours = set()
        self.parents = {}

    def unpack(self, stream):
        for entry, attributes in entries_of(stream, self.count):
            if attributes:
                self.leave_out("attributes")
            self.take(entry, stream)

    def count(self):
        self.entries += 1
        if self.entries > self.bounds["entries"]:
            raise Refused(f"it has more than {self.bounds['entries']} files")

    def leave_out(self, what):
        self.left_out[what] = self.left_out.get(what, 0) + 1

    def take(self, entry, stream):
        parts = self.parts_of(entry.name)
        kind = FOLDER if entry.kind in FILES and entry.name.endswith(b"/") else entry.kind
        size = entry.size if kind in FILES else 0
        if size > self.bounds["bytes"] - self.bytes:
            raise Refused(f"it unpacks to more than {self.bounds['bytes']} bytes")
        self.bytes += size
        if not parts:
            self.take_root(kind, entry)
        elif parts[-1].startswith(GONE):
            self.hide(parts)
        elif kind in UNUSABLE:
            self.leave_out(UNUSABLE[kind])
        elif kind in FILES:
            self.write(self.place(parts), entry, stream)
        elif kind == FOLDER:
            self.make_folder(self.place(parts), entry)
        elif kind == SYMBOLIC:
            self.link_by_name(self.place(parts), entry)
        elif kind == HARD:
            self.link_to_file(self.place(parts), entry)
        else:
            raise Refused(f"{show(entry.name)} is of a kind that images do not have")

    def parts_of(self, name):
        if not name or b"\0" in name or len(name) > PATH_BYTES:
            raise Refused("an entry has no name that a file can have")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise Refused(f"{show(name)} leads out of the image")
        if len(parts) > self.bounds["depth"] or any(len(part) > NAME_BYTES for part in parts):
            raise Refused(f"{show(name)} is too deep or too long")
        return parts

    def place(self, parts):
        """Where an entry goes, with nothing there that is not a folder. Links on the way lead where they would inside."""
        place = self.folder_of(parts) + b"/" + parts[-1]
        at = place
        while at and at not in self.ours:
            self.ours.add(at)
            at = at.rpartition(b"/")[0]
        return place

    def folder_of(self, parts):
        """The folder of an entry, without any link in its path; it is made if it is missing."""
        asked = b"/" + b"/".join(parts[:-1])
        known = self.parents.get(asked)
        if known is not None:
            return known
        try:
            os.makedirs(asked, exist_ok=True)
            real = os.path.realpath(asked, strict=True)
        except (FileExistsError, NotADirectoryError):
            raise Refused(f"{show(asked)} is no folder, and yet something lies in it") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused(f"{show(asked)} is a link that leads nowhere") from None
            raise
        if real.count(b"/") >= self.bounds["depth"] or len(real) + NAME_BYTES > PATH_BYTES:
            raise Refused(f"{show(asked)} leads too deep")
        real = b"" if real == b"/" else real
        self.parents[asked] = real
        return real

    def take_root(self, kind, entry):
        if kind == FOLDER:
            os.chown(b"/", *self.owner(entry))
            os.chmod(b"/", entry.mode & 0o1777 | 0o755)

    def owner(self, entry):
        if entry.uid >= OWNERS or entry.gid >= OWNERS:
            self.leave_out("owners")
        return tuple(one if one < OWNERS else NOBODY for one in (entry.uid, entry.gid))

    def mode(self, entry):
        if entry.mode & (stat.S_ISUID | stat.S_ISGID):
            self.leave_out("setuid")
        return entry.mode & 0o1777

    def write(self, place, entry, stream):
        self.clear(place)
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            for piece in stream.pieces(entry.size):
                while piece:
                    piece = piece[os.write(file, piece) :]
            os.fchown(file, *self.owner(entry))
            os.fchmod(file, self.mode(entry))
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)

    def make_folder(self, place, entry):
        there = lstat(place)
        if there is None or not stat.S_ISDIR(there.st_mode):
            self.clear(place)
            os.mkdir(place, 0o755)
        os.chown(place, *self.owner(entry))
        os.chmod(place, self.mode(entry))

    def link_by_name(self, place, entry):
        if not entry.link or b"\0" in entry.link or len(entry.link) >= PATH_BYTES:
            raise Refused(f"{show(entry.name)} is a link to no name that a file can have")
        self.clear(place)
        os.symlink(entry.link, place)
        os.chown(place, *self.owner(entry), follow_symlinks=False)

    def link_to_file(self, place, entry):
        parts = self.parts_of(entry.link)
        source = self.folder_of(parts) + b"/" + parts[-1] if parts else b"/"
        if source == place:
            return
        self.clear(place)
        there = lstat(source)
        if there is None or stat.S_ISDIR(there.st_mode):
            raise Refused(f"{show(entry.name)} is a link to {show(entry.link)}, which is no file of the image")
        os.link(source, place, follow_symlinks=False)

    def hide(self, parts):
        """A mark that something below this layer is gone."""
        folder, mark = self.folder_of(parts), parts[-1]
        if mark == OPAQUE:
            for name in os.listdir(folder or b"/"):
                self.hide_one(folder + b"/" + name)
            return
        if mark.startswith(AUFS):
            return
        name = mark[len(GONE) :]
        if name in (b"", b".", b".."):
            raise Refused(f"{show(mark)} hides what is no file")
        self.hide_one(folder + b"/" + name)

    def hide_one(self, place):
        if place not in self.ours:
            self.clear(place)
            return
        there = lstat(place)
        if there is not None and stat.S_ISDIR(there.st_mode):
            for name in os.listdir(place):
                self.hide_one(place + b"/" + name)

    def clear(self, place):
        there = lstat(place)
        if there is None:
            return
        # What was known of the way to somewhere may have led through here.
        self.parents.clear()
        if not stat.S_ISDIR(there.st_mode):
            os.unlink(place)
            return
        for name in os.listdir(place):
            self.clear(place + b"/" + name)
        os.rmdir(place)


def lstat(place):
    try:
        return os.lstat(place)
    except FileNotFoundError:
        return None
