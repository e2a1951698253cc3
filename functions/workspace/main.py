"""Serves a sandbox in a process of its own, as the cloud starts it: on the port or socket that the platform names."""

import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import born  # noqa: E402
import seed  # noqa: E402
from launch import HOME  # noqa: E402
from rights import become_user, close_strays  # noqa: E402

BACKLOG = 512


def listener_of(environment):
    """The socket that was handed over, or one on the port that was named."""
    handed = environment.get("CLEANROOM_LISTEN_FD")
    if handed is not None:
        sock = socket.socket(fileno=int(handed))
        sock.set_inheritable(False)
        return sock
    return socket.create_server(("0.0.0.0", int(environment.get("FC_SERVER_PORT", "9000"))), backlog=BACKLOG)


def main():
    environment = dict(os.environ)
    close_strays(int(environment.get("CLEANROOM_LISTEN_FD", "-1")))
    listener = listener_of(environment)
    seed.preload()
    with born.same_death():
        become_user(HOME)
    seed.run(listener, environment)


if __name__ == "__main__":
    main()
