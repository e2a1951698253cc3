"""The commands started here: those that run, and for a while those that ended."""

import os
import select
import signal
import threading

from backlog import Backlog, BacklogPool
from command import Command
from contract import LIMITS
from launch import check_launch
from paths import resolve_path
from problem import Problem

ENDED_REMEMBERED = 64


class Kept:
    """A command that goes on by itself, its newest output kept for whoever attaches."""

    def __init__(self, pool):
        self.command = None
        self.backlogs = {"stdout": Backlog(pool), "stderr": Backlog(pool)}
        self.lock = threading.Condition()
        self.changes = 0

    def tap(self, stream, piece):
        with self.lock:
            self.backlogs[stream].append(piece)
        self.tell()

    def piece_from(self, stream, offset):
        """What is kept of a stream from an offset on, one piece at a time: the bytes, their offset, and whether more follow."""
        with self.lock:
            backlog = self.backlogs[stream]
            piece = backlog.piece_from(offset)
            return None if piece is None else (*piece, piece[1] + len(piece[0]) < backlog.end)

    def wait(self, changes, seconds):
        """Waits until there have been more changes than that; False when there were none in that time."""
        with self.lock:
            return self.lock.wait_for(lambda: self.changes != changes, seconds)

    def tell(self):
        """Wakes whoever waits for more."""
        with self.lock:
            self.changes += 1
            self.lock.notify_all()

    def forget(self):
        for backlog in self.backlogs.values():
            backlog.forget()


class Commands:
    """Starts commands, and finds them again by the number of their first process."""

    def __init__(self, home, nursery, keeper, environment, activity, oom_kills):
        self.home, self.nursery, self.keeper = home, nursery, keeper
        self.environment, self.activity, self.oom_kills = environment, activity, oom_kills
        self.pool = BacklogPool()
        self.lock = threading.Lock()
        self.commands = {}

    def list(self):
        with self.lock:
            return [command for command, _ in self.commands.values()]

    def find(self, number):
        """The command of that number, if it was started here."""
        return self.commands.get(number, (None, None))[0]

    def output(self, number):
        """The kept output of a background command."""
        kept = self.commands.get(number, (None, None))[1]
        if kept is None:
            detail = f"No background process {number} was started here"
            raise Problem("process_not_found", detail=detail, processId=number)
        return kept

    def workspace_owns(self, pid):
        """Whether a process is the workspace's own, or what that hangs from: nothing that a caller may list or end."""
        return self.nursery.owns(pid)

    def start(self, asked, tap, kept=None, begin=None):
        """Starts a command whose output goes to `tap` as it comes. `begin` makes its process otherwise than by pipes."""
        spec = {**asked, "cwd": resolve_path(self.home, asked["cwd"])}
        if len(spec["command"].encode("utf-8", "replace")) > LIMITS["commandBytes"]:
            detail = "The command is too long; write it to a file and run that"
            raise Problem("invalid_request", detail=detail, limitBytes=LIMITS["commandBytes"])
        if "\0" in spec["command"]:
            raise Problem("invalid_request", detail="The command holds a NUL")
        variables = self.environment.with_own({**spec.get("trace", {}), **(spec["environment"] or {})})
        check_launch(spec["cwd"], variables)
        has_input = spec["background"] or spec.get("stdin") is not None
        if begin is not None:
            child = begin(spec["cwd"], variables)
        else:
            child = self.nursery.program(["/bin/bash", "-c", spec["command"]], spec["cwd"], variables, has_input)
        command = Command(child, spec, tap, self.oom_kills)
        with self.lock:
            self._forget_oldest()
            self.commands[command.id] = (command, kept)
        return command

    def start_kept(self, spec):
        """Starts a command that goes on without anyone waiting."""
        kept = Kept(self.pool)
        try:
            kept.command = self.start(spec, kept.tap, kept)
        except BaseException:
            kept.forget()
            raise
        Watch(kept, self.keeper, self.activity.begin()).begin()
        return kept.command

    def start_terminal(self, spec, argv, terminal):
        """Starts a program on a terminal of its own; it counts as a use for as long as it says so itself."""

        def begin(cwd, variables):
            slave = terminal.open()
            try:
                child = self.nursery.terminal(argv, cwd, variables, terminal.slave_path)
            finally:
                os.close(slave)
            child.stdout = terminal.master
            return child

        terminal.command = self.start(spec, terminal.tap, terminal, begin)
        terminal.command.farewell = signal.SIGHUP
        terminal.watch = Watch(terminal, self.keeper, terminal.over)
        terminal.watch.begin()

    def close(self):
        """Ends every command."""
        for command in self.list():
            command.kill()

    def _forget_oldest(self):
        ended = [(number, kept) for number, (command, kept) in self.commands.items() if command.end is not None]
        for number, kept in ended[: max(0, len(ended) - ENDED_REMEMBERED + 1)]:
            if kept is not None:
                kept.forget()
            del self.commands[number]


class Watch:
    """The keeper's care for one background command."""

    def __init__(self, kept, keeper, end_use):
        self.kept, self.command, self.keeper, self.end_use = kept, kept.command, keeper, end_use
        self.watched = set()
        # Whether its output is left where it is.
        self.held = False

    def begin(self):
        command, keeper = self.command, self.keeper
        with keeper.lock:
            command.wake, command.let_go = keeper.wake, self._let_go
            if not command.feed():
                self._watch(command.child.stdin, self._feed, select.EPOLLOUT)
            for descriptor in command.readers():
                self._watch(descriptor, self._ready, select.EPOLLIN)
            keeper.keep(self)

    def next_time(self):
        return self.command.next_time()

    def tick(self, now):
        if self.command.tick(now):
            self.kept.tell()

    def hold(self, held):
        """Leaves its output where it is, which holds the program up once there is no more room for it; or lets it go on."""
        if held == self.held:
            return
        with self.keeper.lock:
            self.held = held
            if self.command.end is None:
                self.look()

    def look(self):
        """Watches what the command has to be told of now, and nothing else."""
        readers = self.command.readers(self.held)
        for descriptor in self.watched - readers - {self.command.child.stdin}:
            self._release(descriptor)
        for descriptor in readers - self.watched:
            self._watch(descriptor, self._ready, select.EPOLLIN)

    def _watch(self, descriptor, callback, events):
        self.watched.add(descriptor)
        self.keeper.watch(descriptor, callback, events)

    def _release(self, descriptor):
        self.watched.discard(descriptor)
        self.keeper.release(descriptor)

    def _ready(self, descriptor):
        self.command.ready(descriptor)
        self.look()

    def _feed(self, descriptor):
        if self.command.feed():
            self._release(descriptor)

    def _let_go(self):
        for descriptor in list(self.watched):
            self._release(descriptor)
        self.keeper.leave(self)
        self.end_use()
