"""The process routes: commands, and whatever else runs in the sandbox."""

import os
import signal
import time

from call import STREAMED, HUNG_UP
from command import attend
from contract import LIMITS
from environment import trace_variables
from events import EVENT_HEADERS, EventWriter, wants_events
from launch import TREE_VARIABLE
from moments import iso_moment
from output import Head, Window, dropped_marker
from problem import Problem
from proc import command_line, environment_of, folder_of, read_process, read_processes
from tree import kill_tree, signal_tree, tree_members

STREAMS = ("stdout", "stderr")
LOOK_SECONDS = 0.01


def routes(commands):
    """What answers which operation."""
    return {
        "runCommand": lambda call: run_command(commands, call),
        "listProcesses": lambda _call: list_all(commands),
        "getProcess": lambda call: detail(commands, call.params["processId"]),
        "killProcess": lambda call: end_process(commands, call.params["processId"]),
        "signalProcess": lambda call: send_signal(commands, call.params["processId"], call.body["signal"]),
        "writeStdin": lambda call: write_stdin(commands, call),
        "readOutput": lambda call: read_output(commands, call),
    }


def run_command(commands, call):
    spec = {**call.body, "trace": trace_variables(call)}
    if spec["background"]:
        command = commands.start_kept(spec)
        return {"executionId": command.child.tree, "processId": command.id, "status": "running", "executionTimeMs": 0}
    return streamed(commands, spec, call) if wants_events(call) else answered(commands, spec, call)


def answered(commands, spec, call):
    """Runs to the end and answers once. A caller who hangs up ends the command."""
    heads = {stream: Head(LIMITS["outputBytes"]) for stream in STREAMS}
    command = commands.start(spec, lambda stream, piece: heads[stream].add(piece))
    end = attend(command, call)
    spent = end["executionTimeMs"]
    result = {
        "exitCode": end["exitCode"],
        **{stream: heads[stream].text() for stream in STREAMS},
        "cwd": spec["cwd"],
        "executionTimeMs": spent,
        "dropped": {stream: heads[stream].dropped for stream in STREAMS},
    }
    return {
        "executionId": command.child.tree,
        "processId": command.id,
        "status": end["status"],
        "result": result,
        "executionTimeMs": spent,
    }


class SentCommand(EventWriter):
    """A command's output on its way to a client, up to a bound."""

    def __init__(self, writer):
        super().__init__(writer)
        self.windows = {stream: Window(LIMITS["streamBytes"]) for stream in STREAMS}
        self.offsets = dict.fromkeys(STREAMS, 0)

    def take(self, stream, piece):
        offset = self.offsets[stream]
        self.offsets[stream] += len(piece)
        text = self.windows[stream].take(piece)
        if text:
            self.offer({"type": stream, "text": text, "offset": offset})

    def close(self):
        """From here on what comes is counted as dropped."""
        for window in self.windows.values():
            window.close()


def streamed(commands, spec, call):
    taken = []
    # What comes before the first event has been sent waits in the pipes: nothing is read until somebody attends.
    command = commands.start(spec, lambda *piece: taken[0].take(*piece))
    sent = SentCommand(call.stream(200, EVENT_HEADERS))
    taken.append(sent)
    sent.offer({"type": "start", "processId": command.id})
    end = attend(command, call, sent)
    for stream in STREAMS:
        text = sent.windows[stream].end()
        if text:
            sent.send({"type": stream, "text": text, "offset": sent.offsets[stream]})
    sent.send({"type": "end", **end, "dropped": {stream: sent.windows[stream].dropped for stream in STREAMS}})
    return STREAMED


def read_output(commands, call):
    """Sends what is kept and what comes, until the process has ended or the reader has gone."""
    kept = commands.output(call.params["processId"])
    events = EventWriter(call.stream(200, EVENT_HEADERS))
    at = {stream: call.query[f"{stream}From"] for stream in STREAMS}
    while True:
        changes, end = kept.changes, kept.command.end
        for stream in STREAMS:
            at[stream] = send_pieces(kept, stream, at[stream], events)
        if end is not None:
            events.send({"type": "end", **end, "dropped": dict.fromkeys(STREAMS, 0)})
            return STREAMED
        if not call.query["follow"]:
            return STREAMED
        while not kept.wait(changes, LIMITS["interruptGraceMs"] / 1000):
            events.ping(time.monotonic())
            if call.gone():
                return STREAMED


