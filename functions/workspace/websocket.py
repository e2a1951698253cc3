"""The server's side of a WebSocket: whole messages both ways over the connection that its request came by."""

import base64
import binascii
import hashlib
import select
import socket
import threading
import time
from collections import deque

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError

from call import Gone
from contract import LIMITS
from problem import Problem

ACCEPTING = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PIECE_BYTES = 64 * 1024
# Pongs for a peer that does not read are left out beyond this: the latest ping is the only one that needs an answer.
PONGS_BYTES = 16 * 1024
FAREWELL_SECONDS = 2
NORMAL, PROTOCOL_ERROR, GONE, TOO_BIG, FAILED = 1000, 1002, 1006, 1009, 1011


def accept(call, limit_bytes=LIMITS["socketMessageBytes"], protocols=()):
    """
    Answers an upgrade and makes it a WebSocket, to be used in a `with` block, which closes it. `protocols` are those
    that the route speaks besides none. Messages from the other side are at most `limit_bytes` long.
    """
    key = check(call)
    headers = {"sec-websocket-accept": base64.b64encode(hashlib.sha1(key + ACCEPTING).digest()).decode()}
    offered = [one.strip() for one in call.headers.get("sec-websocket-protocol", "").split(",")]
    chosen = next((one for one in offered if one in protocols), None)
    if chosen is not None:
        headers["sec-websocket-protocol"] = chosen
    return WebSocket(*call.upgrade({"upgrade": "websocket", **headers}), limit_bytes)


def check(call):
    """Refuses what is no upgrade, for a route that makes something before it accepts; answers the handshake's key."""
    headers = call.headers
    key = headers.get("sec-websocket-key", "").encode("latin-1")
    upgrades = [one.strip().lower() for one in headers.get("connection", "").split(",")]
    try:
        right = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        right = False
    bodied = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in upgrades or bodied:
        raise Problem("invalid_request", detail="This route is a WebSocket", next="Connect with a WebSocket client.")
    if not right or headers.get("sec-websocket-version") != "13":
        raise Problem("invalid_request", detail="The WebSocket's handshake is not one of version 13")
    return key


class WebSocket:
    """
    One thread receives: by `receive`, or by `take` whenever `fileno` is readable. Any thread sends: by `send`, which
    waits while the other side is behind, or by `offer` and, while something is `pending`, `push` once it is writable.
    """

    def __init__(self, sock, held, limit_bytes):
        self._sock, self._limit = sock, limit_bytes
        self._protocol = Connection(ConnectionType.SERVER)
        self._lock = threading.Lock()
        self._out, self._waiting = deque(), 0
        self._parts, self._size = [], 0
        self._messages = deque()
        # Why it is over, as a close code, once it is; nothing comes any more then.
        self.code = None
        self.heard_at = time.monotonic()
        self._digest(held)

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        self.close(NORMAL if kind is None else FAILED)

    def fileno(self):
        return self._sock.fileno()

    @property
    def pending(self):
        """Whether bytes that were offered still wait for the other side to read."""
        return self._waiting > 0

    def receive(self):
        """Waits for the next message: text as str, else bytes; None once the other side has closed it or gone."""
        poll = select.poll()
        while not self._messages and self.code is None:
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._waiting else 0))
            for _, events in poll.poll():
                if events & select.POLLOUT:
                    self._try_push()
                if events & ~select.POLLOUT:
                    self._read()
        return self._messages.popleft() if self._messages else None

    def take(self):
        """The messages that are there, without waiting; ask once before the first poll, since some may have come already."""
        if self.code is None:
            self._read()
        messages, self._messages = self._messages, deque()
        return messages

    def send(self, message):
        """Sends a message and waits while the other side is behind. Raises Gone when it has left or closed."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        done = self.offer(message)
        while not done:
            poll.poll()
            done = self.push()

    def offer(self, message):
        """Takes a message, sends what fits without waiting; True when all has left."""
        event = TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        with self._lock:
            self._queue(event)
            return self._push()

    def push(self):
        """Sends more of what was offered, without waiting; True when all has left."""
        with self._lock:
            return self._push()

    def ping(self):
        """Asks for a sign of life, which sets `heard_at`."""
        with self._lock:
            if self._waiting < PONGS_BYTES:
                self._queue(Ping())
                self._push()

    def abort(self):
        """Cuts the connection, from any thread: whoever waits for the other side learns that it has gone."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is cut already.
            pass

    def close(self, code=NORMAL, reason=""):
        """Says goodbye and waits a moment for the other side's; closing twice is one close. Only its own thread may."""
        if self.code == GONE:
            return
        until = time.monotonic() + FAREWELL_SECONDS
        try:
            if self._protocol.state is ConnectionState.OPEN:
                with self._lock:
                    self._queue(CloseConnection(code=code, reason=reason))
            self._flush(until)
            # What lies unread would have the system cut off what was said last.
            self._sock.shutdown(socket.SHUT_WR)
            self._let_pass(until)
        except (Gone, OSError):
            # Nobody is there to be told.
            pass
        self.code = self.code or code

    def _flush(self, until):
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        while not self.push() and (left := until - time.monotonic()) > 0:
            poll.poll(left * 1000)

    def _let_pass(self, until):
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while (left := until - time.monotonic()) > 0 and poll.poll(left * 1000):
            if not self._sock.recv(PIECE_BYTES, socket.MSG_DONTWAIT):
                return

    def _read(self):
        try:
            data = self._sock.recv(PIECE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.code = GONE
            return
        self.heard_at = time.monotonic()
        self._digest(data)

    def _digest(self, data):
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, Message):
                self._gather(event)
            elif isinstance(event, Ping):
                self._answer(Pong(payload=event.payload))
            elif isinstance(event, CloseConnection):
                # Either side's goodbye, or what was nonsense and how it is to be called.
                self._end(event.code, event.reason)
            if self.code is not None:
                return

    def _gather(self, event):
        self._size += len(event.data.encode()) if isinstance(event, TextMessage) else len(event.data)
        if self._size > self._limit:
            self._end(TOO_BIG, f"A message may have {self._limit} bytes")
            return
        self._parts.append(event.data)
        if event.message_finished:
            whole = "".join(self._parts) if isinstance(event, TextMessage) else b"".join(self._parts)
            self._parts, self._size = [], 0
            self._messages.append(whole)

    def _answer(self, event):
        if self._waiting < PONGS_BYTES:
            self._try_queue(event)

    def _end(self, code, reason=None):
        self._try_queue(CloseConnection(code=code, reason=reason or None))
        self.code = self.code or int(code)

    def _try_queue(self, event):
        try:
            with self._lock:
                self._queue(event)
                self._push()
        except Gone:
            self.code = GONE

    def _try_push(self):
        try:
            self.push()
        except Gone:
            self.code = GONE

    def _queue(self, event):
        try:
            data = self._protocol.send(event)
        except LocalProtocolError as error:
            raise Gone from error
        self._out.append(memoryview(data))
        self._waiting += len(data)

    def _push(self):
        try:
            while self._out:
                sent = self._sock.send(self._out[0], socket.MSG_DONTWAIT)
                self._waiting -= sent
                rest = self._out[0][sent:]
                if rest:
                    self._out[0] = rest
                else:
                    self._out.popleft()
        except BlockingIOError:
            return False
        except OSError as error:
            raise Gone from error
        return True
