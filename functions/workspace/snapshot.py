"""All files of the user as one stream, and such a stream as all files of the user. Only the core asks for either."""

import errno
import os
import stat
import tarfile

from call import STREAMED
from contract import FILES_HEADER, LIMITS, OPERATIONS, SKIPPED_HEADER
from folders import Folders, parts_of
from guard import refuse_clients
from owned import owned_files
from problem import Problem

PIECE_BYTES = 1 << 18
BLOCK_BYTES = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK_BYTES)
ZEROS = bytes(PIECE_BYTES)
FULL = (errno.ENOSPC, errno.EDQUOT)


def routes(root="/"):
    """What answers for the files below `root`."""
    return {"readSnapshot": lambda call: _read(call, root), "writeSnapshot": lambda call: _write(call, root)}


def _read(call, root):
    refuse_clients(call)
    with Folders(root) as folders:
        owned = owned_files(folders, os.geteuid())
        if owned.size > LIMITS["snapshotBytes"]:
            raise Problem("body_too_large", detail="The files are too many bytes for a snapshot", limitBytes=LIMITS["snapshotBytes"])
        headers = {
            "content-type": OPERATIONS["readSnapshot"]["streams"]["response"],
            FILES_HEADER: str(len(owned.paths)),
            SKIPPED_HEADER: str(owned.skipped),
        }
        packer = _Packer(call.stream(200, headers))
        for path in owned.paths:
            packer.add(folders, path)
        packer.end()
    return STREAMED


class _Packer:
    """Writes entries of a tar, several small ones at a time."""

    def __init__(self, writer):
        self._writer = writer
        self._held = bytearray()
        # Where an inode with several names was met first.
        self._linked = {}

    def add(self, folders, path):
        """Adds what is there now; what has gone since it was listed is left out."""
        try:
            folder, name = folders.enter(path)
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(about.st_mode):
                self._add_file(folder, name, path)
            elif stat.S_ISDIR(about.st_mode):
                self._head(path, about, tarfile.DIRTYPE)
            elif stat.S_ISLNK(about.st_mode):
                self._head(path, about, tarfile.SYMTYPE, link=os.readlink(name, dir_fd=folder))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        except OSError as error:
            # A link where a folder or a file was.
            if error.errno != errno.ELOOP:
                raise

    def end(self):
        self._put(END)
        self._flush()
        self._writer.end()

    def _add_file(self, folder, name, path):
        # Whatever has taken the file's place meanwhile is opened without waiting, and is no link.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
        try:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                return
            first = self._linked.setdefault((about.st_dev, about.st_ino), path) if about.st_nlink > 1 else path
            if first != path:
                self._head(path, about, tarfile.LNKTYPE, link=first)
                return
            self._head(path, about, tarfile.REGTYPE, size=about.st_size)
            self._content(file, about.st_size)
        finally:
            os.close(file)

    def _content(self, file, size):
        """As many bytes as were promised: of a file that grows no more, and zeros after the end of one that shrinks."""
        left = size
        while left > 0:
            piece = os.read(file, min(PIECE_BYTES, left)) or ZEROS[: min(PIECE_BYTES, left)]
            self._put(piece)
            left -= len(piece)
        self._put(bytes(-size % BLOCK_BYTES))

    def _head(self, path, about, kind, size=0, link=""):
        entry = tarfile.TarInfo(path)
        entry.type, entry.size, entry.linkname = kind, size, link
        entry.mode = about.st_mode & 0o1777
        seconds, nanoseconds = divmod(about.st_mtime_ns, 1_000_000_000)
        entry.mtime = seconds
        entry.pax_headers = {"mtime": f"{seconds}.{nanoseconds:09}"}
        self._put(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _put(self, data):
        if len(data) == PIECE_BYTES:
            self._flush()
            self._writer.write(data)
            return
        self._held += data
        if len(self._held) >= PIECE_BYTES:
            self._flush()

    def _flush(self):
        if self._held:
            self._writer.write(bytes(self._held))
            self._held.clear()


def _write(call, root):
    refuse_clients(call)
    try:
        with Folders(root) as folders:
            _clear(folders)
        with Folders(root) as folders:
            _unpack(call, folders)
    except tarfile.TarError as error:
        raise Problem("invalid_archive", detail=str(error)) from None
    except OSError as error:
        if error.errno in FULL:
            raise Problem("disk_full") from None
        raise Problem("forbidden", detail=f"A file of the snapshot cannot be put where it was: {os.strerror(error.errno or 0)}") from None


def _clear(folders):
    """Removes what the user owns and could remove; their home stays, which lies in a folder that is not theirs."""
    for path in reversed(owned_files(folders, os.geteuid()).paths):
        folder, name = folders.enter(path)
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOTEMPTY, errno.EBUSY, errno.ENOENT):
                raise


def _unpack(call, folders):
    """Nothing is written through a link, and nothing that is no file, folder or link is made."""
    buffered = {"bufsize": PIECE_BYTES, "encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=call, mode="r|", **buffered) as tar:
        while entry := tar.next():
            # The library remembers every entry that it has read.
            tar.members = []
            path = "/".join(parts_of(entry.name))
            folder, name = folders.enter(path, make=True)
            if entry.isdir():
                folders.describe(path, entry.mode & 0o1777, _mtime_ns(entry))
            elif entry.issym():
                os.symlink(entry.linkname, name, dir_fd=folder)
                _date(name, folder, entry)
            elif entry.islnk():
                _link(folders, entry, folder, name)
            elif entry.isreg() and not entry.issparse():
                _write_file(tar.extractfile(entry), entry, folder, name)
            else:
                raise Problem("invalid_archive", detail=f"{path!a} is no file, folder or link")


def _write_file(source, entry, folder, name):
    """Long runs of zeros are left out: a file with holes takes no more of the disk than it did."""
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        size = 0
        while piece := source.read(PIECE_BYTES):
            if piece != ZEROS[: len(piece)]:
                _write_all(file, piece, size)
            size += len(piece)
        os.ftruncate(file, size)
        os.fchmod(file, entry.mode & 0o777)
        os.utime(file, ns=(_mtime_ns(entry), _mtime_ns(entry)))
    finally:
        os.close(file)


def _write_all(file, piece, offset):
    done = 0
    while done < len(piece):
        done += os.pwrite(file, piece[done:], offset + done)


def _link(folders, entry, folder, name):
    with folders.beside("/".join(parts_of(entry.linkname))) as (source, first):
        if not stat.S_ISREG(os.stat(first, dir_fd=source, follow_symlinks=False).st_mode):
            raise Problem("invalid_archive", detail=f"{entry.name!a} links to what is no file")
        os.link(first, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)


def _date(name, folder, entry):
    os.utime(name, ns=(_mtime_ns(entry), _mtime_ns(entry)), dir_fd=folder, follow_symlinks=False)


def _mtime_ns(entry):
    """The whole of a moment: as a number of seconds it would lose its last digits."""
    seconds, _, fraction = entry.pax_headers.get("mtime", str(int(entry.mtime))).partition(".")
    try:
        return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))
    except ValueError:
        raise Problem("invalid_archive", detail="A date in the archive is broken") from None