def send_pieces(kept, stream, at, events):
    """Sends what is kept from there on; a reader who fell behind is told what it missed. Answers how far it came."""
    while (piece := kept.piece_from(stream, at)) is not None:
        chunk, offset, more = piece
        if offset > at:
            events.send({"type": stream, "text": dropped_marker(offset - at), "offset": at})
        whole = chunk[: whole_characters(chunk, more)]
        events.send({"type": stream, "text": whole.decode("utf-8", "replace"), "offset": offset})
        at = offset + len(whole)
    return at


def whole_characters(chunk, more):
    """How much of a piece ends with a whole character; all of it where nothing follows or no boundary is near."""
    if not more:
        return len(chunk)
    for back in range(1, min(3, len(chunk) - 1) + 1):
        byte = chunk[-back]
        if byte < 0x80:
            return len(chunk)
        if byte >= 0xC0:
            return len(chunk) - back
    return len(chunk)


def write_stdin(commands, call):
    command = commands.find(call.params["processId"])
    if command is None:
        raise not_found(call.params["processId"])
    while piece := call.read():
        command.write(piece)
    command.check_input()
    if call.query["close"]:
        command.close_input()


def list_all(commands):
    """What the user runs; the workspace's own processes are not the caller's business."""
    living = [shown(one, commands.find(str(one.pid))) for one in read_processes() if not commands.workspace_owns(one.pid)]
    ended = [command.show() for command in commands.list() if command.end]
    numbers = {one["processId"] for one in ended}
    items = [one for one in living if one["processId"] not in numbers] + ended
    return {"items": items[: LIMITS["processesListed"]], "total": len(items)}


def shown(process, command):
    if command is not None and not command.end:
        return command.show()
    return {
        "processId": str(process.pid),
        "status": process.state,
        "command": command_line(process),
        "createdAt": iso_moment(int(process.started_at_ms * 1_000_000)),
    }


def detail(commands, number):
    command = commands.find(number)
    process = None if command is not None and command.end else read_process(pid_of(number))
    if process is None:
        if command is None:
            raise not_found(number)
        return {
            **command.show(),
            "working_dir": command.spec["cwd"],
            "environment": command.spec["environment"],
            "resourceUsage": {"cpuPercent": 0, "memoryMb": 0},
        }
    environment = environment_of(process.pid)
    environment.pop(TREE_VARIABLE, None)
    life_ms = max(1, time.time() * 1000 - process.started_at_ms)
    usage = {
        "cpuPercent": round(process.cpu_ms / life_ms * 100, 2),
        "memoryMb": round(process.memory_bytes / 1024 / 1024, 2),
    }
    return {**shown(process, command), "working_dir": folder_of(process.pid), "environment": environment, "resourceUsage": usage}


def end_process(commands, number):
    command = commands.find(number)
    if command is not None:
        already = command.end is not None
        command.ask_to_stop()
        return ended_answer(number, "It had ended already" if already else "It was ended")
    pid = ownable(commands, number)
    signal_tree(signal.SIGTERM, pid)
    until = time.monotonic() + LIMITS["interruptGraceMs"] / 1000
    while time.monotonic() < until and tree_members(pid):
        time.sleep(LOOK_SECONDS)
    kill_tree(pid)
    return ended_answer(number, "It was ended")


def ended_answer(number, message):
    return {"pid": number, "stopped": True, "stopped_at": iso_moment(time.time_ns()), "message": message}


def send_signal(commands, number, name):
    command = commands.find(number)
    if command is not None and command.pid is None:
        raise not_found(number)
    pid = ownable(commands, number)
    try:
        # A command is the whole of its process group, as a terminal's job is.
        os.kill(-pid if command is not None else pid, getattr(signal, name))
    except PermissionError as error:
        raise not_yours(number) from error
    except OSError as error:
        raise not_found(number) from error


def ownable(commands, number):
    """A living process that a caller may end: not the workspace, nor what it hangs from."""
    pid = pid_of(number)
    if read_process(pid) is None:
        raise not_found(number)
    if commands.workspace_owns(pid):
        raise not_yours(number)
    try:
        os.kill(pid, 0)
    except PermissionError as error:
        raise not_yours(number) from error
    except OSError as error:
        raise not_found(number) from error
    return pid


def pid_of(number):
    if not (number.isascii() and number.isdigit() and len(number) <= 10 and number[0] != "0"):
        raise not_found(number)
    return int(number)


def not_found(number):
    return Problem("process_not_found", detail=f"process with PID {number} not found", processId=number)


def not_yours(number):
    return Problem("forbidden", detail=f"The process {number} belongs to the sandbox itself", processId=number)
