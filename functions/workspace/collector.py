"""Where programs inside send their spans: OTLP/HTTP in JSON, on the sandbox's own loopback."""

import json
import select
import socket
import threading
import time
import zlib

import h11

from contract import LIMITS
from log import log_failure

ADDRESS = ("127.0.0.1", 4318)
BACKLOG = 16
PEERS, IDLE_SECONDS = 16, 30
HEAD_BYTES, PIECE_BYTES = 16 * 1024, 1 << 16
# What is parsed of what comes, in a second; a burst is as much as two bring.
BYTES_PER_SECOND = 4 << 20
JSON = "application/json"
HOW = (
    "Only OTLP/HTTP in JSON is taken here. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/json where an exporter knows it; "
    "others have an exporter of their own for JSON (in JavaScript @opentelemetry/exporter-trace-otlp-http)."
)
# google.rpc.Code, as OTLP's errors have it.
INVALID, EXHAUSTED, MISSING = 3, 8, 5


class Refused(Exception):
    """A request that is not taken: an HTTP status, and the body that OTLP has for it."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


def open_collector(said, address=ADDRESS):
    """The collector, which begins to listen; None where its address is somebody else's."""
    try:
        listener = socket.create_server(address, backlog=BACKLOG)
    except OSError:
        return None
    return Collector(listener, said)


class Collector:
    """One thread, started by the first who connects, for all who send."""

    def __init__(self, listener, said, now_s=time.monotonic):
        self._listener, self._said, self._now_s = listener, said, now_s
        self._listener.setblocking(False)
        self._peers = {}
        self._left, self._at_s = 2 * BYTES_PER_SECOND, now_s()

    @property
    def port(self):
        return self._listener.getsockname()[1]

    def fileno(self):
        return self._listener.fileno()

    def start(self):
        """Raises RuntimeError where the sandbox has used up its processes."""
        threading.Thread(target=self.run, daemon=True).start()

    def turn_away(self):
        """Lets go of who connected when nobody can serve it."""
        try:
            self._listener.accept()[0].close()
        except OSError:
            # It has left by itself.
            pass

    def run(self):
        epoll = select.epoll()
        epoll.register(self._listener, select.EPOLLIN)
        while True:
            for number, _ in epoll.poll(IDLE_SECONDS):
                if number == self._listener.fileno():
                    self._accept(epoll)
                else:
                    self._hear(number)
            self._forget_idle()

    def _accept(self, epoll):
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._peers) >= PEERS:
            self._drop(min(self._peers, key=lambda number: self._peers[number].at_s))
        sock.setblocking(False)
        self._peers[sock.fileno()] = Peer(sock, self._now_s())
        epoll.register(sock, select.EPOLLIN)

    def _hear(self, number):
        peer = self._peers.get(number)
        if peer is None:
            return
        peer.at_s = self._now_s()
        try:
            goes_on = peer.hear(self._answer)
        except Exception as error:
            log_failure("collector", error)
            goes_on = False
        if not goes_on:
            self._drop(number)

    def _forget_idle(self):
        now_s = self._now_s()
        for number in [one for one, peer in self._peers.items() if now_s - peer.at_s > IDLE_SECONDS]:
            self._drop(number)

    def _drop(self, number):
        self._peers.pop(number).sock.close()

    def _answer(self, body, headers):
        """Takes one body; answers what OTLP says of what was not taken."""
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
        if kind != JSON:
            raise Refused(415, INVALID, HOW)
        now_s = self._now_s()
        self._left = min(2 * BYTES_PER_SECOND, self._left + max(0.0, now_s - self._at_s) * BYTES_PER_SECOND)
        self._at_s = now_s
        if self._left < 0:
            raise Refused(429, EXHAUSTED, "Too much at once: send it again in a second", [("retry-after", "1")])
        text = unpacked(body, headers.get(b"content-encoding", b"identity").strip().lower())
        self._left -= len(text)
        try:
            _, rejected = self._said.add(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise Refused(400, INVALID, f"This is no OTLP in JSON: {error or 'it is nested too deeply'}") from None
        if not rejected:
            return {}
        message = f"{rejected} spans were no spans, or too many: at most {LIMITS['saidSpansPerSecond']} a second are kept"
        return {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}}


class Peer:
    """One who sends."""

    def __init__(self, sock, at_s):
        self.sock, self.at_s = sock, at_s
        self._parser = h11.Connection(h11.SERVER, HEAD_BYTES)
        self._headers, self._pieces, self._size = {}, [], 0

    def hear(self, answer):
        """Reads on; False when this connection is of no more use."""
        try:
            self._parser.receive_data(self.sock.recv(PIECE_BYTES))
            while True:
                event = self._parser.next_event()
                if event is h11.NEED_DATA:
                    if self._parser.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return True
                if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return False
                if not self._take(event, answer):
                    return False
        except BlockingIOError:
            return True
        except (h11.ProtocolError, OSError):
            return False

    def _take(self, event, answer):
        try:
            if isinstance(event, h11.Request):
                self._headers, self._pieces, self._size = dict(event.headers), [], 0
                check(event)
            elif isinstance(event, h11.Data):
                self._size += len(event.data)
                if self._size > LIMITS["saidBodyBytes"]:
                    raise Refused(413, INVALID, f"A body has at most {LIMITS['saidBodyBytes']} bytes")
                self._pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                body, self._pieces = b"".join(self._pieces), []
                self._respond(200, answer(body, self._headers))
                if self._parser.our_state is not h11.DONE:
                    return False
                self._parser.start_next_cycle()
            return True
        except Refused as refused:
            self._respond(refused.status, {"code": refused.code, "message": str(refused)}, [*refused.headers, ("connection", "close")])
            return False

    def _respond(self, status, value, headers=()):
        body = json.dumps(value, separators=(",", ":")).encode()
        head = [("content-type", JSON), ("content-length", str(len(body))), *headers]
        self._send(h11.Response(status_code=status, headers=head), h11.Data(data=body), h11.EndOfMessage())

    def _send(self, *events):
        data = b"".join(self._parser.send(event) for event in events)
        if self.sock.send(data) != len(data):
            raise OSError("it does not read what it is answered")


def check(request):
    """Refuses what is not asked here before its body has come."""
    target = request.target.split(b"?")[0]
    if target != b"/v1/traces":
        raise Refused(404, MISSING, "Only traces are taken here: POST /v1/traces")
    if request.method != b"POST":
        raise Refused(405, INVALID, "Traces are sent by POST", [("allow", "POST")])


def unpacked(body, coding):
    """A body as it was before it was packed, which may not be larger either."""
    if coding in (b"identity", b""):
        return body
    if coding != b"gzip":
        raise Refused(415, INVALID, "A body is as it is, or gzip")
    try:
        opener = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = opener.decompress(body, LIMITS["saidBodyBytes"])
    except zlib.error as error:
        raise Refused(400, INVALID, f"This is no gzip: {error}") from None
    if opener.unconsumed_tail:
        raise Refused(413, INVALID, f"A body has at most {LIMITS['saidBodyBytes']} bytes")
    return text
