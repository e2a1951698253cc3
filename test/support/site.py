"""A shop's back office of several pages, for browsers to be driven through: served inside a sandbox, on its loopback."""

import html
import http.server
import re
import sys
import urllib.parse

ORDERS = [(number, ("paid", "open", "sent")[number % 3], number * 7) for number in range(1, 31)]
PAGE = 5
LOGIN = '<form method=post><input name=user><input name=password type=password><button>Log in</button></form>'
FORM = '<form method=post enctype=multipart/form-data><input type=file name=file><button>Send</button></form>'
DESK = """<button id=ask onclick="answer.textContent = confirm('Delete it?') ? 'deleted' : 'kept'">Delete</button><p id=answer></p>
<button id=open onclick="window.open('/popup')">Open</button><iframe name=inner src=/inner></iframe>
<a id=csv href=/orders.csv>CSV</a>"""
WORKER = "self.addEventListener('fetch', (event) => { if (event.request.url.endsWith('/by-worker')) event.respondWith(new Response('worked')) })"
PAY = """<form><input name=cardnumber autocomplete=cc-number><input name=note><button type=button>Pay</button></form>"""
FAULTS = """<script>console.error('The till is empty', 3); fetch('/missing'); setTimeout(() => { throw new Error('Broken on purpose') })</script>"""
HANDS = """<script>navigator.serviceWorker.register('/worker.js').then(() => navigator.serviceWorker.ready)
.then(() => { document.title = 'worker ready' })</script>"""


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        known = "session=clerk" in (self.headers.get("cookie") or "")
        if url.path == "/login":
            self.page("Log in", LOGIN)
        elif url.path == "/worker.js":
            self.answer(200, "text/javascript", WORKER)
        elif not known:
            self.answer(303, "text/plain", "", location="/login")
        elif url.path == "/orders":
            self.page("Orders", table(asked.get("state", ""), int(asked.get("page", "1"))))
        elif url.path == "/orders.csv":
            lines = ["number,state,total", *(f"{number},{state},{total}" for number, state, total in ORDERS)]
            self.answer(200, "text/csv", "\n".join(lines) + "\n", content_disposition='attachment; filename="orders.csv"')
        elif url.path == "/upload":
            self.page("Upload", FORM)
        elif url.path == "/desk":
            self.page("Desk", DESK)
        elif url.path == "/inner":
            self.page("Inner", '<input id=note><p id=seen></p><script>note.oninput = () => { seen.textContent = note.value }</script>')
        elif url.path == "/popup":
            self.page("Popped up", "")
        elif url.path == "/pay":
            self.page("Pay", PAY)
        elif url.path == "/faults":
            self.page("Faults", FAULTS)
        elif url.path == "/hands":
            self.page("Hands", HANDS)
        else:
            self.answer(404, "text/plain", "nothing here")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/login":
            right = urllib.parse.parse_qs(body.decode()).get("password") == ["secret"]
            if right:
                self.answer(303, "text/plain", "", location="/orders", set_cookie="session=clerk; Path=/")
            else:
                self.page("Log in", f"<p id=wrong>Wrong</p>{LOGIN}")
            return
        found = re.search(rb'filename="([^"]*)"\r\n[^\n]*\r\n\r\n(.*?)\r\n--', body, re.DOTALL)
        name, content = (found[1].decode(), found[2]) if found else ("", b"")
        self.page("Received", f"<p id=got>{html.escape(name)} {len(content)}</p>")

    def page(self, title, body):
        self.answer(200, "text/html; charset=utf-8", f"<!doctype html><title>{title}</title><h1>{title}</h1>{body}")

    def answer(self, status, kind, text, **headers):
        data = text.encode()
        self.send_response(status)
        for name, value in {"content_type": kind, "content_length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def table(state, page):
    chosen = [order for order in ORDERS if state in ("", order[1])]
    shown = chosen[(page - 1) * PAGE : page * PAGE]
    rows = "".join(f"<tr class=order><td>{number}<td>{kind}<td>{total}" for number, kind, total in shown)
    more = f'<a id=next href="/orders?state={state}&page={page + 1}">Next</a>' if len(chosen) > page * PAGE else ""
    choice = "".join(f"<option>{kind}" for kind in ("", "open", "paid", "sent"))
    return f"<form><select name=state onchange='this.form.submit()'>{choice}</select></form><table>{rows}</table>{more}"


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Site).serve_forever()
