"""The ports that programs open inside: whatever is asked of one goes to what listens there."""

import re
import socket

from problem import Problem
from relay import relay

PLACE = re.compile(r"/+ports/+\d+")
PORT = re.compile(r"[1-9]\d{0,4}", re.ASCII)
MOST = 65535


def routes(own_port):
    """What answers which operation. `own_port` is the workspace's own, where it has one."""
    return {"askPort": lambda call: ask(call, own_port)}


def ask(call, own_port):
    given = call.params["port"]
    if not PORT.fullmatch(given) or int(given) > MOST:
        raise Problem("invalid_request", detail=f"A port is a number from 1 to {MOST}", port=given)
    port = int(given)
    if port == own_port:
        raise Problem("forbidden", detail=f"The port {port} is the workspace's own", port=port)
    path = PLACE.sub("", call.path, count=1) or "/"
    return relay(call, port, f"{path}?{call.raw_query}" if call.raw_query else path)


def port_of(listener):
    """The port that a socket listens on; None for one that has no number."""
    return None if listener.family == socket.AF_UNIX else listener.getsockname()[1]
