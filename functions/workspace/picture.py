"""A small picture of a file, drawn by a program of the user's: what looks into the file has no more rights than who made it."""

import contextlib
import os
import select
import threading
import time

from call import HUNG_UP, STREAMED, Gone
from contract import LIMITS, OPERATIONS
from guard import refuse_clients
from launch import base_environment
from paths import resolve_path
from problem import Problem
from transfer import open_regular
from tree import kill_tree

HERE = os.path.dirname(os.path.abspath(__file__))
# It takes what the agent leaves.
PROGRAM = ("/usr/bin/nice", "-n", "10", "/usr/bin/python3", "-I", "-B", f"{HERE}/render.py")
SECONDS = LIMITS["artifactPictureMs"] / 1000
SIDE, SIZE = LIMITS["artifactPictureSide"], LIMITS["artifactPictureBytes"]


def routes(home, nursery):
    turn = threading.Lock()
    return {"readPicture": lambda call: _read(call, resolve_path(home, call.query["path"]), nursery, turn)}


def _read(call, path, nursery, turn):
    refuse_clients(call)
    until = time.monotonic() + SECONDS
    # One after the other, so that many files which are kept at once take no more memory than one.
    if not turn.acquire(timeout=SECONDS):
        raise Problem("conflict", detail="Other pictures are being drawn")
    try:
        with open_regular(path), _drawing(nursery, path) as child:
            picture = _drawn(child, call, until)
    finally:
        turn.release()
    if not 0 < len(picture) <= SIZE:
        raise Problem("not_supported", detail="No picture can be drawn of it", path=path)
    writer = call.stream(200, {"content-type": OPERATIONS["readPicture"]["streams"]["response"], "content-length": str(len(picture))})
    writer.write(picture)
    writer.end()
    return STREAMED


@contextlib.contextmanager
def _drawing(nursery, path):
    child = nursery.program([*PROGRAM, path, str(SIDE), str(SIZE)], "/tmp", base_environment(), input=False)
    try:
        yield child
    finally:
        kill_tree(None if child.hear() else child.pid, child.tree)
        child.close()


def _drawn(child, call, until):
    """All that it writes, or as much as is too much; nothing when its time is over."""
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    poll.register(call, HUNG_UP)
    picture = b""
    while len(picture) <= SIZE:
        ready = dict(poll.poll(max(0, (until - time.monotonic()) * 1000)))
        if call.fileno() in ready:
            raise Gone
        if child.stdout not in ready:
            return b""
        piece = os.read(child.stdout, SIZE + 1)
        if not piece:
            return picture
        picture += piece
    return picture
