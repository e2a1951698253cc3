"""A root and processes of its own for what is not ours: system calls for whoever still may make them."""

import ctypes
import os

from lock import LIBC, NEWNS, check

NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def unshare(kinds):
    check(LIBC.unshare(kinds), "unshare")


def mount(source, target, kind, flags):
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    check(LIBC.mount(*words, ctypes.c_ulong(flags), None), f"mount {target}")


def enter_root(root):
    """
    Makes a folder the root of this process and of what it starts: with the processes of its own namespace under /proc,
    hidden where they are hidden here, and with the devices that are here. Nothing leads back.
    """
    unshare(NEWNS)
    mount(None, "/", None, RECURSIVE | PRIVATE)
    mount(root, root, None, BIND)
    for name in ("proc", "dev"):
        make_folder(f"{root}/{name}")
    hidden = [place for place in mount_points() if place.startswith("/proc/")]
    mount("proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC)
    for place in hidden:
        mount(place, root + place, None, BIND)
    mount("/dev", f"{root}/dev", None, BIND | RECURSIVE)
    os.chdir(root)
    check(LIBC.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(LIBC.umount2(b".", DETACH), "umount")
    os.chdir("/")


def make_folder(path):
    """A folder there that is one: a link in its place would lead elsewhere than it will once this is the root."""
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        os.unlink(path)
    if not os.path.lexists(path):
        os.mkdir(path, 0o755)


def mount_points():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [line.split(" ", 5)[4] for line in file]
