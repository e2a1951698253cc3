"""The routes that carry whole directories."""

import errno
import os
import stat
import subprocess

from call import STREAMED
from paths import file_problem, make_folders, on_path, resolve_path
from problem import Problem
from tool import Tool
from unpack import Unpacker, with_progress

PIECE_BYTES = 1 << 18
# FIFOs, sockets and devices are left out: they mean nothing elsewhere. Its folder is an argument, no part of the script.
PACK = (
    'set -o pipefail; cd -- "$1" && find . \\( -type f -o -type d -o -type l \\) -print0'
    " | tar --create --format=gnu --null --no-recursion --files-from=- --file=-"
)


def routes(user):
    """Handlers by operation, with the rights of `user`."""
    return {
        "downloadDirectory": lambda call: _pack(call, user, resolve_path(user.home, call.query["path"])),
        "uploadDirectory": lambda call: _unpack(call, resolve_path(user.home, call.query["path"])),
    }


def _unpack(call, path):
    try:
        make_folders(path)
        with Unpacker(path) as unpacker:
            try:
                return {"path": path, **unpacker.unpack(call.read)}
            except Problem as problem:
                raise with_progress(problem, unpacker.done) from None
            except OSError as error:
                problem = file_problem(error, path)
                raise with_progress(problem, unpacker.done) if isinstance(problem, Problem) else error from None
    except FileExistsError:
        raise Problem("not_a_directory", detail=f"{path} exists and is no directory", path=path) from None
    except OSError as error:
        raise file_problem(error, path) from None


def _pack(call, user, path):
    with on_path(path):
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise Problem("not_a_directory", path=path)
        # By the effective uid: the real one is not whose rights these are.
        if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, "closed to the user")
    with Tool(user, ["/bin/bash", "-c", PACK, "bash", path], path, subprocess.PIPE) as tool:
        writer = call.stream(200, {"content-type": "application/x-tar"})
        while piece := os.read(tool.process.stdout.fileno(), PIECE_BYTES):
            writer.write(piece)
        tool.finish()
    return STREAMED
