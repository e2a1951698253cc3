"""The display as a WebSocket: the bytes of RFB in binary messages, both ways."""

import select
import socket

from call import STREAMED, Gone
from guard import refuse_clients
from websocket import accept

PIECE_BYTES = 256 * 1024
BROKEN = select.POLLHUP | select.POLLERR


def routes(display):
    def view(call):
        # The door reads what goes in by a view, and opens none that it does not read.
        refuse_clients(call)
        with display.hold() as screen, screen.connect() as rfb, accept(call, protocols=("binary",)) as websocket:
            relay(websocket, rfb)
        return STREAMED

    return {"openLiveview": view, "openLivestream": view}


def relay(websocket, rfb):
    """
    Passes everything on until either side ends. While one side is behind nothing more is read of the other: a viewer
    who does not read holds up its own picture, and one who floods waits for the display.
    """
    back, out = memoryview(b""), False
    poll = select.poll()
    messages = websocket.take()
    while True:
        for message in messages:
            back = memoryview(bytes(back) + (message.encode() if isinstance(message, str) else message))
        back = pushed(rfb, back)
        if back is None or (websocket.code is not None and not messages):
            return
        messages = ()
        poll.register(rfb, (0 if out else select.POLLIN) | (select.POLLOUT if back else 0))
        poll.register(websocket, (0 if back else select.POLLIN) | (select.POLLOUT if out else 0))
        for number, events in poll.poll():
            if number == websocket.fileno():
                try:
                    out = not websocket.push()
                except Gone:
                    return
                if events & (select.POLLIN | BROKEN):
                    messages = websocket.take()
            elif events & (select.POLLIN | BROKEN):
                out = not passed(rfb, websocket)


def pushed(rfb, data):
    """What is left of the bytes after as many as fit went to the display; None when it has gone."""
    try:
        while data:
            data = data[rfb.send(data, socket.MSG_DONTWAIT) :]
    except BlockingIOError:
        pass
    except OSError:
        return None
    return data


def passed(rfb, websocket):
    """Passes on what the display has to say; False while the viewer is behind. The display's end is the view's."""
    try:
        data = rfb.recv(PIECE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        data = b""
    if not data:
        raise Gone
    return websocket.offer(data)
