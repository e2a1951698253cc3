"""
The workspace beside an image's own program: it starts that program, keeps what it writes, and passes to its port
whatever clients ask. What only the platform asks it answers itself.
"""

import contextlib
import json
import os
import re
import threading
import time

from backlog import Backlog, BacklogPool
from contract import CLIENT_HEADER, LIMITS, OPERATIONS
from moments import iso_moment
from problem import Problem
from relay import is_open, relay
from routes import Route, Routes

PIECE_BYTES = 64 * 1024
LOOK_SECONDS = 0.02
ORDER_SECONDS = 30
FAILED_BYTES = 64 * 1024
TOLD_BYTES = 4096
SHOWN_CHARS = 300
STREAMS = ("stdout", "stderr")
STATUS = re.compile(rb"status (-?\d{1,5})\n")
# What a client asks of every sandbox's workspace, and whose absence in a program deserves a clear word.
FAMILIAR = ("contexts", "files", "filesystem", "processes")


class Program:
    """An image's program, from before it begins to after its end."""

    def __init__(self, begun, nursery, keeper):
        self.begun, self.keeper, self.settings = begun, keeper, begun.settings
        self.port = self.settings["port"]
        pool = BacklogPool()
        self.backlogs = {stream: Backlog(pool) for stream in STREAMS}
        self.lock = threading.Lock()
        self.starting = threading.Lock()
        self.state, self.started_at_ns, self.exit_code = "waiting", None, None
        self.life_said = b""
        self.open = set(STREAMS)
        self.life = nursery.adopt(begun.pid)
        keeper.watch(self.life, self._hear)
        for stream in STREAMS:
            keeper.watch(getattr(begun, stream), lambda descriptor, stream=stream: self._take(stream, descriptor))

    def start(self, variables):
        """Has it begin and waits until its port is open; starting twice is one start."""
        with self.starting:
            if self.started_at_ns is None:
                self._give_order(variables)
            until = time.monotonic() + LIMITS["programReadyMs"] / 1000
            while not is_open(self.port):
                if self.state == "ended":
                    raise self.failure("ended before it served anybody")
                if time.monotonic() > until:
                    seconds = LIMITS["programReadyMs"] // 1000
                    raise self.failure(f"has not opened the port {self.port} within {seconds} s")
                time.sleep(LOOK_SECONDS)
            if self.state == "starting":
                self.state = "running"

    def _give_order(self, variables):
        settings = self.settings
        argv = settings["override"] or settings["entrypoint"] + settings["command"]
        if not argv:
            raise self.failure("cannot begin: neither the image nor the template says a command")
        own = dict(pair.split("=", 1) for pair in settings["environment"] if "=" in pair)
        order = {"argv": argv, "environment": {**own, **variables}}
        self.started_at_ns = time.time_ns()
        if self.state == "waiting":
            self.state = "starting"
        orders = self.begun.orders
        orders.settimeout(ORDER_SECONDS)
        said = b""
        # One that could not even wait has said so before it was asked, and takes no order.
        with orders, contextlib.suppress(OSError):
            with contextlib.suppress(BrokenPipeError):
                orders.sendall(json.dumps(order).encode() + b"\n")
            while len(said) < FAILED_BYTES and (piece := orders.recv(TOLD_BYTES)):
                said += piece
        if said:
            raise self.failure(f"cannot begin: {reason_in(said)}")

    def _take(self, stream, descriptor):
        try:
            piece = os.read(descriptor, PIECE_BYTES)
        except BlockingIOError:
            return
        if piece:
            with self.lock:
                self.backlogs[stream].append(piece)
            return
        self.keeper.release(descriptor)
        os.close(descriptor)
        self.open.discard(stream)
        self._settle()

    def _hear(self, descriptor):
        piece = os.read(descriptor, TOLD_BYTES)
        self.life_said = (self.life_said + piece)[-TOLD_BYTES:]
        found = STATUS.search(self.life_said)
        if not found and piece:
            return
        code = int(found[1]) if found else -9
        self.exit_code = code if code >= 0 else 128 - code
        self.keeper.release(descriptor)
        os.close(descriptor)
        self._settle()

    def _settle(self):
        """It has ended once its last words are here: all that could write them went with it."""
        if self.exit_code is not None and not self.open:
            self.state = "ended"

    def failure(self, what):
        """The Problem of a program that does not serve, with its last words."""
        ended = {} if self.exit_code is None else {"exitCode": self.exit_code}
        code = f", with exit code {self.exit_code}" if ended and what.startswith("ended") else ""
        words = self.last_words()
        # Clients that show no more than a sentence show why.
        said = f": {words.strip()[-SHOWN_CHARS:]}" if words.strip() else ""
        detail = f"The image's program {what}{code}{said}"
        return Problem("program_failed", detail=detail, port=self.port, state=self.state, **ended, output=words)

    def last_words(self):
        """The end of what it wrote, both streams after each other."""
        with self.lock:
            texts = [tail_of(self.backlogs[stream], LIMITS["programWordsBytes"]) for stream in STREAMS]
        return "".join(text for text, _ in texts)

    def show(self):
        """What is known of it, with as much of its output as is kept."""
        with self.lock:
            kept = {stream: tail_of(self.backlogs[stream], LIMITS["programOutputBytes"]) for stream in STREAMS}
        return {
            "state": self.state,
            "port": self.port,
            **({} if self.started_at_ns is None else {"startedAt": iso_moment(self.started_at_ns)}),
            **({} if self.exit_code is None else {"exitCode": self.exit_code}),
            **{stream: text for stream, (text, _) in kept.items()},
            "dropped": {stream: dropped for stream, (_, dropped) in kept.items()},
        }

    def ask(self, call, absent=None):
        """Passes a request to the program's port; `absent` is what to say where the program has no such path."""
        if self.state == "ended":
            raise self.failure("ended")
        target = f"{call.path}?{call.raw_query}" if call.raw_query else call.path
        return relay(call, self.port, target, absent)


