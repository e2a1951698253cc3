"""Passes a request to what listens on a port of this sandbox, and the answer back: bodies as they come, WebSockets as bytes both ways."""

import os
import select
import socket
import threading
import time

import h11

from call import HUNG_UP, STREAMED, Gone
from contract import CLIENT_HEADER, INNER_HEADER, PROOF_HEADER, SERVED_HEADER, SESSION_HEADER
from problem import Problem

ADDRESS = "127.0.0.1"
CONNECT_SECONDS = 5
HEAD_BYTES = 64 * 1024
PIECE_BYTES = 128 * 1024
# How long a side that has hung up may take to read what is still on its way to it.
FAREWELL_SECONDS = 2
UPLOAD_ENDS_SECONDS = 5
OURS = {name.lower() for name in (SESSION_HEADER, PROOF_HEADER, INNER_HEADER, CLIENT_HEADER, SERVED_HEADER)}
# Whose page asked is the door's business: to the program, nobody's did.
WITHHELD = {"origin", "referer"}
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect",
    "content-length",
}  # fmt: skip
BODILESS = (204, 304)


def relay(call, port, target, absent=None):
    """
    Asks the port for `target`, a path with its query, and answers what it answers, or what `absent` makes where that is
    that there is nothing. For a handler to return.
    """
    with connect(port) as upstream:
        exchange = Exchange(call, port, upstream)
        exchange.ask(target)
        try:
            if not exchange.answer(absent is not None):
                return absent()
        finally:
            exchange.end_upload()
    return STREAMED


def connect(port):
    """A connection to a port of this sandbox; a Problem when nothing listens."""
    try:
        return socket.create_connection((ADDRESS, port), timeout=CONNECT_SECONDS)
    except OSError as error:
        raise unreachable(port, f"Nothing listens on port {port}: {error.strerror or 'it does not answer'}") from None


