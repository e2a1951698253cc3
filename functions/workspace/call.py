"""One request as a handler sees it, and the answer that is written piece by piece."""

import os
import select
import socket

# What poll says of a client that has hung up. Asking for input besides would wake for every byte that waits unread.
HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Gone(Exception):
    """The client has left: nobody is there to be answered."""


class _Streamed:
    """The type of `STREAMED`."""


# What a handler returns that has written its answer itself.
STREAMED = _Streamed()


class Call:
    """A request with its input parsed. `query` and `body` are as the contract's schemas let them pass."""

    __slots__ = ("method", "path", "params", "query", "body", "headers", "request_id", "raw_query", "_connection")

    def __init__(self, connection, method, path, headers, request_id):
        self._connection = connection
        self.method, self.path, self.headers, self.request_id = method, path, headers, request_id
        self.params, self.query, self.body = {}, {}, None
        self.raw_query = ""

    def read(self, size=1 << 18):
        """A piece of the request's body, at most `size` bytes; b"" at its end. Raises Gone when it breaks off."""
        return self._connection.read(size)

    def read_into(self, buffer):
        """As `read`, into a buffer that is used again; 0 at the end."""
        return self._connection.read_into(buffer)

    def fileno(self):
        """The client's socket, to be polled for HUNG_UP beside other things."""
        return self._connection.fileno()

    def gone(self):
        """Whether the client has hung up."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLRDHUP)
        return any(events & HUNG_UP for _, events in poll.poll(0))

    def stream(self, status, headers):
        """Begins an answer that is written piece by piece; its head leaves at once."""
        return self._connection.stream(status, {**headers, "x-request-id": self.request_id})

    def upgrade(self, headers):
        """Makes the connection something else than HTTP: answers its socket, and what came ahead of time."""
        return self._connection.upgrade({**headers, "x-request-id": self.request_id})

    def answer(self, status, headers, body):
        """Answers at once. For the server, which answers what a handler returns; handlers need it never."""
        self._connection.answer(status, {**headers, "x-request-id": self.request_id}, body)

    def finish(self):
        """Ends the answer that was streamed, if its handler has not; what is HTTP no more has none."""
        if self._connection.writer is not None:
            self._connection.writer.end()


class Writer:
    """The body of an answer, for one thread at a time. A body of unknown length goes out in chunks."""

    def __init__(self, sock, chunked, bodiless):
        self._sock = sock
        self._chunked = chunked
        self._bodiless = bodiless
        self._rest = b""
        self.ended = False

    def fileno(self):
        return self._sock.fileno()

    @property
    def pending(self):
        """Whether bytes that were offered still wait for the client to read."""
        return len(self._rest) > 0

    def write(self, data):
        """Writes one piece and waits while the client is behind. Raises Gone when it has left."""
        frame = self._frame(data)
        try:
            if self._rest:
                self._sock.sendall(self._rest)
                self._rest = b""
            self._sock.sendall(frame)
        except OSError as error:
            raise Gone from error

    def offer(self, data):
        """Takes a piece, sends what fits without waiting; True when all has left. Else poll for POLLOUT and `push`."""
        self._rest = bytes(self._rest) + self._frame(data)
        return self.push()

    def push(self):
        """Sends more of what was offered without waiting; True when all has left."""
        try:
            while self._rest:
                sent = self._sock.send(self._rest, socket.MSG_DONTWAIT)
                self._rest = self._rest[sent:]
        except BlockingIOError:
            return False
        except OSError as error:
            raise Gone from error
        return True

    def send_file(self, file, offset, size):
        """Sends a file's bytes from the kernel's own memory; answers how many there were."""
        sent = 0
        try:
            while sent < size and not self._bodiless:
                moved = os.sendfile(self._sock.fileno(), file, offset + sent, min(size - sent, 1 << 30))
                if moved == 0:
                    break
                sent += moved
        except (BrokenPipeError, ConnectionError) as error:
            raise Gone from error
        return sent

    def end(self):
        """Ends the answer; ending twice is one end."""
        if self.ended:
            return
        if self._chunked or self._rest:
            self.write(None)
        self.ended = True

    def _frame(self, data):
        """The bytes on the wire for one piece; None is the end."""
        if self._bodiless or (data is None and not self._chunked) or data == b"":
            return b""
        if data is None:
            return b"0\r\n\r\n"
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
