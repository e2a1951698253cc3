"""What the browser's DevTools say over HTTP, and its WebSockets, passed on byte by byte."""

import json
import select
import socket

from call import STREAMED, Gone
from problem import Problem

HOST = "127.0.0.1"
CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
ANSWER_BYTES = 4 << 20
HEAD_BYTES = 16 * 1024
PIECE_BYTES = 1 << 18
# Of the client's handshake these are the browser's to answer; whose page it came from is not.
HANDSHAKE = ("sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol")
ANSWERED = ("sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol")


def ask(run, path):
    """The JSON that DevTools answer to a path. What listens there may be anybody's program: the answer is bounded."""
    with dial(run) as browser:
        browser.settimeout(ANSWER_SECONDS)
        status, headers, rest = send_head(browser, path, {"connection": "close"})
        size = int(headers.get("content-length", "0")) if headers.get("content-length", "0").isdigit() else 0
        if status != 200 or size > ANSWER_BYTES:
            raise broken(f"its DevTools answered {status} to {path}")
        while len(rest) < size:
            piece = receive(browser)
            rest += piece
        try:
            return json.loads(rest[:size])
        except ValueError as error:
            raise broken("its DevTools did not answer JSON") from error


def relay(call, run, path):
    """Joins the client's WebSocket with one of the browser's, until either leaves."""
    if call.headers.get("upgrade", "").lower() != "websocket":
        raise Problem("invalid_request", detail="This route is a WebSocket", next="Connect with a WebSocket client.")
    with dial(run) as browser:
        browser.settimeout(ANSWER_SECONDS)
        offered = {name: call.headers[name] for name in HANDSHAKE if name in call.headers}
        status, headers, rest = send_head(browser, path, {"connection": "Upgrade", "upgrade": "websocket", **offered})
        if status != 101:
            raise Problem("target_not_found", detail=f"The browser refused the WebSocket with {status}")
        answer = {name: headers[name] for name in ANSWERED if name in headers}
        client, held = call.upgrade({"upgrade": "websocket", **answer})
        pump(Way(browser, client, rest), Way(client, browser, held))
    return STREAMED


class Way:
    """One direction: what was read on one side and the other has not taken yet, which is at most one piece."""

    def __init__(self, source, target, held):
        self.source, self.target, self.held = source, target, memoryview(held)
        self.over = False

    def read(self):
        try:
            piece = self.source.recv(PIECE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self.held, self.over = memoryview(piece), not piece

    def write(self):
        try:
            self.held = self.held[self.target.send(self.held, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return
        except OSError:
            self.over = True


def pump(*ways):
    """Moves bytes until one side has gone; who does not read is not read for."""
    client = ways[1].source
    for way in ways:
        way.source.settimeout(None)
    while not any(way.over for way in ways):
        poll = select.poll()
        wanted = {}
        for way in ways:
            end, event = (way.target, select.POLLOUT) if way.held else (way.source, select.POLLIN)
            wanted[end.fileno()] = wanted.get(end.fileno(), 0) | event
        for number, events in wanted.items():
            poll.register(number, events)
        ready = dict(poll.poll())
        for way in ways:
            if way.held and ready.get(way.target.fileno()):
                way.write()
            elif not way.held and ready.get(way.source.fileno()):
                way.read()
    try:
        client.shutdown(socket.SHUT_WR)
    except OSError:
        # The client was the one that left.
        pass


def dial(run):
    try:
        connection = socket.create_connection((HOST, run.port), CONNECT_SECONDS)
    except OSError as error:
        raise broken("it has just ended") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send_head(connection, path, headers):
    """Asks for a path; answers status, headers, and what came behind them."""
    lines = [f"GET {path} HTTP/1.1", f"host: {HOST}", *(f"{name}: {value}" for name, value in headers.items())]
    try:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    except OSError as error:
        raise broken("it has just ended") from error
    said = b""
    while b"\r\n\r\n" not in said:
        if len(said) > HEAD_BYTES:
            raise broken("its DevTools speak no HTTP")
        said += receive(connection)
    head, _, rest = said.partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[1].isdigit():
        raise broken("its DevTools speak no HTTP")
    pairs = (line.partition(":") for line in others)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, rest


def receive(connection):
    try:
        piece = connection.recv(PIECE_BYTES)
    except OSError as error:
        raise broken("its DevTools do not answer") from error
    if not piece:
        raise broken("it has just ended")
    return piece


def broken(why):
    return Problem("browser_unavailable", detail=f"The browser does not answer: {why}")
