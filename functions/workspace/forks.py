"""What the processes that fork, and their forks, have in common."""

import contextlib
import os
import signal
import socket
import sys


@contextlib.contextmanager
def forked(code):
    """This block is the whole life of a fork: whatever leaves it ends the process with that code, and says why in a line."""
    try:
        yield
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def woken_by(*numbers):
    """A socket that has the number of each of these signals to read, so that one poll waits for them and for all else."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.detach(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return woken