def reason_in(said):
    try:
        return str(json.loads(said)["failed"])[:1000]
    except (ValueError, KeyError, TypeError):
        return "it did not say why"


def tail_of(backlog, most):
    """The newest text of a stream, and how many bytes came before it."""
    start = max(backlog.start, backlog.end - most)
    pieces, at = [], start
    while (piece := backlog.piece_from(at)) is not None:
        pieces.append(piece[0])
        at = piece[1] + len(piece[0])
    return b"".join(pieces).decode("utf-8", "replace"), start


class ProgramRoutes:
    """What a client asks goes to the program, but for its ports; what the platform asks is answered here."""

    def __init__(self, program, own, ports):
        self.program = program
        self.own = Routes({**own, **program_routes(program)})
        self.ports = Routes(ports)
        self.familiar = [Route(name, None) for name in OPERATIONS if OPERATIONS[name]["path"].split("/")[1] in FAMILIAR]
        self.health = own["checkHealth"]

    def of(self, call):
        if call.headers.get(CLIENT_HEADER) != "1":
            try:
                return self.own.find(call.method, call.path)
            except Problem as problem:
                detail = "In a sandbox of an image its program is all that runs: there are no files, contexts or commands of ours"
                raise self.not_supported(detail) from problem
        try:
            return self.ports.find(call.method, call.path)
        except Problem:
            return Asked(self.answer), {}

    def answer(self, call):
        segments = [segment for segment in call.path.split("/") if segment]
        if call.method == "GET" and segments == ["health"]:
            return self.program.ask(call, absent=lambda: self.health(call))
        for route in self.familiar:
            if route.method == call.method and route.match(segments) is not None:
                return self.program.ask(call, absent=self.refuse)
        return self.program.ask(call)

    def refuse(self):
        raise self.not_supported()

    def not_supported(self, detail="A sandbox of an image answers what the image's program answers, and that has no such path"):
        return Problem(
            "not_supported",
            detail=detail,
            next="Make a sandbox of another template for contexts, files and commands, or serve this path from the image.",
        )


class Asked:
    """The route of all that is not ours: any method and any path, its body as it comes."""

    def __init__(self, handler):
        self.name, self.handler = "askProgram", handler
        self.operation = {"status": 200, "streams": {"request": "*/*", "response": "*/*"}}


def program_routes(program):
    return {
        "startProgram": lambda call: program.start(call.body["variables"]),
        "inspectProgram": lambda _call: program.show(),
    }
