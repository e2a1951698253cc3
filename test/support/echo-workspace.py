"""A workspace whose terminal says everything back: the example of a route that is a WebSocket."""

import os
import socket
import sys

sys.path.insert(0, "/opt/cleanroom/workspace")

from activity import Activity  # noqa: E402
from call import STREAMED  # noqa: E402
from guard import Guard, proof_key  # noqa: E402
from routes import Routes  # noqa: E402
from server import serve  # noqa: E402
from websocket import accept  # noqa: E402
from workspace import Workspace, now_ms  # noqa: E402

FLOOD = b"\0" * (1 << 20)


def talk(call):
    """Says messages back; "flood" is answered by a gigabyte, and "goodbye" by a close of one's own."""
    with accept(call, limit_bytes=100_000, protocols=("echo",)) as websocket:
        while (message := websocket.receive()) is not None:
            if message == "goodbye":
                websocket.close(4000, "as you wish")
                return STREAMED
            for _ in range(1024 if message == "flood" else 0):
                websocket.send(FLOOD)
            websocket.send(message)
    return STREAMED


activity = Activity(now_ms)
routes = Routes(
    {"attachTerminal": talk, "checkHealth": lambda _call: {"status": "ok"}, "readActivity": lambda _call: activity.read()}
)
listener = socket.create_server(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])))
serve(listener, Workspace(routes, Guard(proof_key(os.environ["CLEANROOM_PROOF_KEY"]), now_ms), activity))
