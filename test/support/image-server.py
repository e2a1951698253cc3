"""What the tests' own images run: it tells of itself and its requests, runs what it is posted, echoes on a WebSocket, and ends."""

import base64
import contextlib
import hashlib
import io
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("upgrade") == "websocket":
            self.echo()
        elif path == "/self":
            self.answer(200, itself())
        elif path == "/run":
            self.answer(200, run(body.decode()))
        elif path == "/end":
            print("the last words", flush=True)
            os._exit(7)
        elif path == "/redirect":
            self.answer(302, b"", location="/after?x=1")
        elif path.startswith(("/absent", "/contexts", "/health")):
            self.answer(404, {"own": "not here"})
        else:
            headers = {"set_cookie": "own=1", "cleanroom_served": "1", "content_type": "application/json"}
            self.answer(200, {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body.decode()}, **headers)

    def echo(self):
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        head = f"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
        self.wfile.write(head.encode())
        self.close_connection = True
        while (first := self.rfile.read(2)) and first[0] & 15 == 1:
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(first[1] & 127)))
            self.wfile.write(bytes([0x81, len(data)]) + data)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = handle_any

    def log_message(self, *_):
        pass


def itself():
    return {
        "pid": os.getpid(),
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": os.getgroups(),
        "cwd": os.getcwd(),
        "argv": sys.argv,
        "environment": dict(os.environ),
        "root": sorted(os.listdir("/")),
    }


def run(code):
    """Runs a probe: what it prints, or how it failed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            exec(code, {"__name__": "probe"})
        except BaseException as error:
            print(f"{type(error).__name__}: {error}")
    return {"said": said.getvalue()}


print("the first words", flush=True)
ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "5000"))), Handler).serve_forever()
