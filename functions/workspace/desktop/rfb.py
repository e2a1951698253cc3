"""A viewer of our own: looks at the display, types and points, by RFB in Python alone, so that no library reads what code can answer."""

import socket
import struct

from problem import Problem

SECONDS = 10
NO_AUTHENTICATION = b"\1"
RAW = 0
UPDATE, COLOURS, BELL, CUT_TEXT = 0, 1, 2, 3
TEXT_MOST = 1 << 20


class Viewer:
    """One connection with a screen. The frame is held and brought up to date, four bytes a pixel with blue first."""

    def __init__(self, screen):
        self.screen = screen
        self.connection = screen.connect()
        self.connection.settimeout(SECONDS)
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def _greet(self):
        self._read(12)
        self._send(b"RFB 003.008\n")
        self._read(self._read(1)[0])
        self._send(NO_AUTHENTICATION)
        if self._read(4) != b"\0\0\0\0":
            raise broken()
        self._send(b"\1")
        self.width, self.height = struct.unpack(">HH", self._read(4))
        self._read(16)
        self._read(bounded(struct.unpack(">I", self._read(4))[0]))
        self.frame = bytearray(self.width * self.height * 4)
        self._send(pixel_format())
        self._send(struct.pack(">BxHi", 2, 1, RAW))

    def look(self):
        """Brings the frame up to date and answers it. What was sent before has been done by then."""
        # One request is one answer as long as none of them is for news alone, which may wait for ever.
        self._send(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        self._hear()
        return self.frame

    def settle(self):
        """Returns once what was sent has been done."""
        self._send(struct.pack(">BBHHHH", 3, 0, 0, 0, 1, 1))
        self._hear()

    def key(self, symbol, down):
        self._send(struct.pack(">BBxxI", 4, 1 if down else 0, symbol))

    def point(self, buttons, x, y):
        self._send(struct.pack(">BBHH", 5, buttons, x, y))

    def close(self):
        self.connection.close()

    def _hear(self):
        """Takes messages until one is an update of the frame."""
        while True:
            kind = self._read(1)[0]
            if kind == UPDATE:
                return self._update()
            if kind == CUT_TEXT:
                self._read(bounded(struct.unpack(">xxxI", self._read(7))[0]))
            elif kind == COLOURS:
                self._read(6 * struct.unpack(">xHH", self._read(5))[1])
            elif kind != BELL:
                raise broken()

    def _update(self):
        for _ in range(struct.unpack(">xH", self._read(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self._read(12))
            if encoding != RAW or x + width > self.width or y + height > self.height:
                raise broken()
            if width == self.width:
                self._read_into(memoryview(self.frame)[y * width * 4 : (y + height) * width * 4])
                continue
            part = self._read(width * height * 4)
            for row in range(height):
                start = ((y + row) * self.width + x) * 4
                self.frame[start : start + width * 4] = part[row * width * 4 : (row + 1) * width * 4]

    def _read(self, size):
        data = bytearray(size)
        self._read_into(memoryview(data))
        return data

    def _read_into(self, room):
        while room:
            try:
                size = self.connection.recv_into(room)
            except OSError as error:
                raise broken() from error
            if size == 0:
                raise broken()
            room = room[size:]

    def _send(self, data):
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise broken() from error


def pixel_format():
    """Four bytes a pixel, blue first, as most displays have it anyway."""
    return struct.pack(">Bxxx" + "BBBB" + "HHH" + "BBB" + "xxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


def bounded(size):
    if size > TEXT_MOST:
        raise broken()
    return size


def broken():
    return Problem("display_unavailable", detail="The display has ended, or does not answer")
