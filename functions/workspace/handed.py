"""Descriptors that come with a message."""

import array
import socket

INT_BYTES = array.array("i").itemsize


def receive(sock, size, most):
    """A message, and the descriptors that came with it, at most so many. No program that is started inherits them by chance."""
    data, ancillary, _, _ = sock.recvmsg(size, socket.CMSG_LEN(most * INT_BYTES), socket.MSG_CMSG_CLOEXEC)
    handed = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            handed.frombytes(content[: len(content) - len(content) % INT_BYTES])
    return data, list(handed)
