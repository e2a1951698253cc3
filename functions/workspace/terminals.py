"""The terminal routes: terminals that run or ran, and the two ways in which their viewers speak."""

import json
import os
import secrets
import struct
import threading

from call import STREAMED
from commands import ENDED_REMEMBERED
from contract import LIMITS
from dispatch import encode
from environment import trace_variables
from output import dropped_marker, text_decoder
from problem import Problem
from terminal import Terminal, Viewer
from websocket import accept, check

RESIZE = struct.Struct(">II")
STARTUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "terminal.bashrc")
COLOURS = {"COLORTERM": "truecolor"}


def routes(terminals):
    """What answers which operation."""
    return {
        "attachTerminal": lambda call: attach(terminals, call),
        "listTerminals": lambda _call: {"items": [one.show() for one in terminals.list()]},
        "deleteTerminal": lambda call: terminals.find(call.params["terminalId"]).command.ask_to_stop(),
    }


class Terminals:
    """Starts terminals on the commands' own means, so that they are listed, bounded and ended like all that runs."""

    def __init__(self, commands):
        self.commands = commands
        self.lock = threading.Lock()
        self.terminals = {}

    def list(self):
        with self.lock:
            return list(self.terminals.values())

    def find(self, number):
        terminal = self.terminals.get(number)
        if terminal is None:
            raise Problem("process_not_found", detail=f"There is no terminal {number}", terminalId=number)
        return terminal

    def start(self, query, trace):
        self._make_room()
        terminal = Terminal(self.commands.pool, f"tty-{secrets.token_hex(8)}", (query["rows"], query["cols"]))
        command = query.get("command")
        argv = ["/bin/bash", "--rcfile", STARTUP] if command is None else ["/bin/bash", "-c", command]
        spec = {"command": command or "bash", "cwd": query["cwd"], "environment": COLOURS, "background": True, "trace": trace}
        try:
            self.commands.start_terminal(spec, argv, terminal)
        except BaseException:
            terminal.forget()
            if terminal.master is not None and terminal.command is None:
                os.close(terminal.master)
            raise
        terminal.unwatch = self.commands.activity.watch(terminal.in_use)
        with self.lock:
            self.terminals[terminal.id] = terminal
        return terminal

    def _make_room(self):
        """Refuses beyond the most that may run, and forgets the oldest of those that have ended."""
        with self.lock:
            ended = [one for one in self.terminals.values() if one.command.end is not None]
            for one in ended[: max(0, len(ended) - ENDED_REMEMBERED + 1)]:
                del self.terminals[one.id]
            running = len(self.terminals) - len(ended)
        if running >= LIMITS["terminalsPerSandbox"]:
            raise Problem("quota_exceeded", detail=f"A sandbox has at most {running} terminals", next="End one, or come back to one.")


def attach(terminals, call):
    """Looks at a terminal until either is over."""
    check(call)
    query = call.query
    number = query.get("id") or query.get("terminalId")
    terminal = terminals.start(query, trace_variables(call)) if number is None else terminals.find(number)
    speech = JsonSpeech() if query["protocol"] == "json" else TextSpeech()
    with accept(call) as websocket:
        at = min(query["from"], terminal.backlogs["stdout"].end)
        speech.begin(websocket, terminal, at, number is not None)
        Viewer(terminal, websocket, speech, at).run()
    return STREAMED


class JsonSpeech:
    """Messages of JSON, by the names that AgentRun's documentation has."""

    def __init__(self):
        self.decoder = text_decoder()

    def begin(self, websocket, terminal, at, resumed):
        rows, cols = terminal.size
        facts = {"terminalId": terminal.id, "processId": terminal.command.id, "rows": rows, "cols": cols}
        tell(websocket, "connectionEstablished", **facts, offset=at, resumed=resumed)
        tell(websocket, "status", status="running", terminalId=terminal.id)

    def hear(self, websocket, message):
        """What was typed, or a new size."""
        try:
            said = json.loads(message)
            kind = said["type"]
            inner = said["data"] if isinstance(said.get("data"), dict) else said
            if kind == "input":
                return inner["data"].encode()
            if kind == "resize":
                return sized(inner["rows"], inner["cols"])
            if kind == "ping":
                tell(websocket, "pong")
                return b""
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        tell(websocket, "error", message="A message is input{data}, resize{rows,cols} or ping, as JSON")
        return b""

    def output(self, websocket, chunk, offset, dropped):
        if dropped:
            self.decoder.reset()
            marker = dropped_marker(dropped).replace("\n", "\r\n")
            tell(websocket, "output", data=marker, stream="stdout", dropped=dropped, offset=offset - dropped, next=offset)
        text = self.decoder.decode(chunk)
        held = len(self.decoder.getstate()[0])
        tell(websocket, "output", data=text, stream="stdout", offset=offset, next=offset + len(chunk) - held)

    def end(self, websocket, end):
        tell(websocket, "status", status="exited", exitCode=end["exitCode"], reason=end["status"])
        self.close(websocket, "exited")

    def warn(self, websocket, seconds):
        tell(websocket, "timeoutWarning", message="Nothing was heard from you", remainingSeconds=round(seconds))

    def close(self, websocket, reason):
        tell(websocket, "connectionClosing", reason=reason)
        websocket.close()


class TextSpeech:
    """Bytes as they are, both ways; eight of them in one binary message are a size."""

    def begin(self, websocket, terminal, at, resumed):
        pass

    def hear(self, websocket, message):
        if isinstance(message, str):
            return message.encode()
        if len(message) != RESIZE.size:
            return bytes(message)
        try:
            return sized(*RESIZE.unpack(message))
        except ValueError:
            return b""

    def output(self, websocket, chunk, offset, dropped):
        if dropped:
            websocket.offer(dropped_marker(dropped).replace("\n", "\r\n").encode())
        websocket.offer(chunk)

    def end(self, websocket, end):
        websocket.close(reason=f"exited {end['exitCode']}")

    def warn(self, websocket, seconds):
        pass

    def close(self, websocket, reason):
        websocket.close(reason=reason)


def sized(rows, cols):
    """A size that a screen can have; anything else is an error."""
    most = LIMITS["terminalSide"]
    if type(rows) is not int or type(cols) is not int or not (1 <= rows <= most and 1 <= cols <= most):
        raise ValueError("a screen has at least a row and a column, and not very many")
    return rows, cols


def tell(websocket, kind, **facts):
    websocket.offer(encode({"type": kind, **facts}).decode())