def is_open(port):
    """Whether something listens on the port."""
    try:
        socket.create_connection((ADDRESS, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def unreachable(port, detail):
    return Problem("port_unreachable", detail=detail, port=port)


class Exchange:
    """One request and its answer, between a client's connection and the port's."""

    def __init__(self, call, port, upstream):
        self._call, self._port, self._upstream = call, port, upstream
        upstream.settimeout(None)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = h11.Connection(h11.CLIENT, HEAD_BYTES)
        self._upload = None

    def ask(self, target):
        """Sends the request; a body goes along on a thread of its own, since the answer may come before its end."""
        call = self._call
        headers = [(name, text) for name, text in call.headers.items() if name not in HOP_BY_HOP | OURS | WITHHELD]
        headers.append(("host", f"localhost:{self._port}"))
        if is_upgrade(call.headers):
            headers += [("connection", "Upgrade"), ("upgrade", call.headers["upgrade"])]
        else:
            headers.append(("connection", "close"))
        chunked, size = "transfer-encoding" in call.headers, call.headers.get("content-length")
        if chunked:
            headers.append(("transfer-encoding", "chunked"))
        elif size is not None:
            headers.append(("content-length", size))
        try:
            self._send(h11.Request(method=call.method, target=target, headers=headers))
            if chunked or size not in (None, "0"):
                self._upload = threading.Thread(target=self._send_body, daemon=True)
                self._upload.start()
            else:
                self._send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise Problem("invalid_request", detail=f"The request cannot be passed on: {error}") from None
        except OSError:
            # It may have answered all the same.
            pass

    def _send(self, event):
        self._upstream.sendall(self._protocol.send(event))

    def _send_body(self):
        try:
            while piece := self._call.read(PIECE_BYTES):
                self._send(h11.Data(data=piece))
            self._send(h11.EndOfMessage())
        except (OSError, Gone, h11.LocalProtocolError):
            # Whoever left is noticed where the answer is read.
            pass

    def end_upload(self):
        """Nobody may read from the client on this thread's behalf once it is over."""
        if self._upload is None:
            return
        self._upload.join(0 if not self._upload.is_alive() else 0.05)
        if self._upload.is_alive():
            try:
                self._upstream.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It is shut already.
                pass
            self._upload.join(UPLOAD_ENDS_SECONDS)
        if self._upload.is_alive():
            with socket.socket(fileno=os.dup(self._call.fileno())) as client:
                client.shutdown(socket.SHUT_RDWR)
            self._upload.join()
            raise Gone

    def answer(self, wants_something=False):
        """Answers; False where that would be that there is nothing, and something else is wanted then."""
        response = self._next()
        while isinstance(response, h11.InformationalResponse):
            if response.status_code == 101:
                self._switch(response)
                return True
            response = self._next()
        if not isinstance(response, h11.Response):
            raise unreachable(self._port, f"What listens on port {self._port} ended without an answer")
        if wants_something and response.status_code == 404:
            return False
        headers = {SERVED_HEADER: str(self._port)}
        for name, text in response.headers:
            key = name.decode("latin-1")
            if key not in HOP_BY_HOP | OURS or key == "content-length":
                headers[key] = f"{headers[key]}, {text.decode('latin-1')}" if key in headers else text.decode("latin-1")
        if response.status_code in BODILESS:
            headers.pop("content-length", None)
            self._call.answer(response.status_code, headers, None)
            return True
        writer = self._call.stream(response.status_code, headers)
        while isinstance(event := self._next(begun=True), h11.Data):
            writer.write(bytes(event.data))
        if not isinstance(event, h11.EndOfMessage):
            raise Gone
        return True

    def _next(self, begun=False):
        """The answer's next part. A client that leaves meanwhile takes the exchange along."""
        poll = select.poll()
        poll.register(self._upstream, select.POLLIN)
        poll.register(self._call.fileno(), HUNG_UP)
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                for number, _ in poll.poll():
                    if number == self._call.fileno():
                        raise Gone
                    self._protocol.receive_data(self._upstream.recv(PIECE_BYTES))
        except (OSError, h11.RemoteProtocolError) as error:
            if begun:
                raise Gone from error
            raise unreachable(self._port, f"What listens on port {self._port} does not answer as HTTP does: {error}") from None
        return event

    def _switch(self, response):
        headers = {
            name.decode("latin-1"): text.decode("latin-1")
            for name, text in response.headers
            if name.startswith(b"sec-websocket-") or name == b"upgrade"
        }
        sock, early = self._call.upgrade(headers)
        splice(sock, self._upstream, early, self._protocol.trailing_data[0])


def is_upgrade(headers):
    """Whether a request asks for another protocol on its connection."""
    return "upgrade" in headers and "upgrade" in [one.strip().lower() for one in headers.get("connection", "").split(",")]


class Way:
    """One direction: what was read from one end and the other has not taken yet, at most one piece."""

    def __init__(self, source, sink, held):
        self.source, self.sink, self.held, self.open = source, sink, bytes(held), True

    def read(self):
        try:
            self.held = self.source.recv(PIECE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self.held = b""
        self.open = len(self.held) > 0

    def write(self):
        try:
            self.held = self.held[self.sink.send(self.held, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return
        except OSError:
            self.held, self.open = b"", False


def splice(one, other, to_other=b"", to_one=b""):
    """Passes bytes both ways until either end is over; what the other was sent by then it still gets, for a moment."""
    ways = (Way(one, other, to_other), Way(other, one, to_one))
    until = None
    while True:
        if until is None and not all(way.open for way in ways):
            until = time.monotonic() + FAREWELL_SECONDS
        if until is not None and (time.monotonic() >= until or not any(way.held for way in ways)):
            return
        wanted = {}
        for way in ways:
            if way.held:
                wanted[way.sink] = wanted.get(way.sink, 0) | select.POLLOUT
            elif way.open and until is None:
                wanted[way.source] = wanted.get(way.source, 0) | select.POLLIN
        poll = select.poll()
        for end, events in wanted.items():
            poll.register(end, events)
        ready = dict(poll.poll(None if until is None else max(0, (until - time.monotonic()) * 1000)))
        for way in ways:
            if way.held and ready.get(way.sink.fileno()):
                way.write()
            elif not way.held and ready.get(way.source.fileno()):
                way.read()
