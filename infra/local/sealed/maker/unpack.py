"""
Unpacks one layer of an image: a tar on standard input, laid over the folder that was named. The tar is hostile. So this
process first makes that folder its whole world, keeps three capabilities of all, and lives under the filter of
sandboxes, which comes by descriptor 3; then it reads. On standard output it says in one line of JSON how it went.
"""

import ctypes
import errno
import json
import os
import resource
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import kernel  # noqa: E402
from layer import Layer  # noqa: E402
from tape import Refused, Stream  # noqa: E402

NEWCGROUP, NEWUTS, NEWIPC, NEWNET = 0x02000000, 0x04000000, 0x08000000, 0x40000000
NOEXEC, REMOUNT_BIND = 8, 0x20 | 0x1000
SET_SECCOMP, DROP_BOUND, NO_NEW_PRIVS, FILTER = 22, 24, 38, 2
# Files of any owner, with any mode: CHOWN, DAC_OVERRIDE, FOWNER.
KEPT = 1 << 0 | 1 << 1 | 1 << 3
CAPABILITY_VERSION, CAPABILITIES_MOST = 0x20080522, 64
MEMORY_BYTES, PROCESSOR_SECONDS, FILES = 1 << 30, 900, 64


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def seal(folder, seccomp, most_bytes):
    """From here on there is nothing but the folder, and next to no right to do anything with the rest."""
    kernel.unshare(kernel.NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWNET)
    kernel.mount(None, "/", None, kernel.REC_PRIVATE)
    kernel.attach_tree(kernel.clone_tree(folder), folder)
    kernel.mount(None, folder, None, REMOUNT_BIND | kernel.NOSUID | kernel.NODEV | NOEXEC)
    os.chdir(folder)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for name, most in (("AS", MEMORY_BYTES), ("CORE", 0), ("CPU", PROCESSOR_SECONDS), ("NOFILE", FILES), ("FSIZE", most_bytes)):
        _, ceiling = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    os.umask(0o022)
    os.setgroups([])
    for capability in range(CAPABILITIES_MOST):
        if kernel.LIBC.prctl(DROP_BOUND, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    kernel.check(kernel.LIBC.capset(header, (ctypes.c_uint32 * 6)(KEPT, KEPT, 0, 0, 0, 0)), "capset")
    kernel.check(kernel.LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    kept = ctypes.create_string_buffer(seccomp, len(seccomp))
    described = Program(len(seccomp) // 8, ctypes.cast(kept, ctypes.c_char_p))
    kernel.check(kernel.LIBC.prctl(SET_SECCOMP, FILTER, ctypes.byref(described)), "seccomp")


def main():
    parent, folder, bounds = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    kernel.die_with(parent)
    with open(3, "rb") as file:
        seccomp = file.read()
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise OSError(errno.ENOTDIR, f"{folder} is no folder")
    seal(folder, seccomp, bounds["bytes"])
    layer = Layer(bounds)
    try:
        layer.unpack(Stream(0))
        # Whoever renames the folder into its place relies on what is in it.
        kernel.check(kernel.LIBC.syncfs(os.open("/", os.O_RDONLY)), "syncfs")
        said = {"entries": layer.entries, "bytes": layer.bytes, "leftOut": layer.left_out}
    except Refused as error:
        said = {"refused": str(error)}
    except (MemoryError, RecursionError):
        said = {"refused": "it takes more memory to unpack than any image should"}
    except OSError as error:
        known = {errno.ENOSPC: "full", errno.EDQUOT: "full"}
        said = {known.get(error.errno, "failed"): f"{os.strerror(error.errno or 0)}"}
    os.write(1, json.dumps(said).encode() + b"\n")


main()
