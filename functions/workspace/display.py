"""The sandbox's display: an X server that speaks RFB besides, and a window manager, both the user's and started on first use."""

import contextlib
import os
import re
import socket
import threading
import time

from command import aside
from contract import LIMITS
from launch import base_environment
from nursery import readable
from problem import Problem
from tree import kill_tree

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = "/usr/bin/Xtigervnc"
MANAGER = "/usr/bin/openbox"
NUMBERS = (1, 2, 3, 4)
START_SECONDS = 20
LOOK_SECONDS = 0.25
IDLE_SECONDS = 60
BACKLOG = 64
SIZE_VARIABLE = "CLEANROOM_DISPLAY_SIZE"
SIZE = re.compile(r"(\d{3,4})x(\d{3,4})", re.ASCII)
DEFAULT_SIZE = (1280, 800)
# What the window manager runs once it is one: windows that come before are given no focus.
MANAGING = "echo managing"
READ_BYTES = 64 * 1024
# The window manager is a client of the display that uses it for nobody.
OWN_CLIENTS = 1
CONNECTED = "03"
# Whoever comes may look, since all who can reach the socket may; all share it, and nobody's view resizes another's.
FLAGS = (
    "-inetd", "-SecurityTypes", "None", "-AlwaysShared", "-AcceptSetDesktopSize=0", "-BlacklistThreshold", "1000000",
    "-depth", "24", "-dpi", "96", "-nolock", "-noreset", "-nolisten", "tcp", "-br", "-desktop", "Cleanroom",
    "-FrameRate", "30", "-MaxCutText", str(LIMITS["clipboardBytes"]), "-displayfd", "1",
)  # fmt: skip


def routes(display):
    def start(call):
        width, height = display.size()
        display.resize(call.body.get("width", width), call.body.get("height", height))
        display.start()
        return display.show()

    return {"getDisplay": lambda _call: display.show(), "startDisplay": start}


class Display:
    """
    Starts a screen when it is wanted, once for all who want it, and ends it when for a minute nobody has. `environment`
    tells its size, as `1280x800` in CLEANROOM_DISPLAY_SIZE.
    """

    def __init__(self, nursery, keeper, environment):
        self.nursery, self.keeper, self.environment = nursery, keeper, environment
        # Guards the starting, which takes a moment; the counts have a lock of their own.
        self.lock = threading.Lock()
        self.count = threading.Lock()
        self.screen = None
        self.wanted = None
        self.holders = 0
        self.idle_at = None

    def start(self):
        """Has the display there, and answers its name, such as `:1`. Whoever needs it for longer than a moment holds it."""
        with self.hold() as screen:
            screen.managed.wait(START_SECONDS)
            return screen.name

    @contextlib.contextmanager
    def hold(self):
        """The display, there at least as long as this block. Its window manager may still be on its way."""
        release = self.keep()
        try:
            yield self.screen_now()
        finally:
            release()

    def keep(self):
        """Begins a use that outlasts its block; what it answers ends it, and ending twice is one end."""
        with self.count:
            self.holders += 1
        open_uses = [None]

        def release():
            with self.count:
                if open_uses:
                    open_uses.pop()
                    self.holders -= 1
                    self.idle_at = time.monotonic() + IDLE_SECONDS
            self.keeper.wake()

        return release

    def screen_now(self):
        """The screen that there is, or a new one. The caller has a use of it."""
        with self.lock:
            if self.screen is None or self.screen.ended:
                self.screen = self._make()
                self.keeper.keep(self)
            return self.screen

    def size(self):
        """The size of the screen that there is, or of the next."""
        screen = self.screen
        if screen is not None and not screen.ended:
            return screen.size
        return self.wanted or size_of(self.environment.with_own().get(SIZE_VARIABLE, ""))

    def resize(self, width, height):
        """Has the next screen be of that size, and ends the one that is there for it, unless somebody uses that."""
        with self.lock:
            screen = self.screen
            if screen is None or screen.ended or screen.size == (width, height):
                self.wanted = (width, height)
                return
            if self.holders > 0 or screen.clients() > OWN_CLIENTS:
                raise Problem("conflict", detail="The display is in use; its size stays", width=screen.size[0], height=screen.size[1])
            self.wanted, self.screen = (width, height), None
        screen.end()

    def show(self):
        """What is told of it."""
        screen, (width, height) = self.screen, self.size()
        if screen is None or screen.ended:
            return {"running": False, "width": width, "height": height}
        return {"running": True, "name": screen.name, "width": width, "height": height}

    def _make(self):
        size = self.size()
        for number in NUMBERS:
            screen = Screen(number, size, self.nursery, self.keeper)
            if screen.begin():
                return screen
        raise Problem("display_unavailable", detail=f"No display came up in {START_SECONDS} seconds, or each number is taken")

    def stop(self):
        """Ends the display, whoever uses it; the next use starts another."""
        with self.lock:
            screen, self.screen = self.screen, None
        if screen is not None:
            screen.end()

    def next_time(self):
        return self.idle_at if self.holders == 0 else None

    def tick(self, now):
        """Ends a display that nobody has used for a while, be it through us or as a program that has windows on it."""
        if self.holders > 0 or self.idle_at is None or now < self.idle_at:
            return
        self.idle_at = now + IDLE_SECONDS
        # Whoever starts it just now is not to be waited for on this thread.
        if not self.lock.acquire(blocking=False):
            return
        try:
            screen = self.screen
            if screen is None or self.holders > 0 or (not screen.ended and screen.clients() > OWN_CLIENTS):
                return
            self.screen = self.idle_at = None
        finally:
            self.lock.release()
        self.keeper.leave(self)
        aside(screen.end)


