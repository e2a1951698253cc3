"""One client's connection: HTTP/1.1 requests in, answers out."""

import select
import socket
import time

import h11

from call import Gone, Writer

HEAD_BYTES = 32 * 1024
PIECE_BYTES = 1 << 18
UNWANTED_BODY_MS = 10_000
# What a connection says of a request whose head has only begun.
NOT_YET = object()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REASONS = {
    200: b"OK", 204: b"No Content", 206: b"Partial Content", 400: b"Bad Request", 401: b"Unauthorized",
    403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 409: b"Conflict", 413: b"Payload Too Large",
    416: b"Range Not Satisfiable", 429: b"Too Many Requests", 500: b"Internal Server Error", 501: b"Not Implemented",
    507: b"Insufficient Storage",
}  # fmt: skip


class Connection:
    """
    The head of each request is h11's to read, and so is a body in chunks. A body of known length goes from the socket
    to who reads it untouched, since copying is most of what it costs.
    """

    def __init__(self, sock):
        sock.setblocking(True)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._held = b""
        # Lives from a request's first byte to its last; None between two requests.
        self._parser = None
        # What is left of the body: a number of bytes, or None while the chunks of one still come.
        self._left = 0
        self._expected = False
        # Until when the body may take; None for as long as it likes.
        self._until_ms = None
        self._close = False
        self._bodiless = False
        self._version = b"1.1"
        self.writer = None
        self.answered = False

    def fileno(self):
        return self._sock.fileno()

    def close(self):
        self._sock.close()

    def readable(self, wait_ms):
        """Whether there is something to read, or will be in so many milliseconds."""
        if self._held or wait_ms < 0:
            return len(self._held) > 0
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(wait_ms))

    def next_request(self):
        """
        The next request's method, target and headers, once there is something to read. NOT_YET while part of the head
        is missing; None when the client has said its last, or speaks nonsense.
        """
        if self._parser is None:
            self._parser = h11.Connection(h11.SERVER, HEAD_BYTES)
        self.writer, self.answered = None, False
        try:
            data, self._held = self._held or self._sock.recv(HEAD_BYTES), b""
            if not data:
                return None
            self._parser.receive_data(data)
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                return NOT_YET
            headers = _joined(event.headers)
            self._begin_body(event, headers)
        except (h11.RemoteProtocolError, OSError, ValueError):
            return None
        self._bodiless = event.method == b"HEAD"
        return event.method.decode(), event.target.decode(), headers

    def _begin_body(self, event, headers):
        self._version = event.http_version
        options = [one.strip().lower() for one in headers.get("connection", "").split(",")]
        self._close = "close" in options or event.http_version < b"1.1"
        self._expected = self._parser.they_are_waiting_for_100_continue
        if "transfer-encoding" in headers:
            # A request with two lengths may mean one thing to us and another to whoever passed it on.
            if "content-length" in headers:
                raise ValueError("two lengths")
            self._left = None
            return
        self._left = int(headers.get("content-length", "0"))
        self._held = self._parser.trailing_data[0]

    def read(self, size):
        """The next piece of the body; b"" at its end."""
        if self._left is None:
            return self._read_chunk(size)
        if self._left == 0:
            return b""
        if self._held:
            size = min(size, self._left)
            piece, self._held = self._held[:size], self._held[size:]
        else:
            piece = self._receive(lambda: self._sock.recv(min(size, self._left)))
        self._left -= len(piece)
        return piece

    def read_into(self, buffer):
        """As `read`, into a buffer; 0 at the end."""
        if self._held or not self._left:
            piece = self.read(len(buffer))
            buffer[: len(piece)] = piece
            return len(piece)
        size = self._receive(lambda: self._sock.recv_into(buffer, min(len(buffer), self._left)))
        self._left -= size
        return size

    def _receive(self, receive):
        if self._expected:
            self._expected = False
            self._send(CONTINUE)
        if self._until_ms is not None and not self.readable(self._until_ms - time.monotonic() * 1000):
            raise Gone
        try:
            got = receive()
        except OSError as error:
            raise Gone from error
        if not got:
            raise Gone
        return got

    def _read_chunk(self, size):
        piece, self._held = self._held[:size], self._held[size:]
        while not piece:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                self._close = True
                raise Gone from error
            if event is h11.NEED_DATA:
                self._parser.receive_data(self._receive(lambda: self._sock.recv(PIECE_BYTES)))
            elif isinstance(event, h11.Data):
                piece, self._held = bytes(event.data[:size]), bytes(event.data[size:])
            else:
                self._left, self._held = 0, self._parser.trailing_data[0]
                return b""
        return piece

    def stream(self, status, headers):
        """Sends the head of an answer whose body is written piece by piece."""
        sized = "content-length" in headers
        chunked = not sized and self._version >= b"1.1"
        self._close = self._close or not (sized or chunked)
        self._send(self._head(status, {**headers, **({"transfer-encoding": "chunked"} if chunked else {})}))
        self.writer = Writer(self._sock, chunked, self._bodiless)
        return self.writer

    def answer(self, status, headers, body):
        """Sends a whole answer at once; None is no body."""
        if body is not None:
            headers = {**headers, "content-length": str(len(body))}
        elif status != 204:
            headers = {**headers, "content-length": "0"}
        head = self._head(status, headers)
        self._send(head if body is None or self._bodiless else head + body)

    def upgrade(self, headers):
        """Ends HTTP on this connection: hands over its socket, and what came ahead of time."""
        self.answered = self._close = True
        lines = [b"HTTP/1.1 101 Switching Protocols", b"connection: Upgrade"]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
        self._send(b"\r\n".join(lines) + b"\r\n\r\n")
        held, self._held = self._held, b""
        return self._sock, held

    def _head(self, status, headers):
        self.answered = True
        # A client that waits for leave to send its body learns from the answer that it has none.
        self._close = self._close or self._expected
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"-"))]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
        lines.append(b"connection: close" if self._close else b"connection: keep-alive")
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _send(self, data):
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def finish(self):
        """Leaves the request behind; false when no other may follow on this connection."""
        self._let_pass()
        self._parser = None
        return not self._close

    def _let_pass(self):
        """Lets the rest of an unwanted body go by for a while: who is still sending would not see the answer."""
        if self._left == 0 or self._expected:
            return
        self._until_ms = time.monotonic() * 1000 + UNWANTED_BODY_MS
        while self.read(PIECE_BYTES):
            pass
        self._until_ms = None


def _joined(pairs):
    """Headers by name; several of one name are one list."""
    headers = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
