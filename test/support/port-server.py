"""A program that listens inside: it tells what reached it, redirects, sets cookies, and echoes on a WebSocket."""

import base64
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!doctype html><title>inside</title><h1>hello</h1><script src="app.js"></script>"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        if self.headers.get("upgrade") == "websocket":
            return self.echo()
        if self.path.startswith("/redirect"):
            return self.answer(302, location=f"http://localhost:{sys.argv[1]}/after?x=1")
        if self.path == "/elsewhere":
            return self.answer(302, location="https://example.org/")
        if self.path == "/":
            headers = {"content_security_policy": "default-src *", "access_control_allow_credentials": "true"}
            return self.answer(200, PAGE, content_type="text/html", set_cookie="own=1; Path=/", **headers)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body.decode()}
        return self.answer(200, json.dumps(told).encode(), content_type="application/json")

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


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
