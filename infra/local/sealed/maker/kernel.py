"""The system calls that Python's standard library does not offer."""

import ctypes
import errno
import fcntl
import os
import signal
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER = 0x20000, 0x10000000
NOSUID, NODEV, RDONLY, NOATIME = 2, 4, 1, 1024
REC_PRIVATE = 0x4000 | 0x40000
REMOUNT_RDONLY = 0x20 | 0x1000 | RDONLY | NOSUID | NODEV
DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# These three carry the same number on every architecture.
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
LOOP_GET_FREE, LOOP_CONFIGURE, LOOP_CLEAR = 0x4C82, 0x4C0A, 0x4C01
LOOP_AUTOCLEAR, LOOP_DIRECT_IO = 4, 16
EXT4_SHUTDOWN = 0x8004587D


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def encode(text):
    return text.encode() if text is not None else None


def mount(source, target, kind, flags, options=None):
    call = LIBC.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(options))
    check(call, f"mount {kind} on {target}")


def pivot_root(root, old):
    number = PIVOT_ROOT[os.uname().machine]
    check(LIBC.syscall(number, root.encode(), old.encode()), "pivot_root")


def unmount(target):
    check(LIBC.umount2(target.encode(), DETACH), f"unmount {target}")


def unshare(flags):
    check(LIBC.unshare(flags), "unshare")


def die_with(parent, number=signal.SIGKILL):
    """Asks for a signal when the parent thread ends, and makes sure that it has not ended already."""
    check(LIBC.prctl(1, int(number), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(125)


def adopt_orphans():
    """Descendants whose parent died become our children: reaped by us, now, and not by a stranger at leisure."""
    check(LIBC.prctl(36, 1, 0, 0, 0), "prctl")


def clone_tree(path, userns=None):
    """A detached copy of the mount at `path`, its owners shifted into the user namespace when one is given."""
    tree = check(LIBC.syscall(OPEN_TREE, AT_FDCWD, path.encode(), 1 | os.O_CLOEXEC), f"open_tree {path}")
    if userns is not None:
        attributes = ctypes.create_string_buffer(struct.pack("QQQQ", 0x100000, 0, 0, userns))
        call = LIBC.syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, 32)
        check(call, f"mount_setattr idmap {path}")
    return tree


def attach_tree(tree, target):
    check(LIBC.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), 4), f"move_mount {target}")
    os.close(tree)


def write_file(path, text):
    with open(path, "w") as file:
        file.write(text)


# What a browser keeps its pages apart by: each number bounds what the whole instance can make of a kind, its own included.
BROWSER_NAMESPACES = {"user": "32", "pid": "512", "net": "32"}
OWN_NAMESPACES = "2"
KINDS = ("user", "pid", "net", "mnt", "ipc", "uts", "cgroup", "time")


def user_namespace(base, allowed):
    """A user namespace owned by the uid `base`, in which 0..65535 are base..base+65535; further ones as `allowed` says by kind."""
    told, tell = os.pipe()
    held, hold = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(told)
            os.close(hold)
            os.setgroups([])
            os.setresgid(base, base, base)
            os.setresuid(base, base, base)
            unshare(NEWUSER)
            os.write(tell, b"x")
            os.read(held, 1)
            forbid_namespaces(allowed)
            os.write(tell, b"x")
            os.read(held, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(held)
    try:
        if not os.read(told, 1):
            raise OSError(errno.EPERM, "no user namespace can be made")
        for name in ("uid_map", "gid_map"):
            write_file(f"/proc/{pid}/{name}", f"0 {base} 65536\n")
        os.write(hold, b"x")
        if not os.read(told, 1):
            raise OSError(errno.EPERM, "nested user namespaces cannot be forbidden")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    finally:
        os.close(told)
        os.close(hold)
        os.waitpid(pid, 0)


def forbid_namespaces(allowed):
    """Without user namespaces no other kind can be made inside, so that the other kinds are only bounded where one can."""
    for kind in KINDS if allowed else ("user",):
        try:
            write_file(f"/proc/sys/user/max_{kind}_namespaces", allowed.get(kind, OWN_NAMESPACES if allowed else "0"))
        except FileNotFoundError:
            # An older kernel does not know the newest kind, and so makes none.
            if kind != "time":
                raise


def copy_sparse(source, target):
    """Copies only what is written in `source`, so that a template of any size costs what its few blocks cost."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < at:
            sent = os.sendfile(target, source, start, at - start)
            if sent == 0:
                return
            start += sent


def loop_device(image):
    """Binds the open image to a free loop device that frees itself on last use; answers its path and descriptor."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            number = fcntl.ioctl(control, LOOP_GET_FREE)
            path = f"/dev/loop{number}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                for flags in (LOOP_AUTOCLEAR | LOOP_DIRECT_IO, LOOP_AUTOCLEAR):
                    info = bytearray(232)
                    struct.pack_into("I", info, 52, flags)
                    try:
                        fcntl.ioctl(device, LOOP_CONFIGURE, struct.pack("II", image, 0) + bytes(info) + bytes(64))
                        return path, device
                    except OSError as error:
                        if error.errno != errno.EINVAL:
                            raise
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
        raise OSError(errno.EBUSY, "no loop device is free")
    finally:
        os.close(control)


def shut_down(path):
    """Makes an ext4 forget its unwritten pages, so that unmounting a disk nobody will read writes nothing."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(folder, EXT4_SHUTDOWN, struct.pack("I", 2))
    finally:
        os.close(folder)
