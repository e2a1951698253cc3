"""What lies behind all windows, painted by a word to the display server itself: no program is kept for it."""

import socket
import struct

from desktop.pointer import SECONDS, greet

CHANGE_ATTRIBUTES, CLEAR_AREA = 2, 61
BACK_PIXEL = 0x2


def paint_root(number, colour):
    """Gives the root window of a display one colour, which stays. A display without it is none the worse."""
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.settimeout(SECONDS)
            server.connect(f"\0/tmp/.X11-unix/X{number}")
            root = greet(server)
            server.sendall(struct.pack("<BxHIII", CHANGE_ATTRIBUTES, 4, root, BACK_PIXEL, colour))
            server.sendall(struct.pack("<BBHIhhHH", CLEAR_AREA, 0, 4, root, 0, 0, 0, 0))
    except (OSError, struct.error, EOFError):
        return