class Screen:
    """
    One run of the display. Its RFB socket has no path that code could put another in the place of: the name is abstract,
    drawn by the kernel, and ours for as long as the listener stays open here.
    """

    def __init__(self, number, size, nursery, keeper):
        self.number, self.size = number, size
        self.name = f":{number}"
        self.nursery, self.keeper = nursery, keeper
        self.lock = threading.Lock()
        self.children = []
        self.listener = None
        self.managed = threading.Event()
        self.ended = False

    def begin(self):
        """Starts it; False when its number is somebody else's or nothing came of it."""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")
        self.listener.listen(BACKLOG)
        width, height = self.size
        try:
            server = self._start([SERVER, self.name, *FLAGS, "-geometry", f"{width}x{height}"], self.listener)
            if not comes_up(server):
                self.end()
                return False
            manager = self._start([MANAGER, "--sm-disable", "--config-file", f"{HERE}/desktop/openbox.xml", "--startup", MANAGING])
            for descriptor in (manager.stdout, manager.stderr):
                self.keeper.watch(descriptor, self._hear_manager)
        except BaseException:
            self.end()
            raise
        return True

    def connect(self):
        """A connection that speaks RFB with the display."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self.listener.getsockname())
        except OSError as error:
            connection.close()
            raise Problem("display_unavailable", detail="The display has just ended") from error
        return connection

    def clients(self):
        """How many programs are connected with it."""
        wanted = f"/tmp/.X11-unix/X{self.number}"
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
            rows = [line.split() for line in table]
        return sum(1 for row in rows if len(row) == 8 and row[5] == CONNECTED and row[7].lstrip("@") == wanted)

    def end(self):
        """Ends it; ending twice is one end."""
        with self.lock:
            self.ended = True
            children, self.children = self.children, []
            if self.listener is not None:
                self.listener.close()
        self.managed.set()
        for child in children:
            for descriptor in (child.life, child.stdout, child.stderr):
                self.keeper.release(descriptor)
            kill_tree(child.pid if child.alive else None, child.tree)
            child.close()

    def _start(self, argv, stdin=False):
        variables = {**base_environment(), "DISPLAY": self.name}
        child = self.nursery.program(argv, "/tmp", variables, input=stdin)
        with self.lock:
            self.children.append(child)
        if child.life is not None and child.alive:
            self.keeper.watch(child.life, lambda descriptor: self._heard(child, descriptor))
        return child

    def _hear_manager(self, descriptor):
        """Its first word is that it manages; what it and what it starts say after that is for nobody, but would fill a pipe."""
        said = os.read(descriptor, READ_BYTES)
        if not said:
            self.keeper.release(descriptor)
        if not said or b"managing" in said:
            self.managed.set()

    def _heard(self, child, descriptor):
        """Notes the end of one of its programs; that of the server is the end of all."""
        gone = child.hear()
        if gone or child.life != descriptor:
            self.keeper.release(descriptor)
        if gone and self.children[:1] == [child]:
            self.ended = True
            aside(self.end)
        elif not gone and child.life != descriptor:
            self.keeper.watch(child.life, lambda other: self._heard(child, other))


def comes_up(server):
    """Waits until a server says its number."""
    until = time.monotonic() + START_SECONDS
    while server.alive and time.monotonic() < until:
        if readable(server.stdout, LOOK_SECONDS * 1000):
            return os.read(server.stdout, 16).strip().isdigit()
    return False


def size_of(text):
    """The size that is asked for within what a display can have; the usual one where none, or nonsense, is."""
    found = SIZE.fullmatch(text)
    if not found:
        return DEFAULT_SIZE
    width = min(max(int(found[1]), LIMITS["displayWidthMin"]), LIMITS["displayWidthMax"])
    return width, min(max(int(found[2]), LIMITS["displayHeightMin"]), LIMITS["displayHeightMax"])
