"""A few questions of our own to the browser, by the protocol of its DevTools."""

import base64
import json
import os
import time

from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage

from browser.devtools import broken, dial, receive, send_head

ANSWER_SECONDS = 10
# All cookies that a browser keeps at once, each as large as it may be, are less.
ANSWER_BYTES = 24 << 20


class Conversation:
    """One WebSocket with the whole browser. What listens there may be anybody's program: answers are bounded in size and time."""

    def __init__(self, run):
        self._sock = dial(run)
        self._sock.settimeout(ANSWER_SECONDS)
        self._protocol = Connection(ConnectionType.CLIENT)
        self._asked = self._size = 0
        self._parts = []
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": key}
        try:
            status, _, rest = send_head(self._sock, run.path, wanted)
            if status != 101:
                raise broken(f"its DevTools answered {status}")
            self._protocol.receive_data(rest)
        except BaseException:
            self._sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()

    def ask(self, method, params=None):
        """What it answers to a method; None when it refuses."""
        self.say(method, params)
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            for text in self._heard():
                answer = _parsed(text)
                if answer.get("id") == self._asked:
                    return answer.get("result")
            if time.monotonic() > until:
                raise broken(f"it does not answer to {method}")
            self._protocol.receive_data(receive(self._sock))

    def say(self, method, params=None):
        """Asks, and waits for no answer."""
        self._asked += 1
        self._send(TextMessage(data=json.dumps({"id": self._asked, "method": method, "params": params or {}})))

    def _heard(self):
        """The messages that have come whole."""
        for event in self._protocol.events():
            if isinstance(event, Message):
                self._size += len(event.data)
                if self._size > ANSWER_BYTES:
                    raise broken("its DevTools say too much")
                self._parts.append(event.data if isinstance(event, TextMessage) else "")
                if event.message_finished:
                    whole, self._parts, self._size = "".join(self._parts), [], 0
                    yield whole
            elif isinstance(event, Ping):
                self._send(Pong(payload=event.payload))
            elif isinstance(event, CloseConnection):
                raise broken("it has just ended")

    def _send(self, event):
        try:
            self._sock.sendall(self._protocol.send(event))
        except OSError as error:
            raise broken("it has just ended") from error


def _parsed(text):
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise broken("its DevTools did not answer JSON") from error
    return answer if isinstance(answer, dict) else {}
