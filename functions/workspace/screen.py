"""One run of the display: an X server that speaks RFB besides, and a window manager, both the user's."""

import os
import socket
import threading
import time

from command import aside
from contract import LIMITS
from desktop.root import paint_root
from launch import base_environment
from nursery import readable
from problem import Problem
from tree import kill_tree

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = "/usr/bin/Xtigervnc"
MANAGER = "/usr/bin/openbox"
START_SECONDS = 20
LOOK_SECONDS = 0.25
BACKLOG = 64
# What the window manager runs once it is one: windows that come before are given no focus.
MANAGING = "echo managing"
SESSION = f"/bin/sh {HERE}/desktop/session.sh"
# What a desktop has behind its windows.
SLATE = 0x28323E
DESKTOP_VARIABLES = {
    "XENVIRONMENT": f"{HERE}/desktop/Xresources",
    "GTK2_RC_FILES": f"{HERE}/desktop/gtkrc",
    # Nothing here speaks by a bus, and who looks for one waits.
    "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    "NO_AT_BRIDGE": "1",
}
READ_BYTES = 64 * 1024
CONNECTED = "03"
# Whoever comes may look, since all who can reach the socket may; all share it, and nobody's view resizes another's.
FLAGS = (
    "-inetd", "-SecurityTypes", "None", "-AlwaysShared", "-AcceptSetDesktopSize=0", "-BlacklistThreshold", "1000000",
    "-depth", "24", "-dpi", "96", "-nolock", "-noreset", "-nolisten", "tcp", "-br", "-desktop", "Cleanroom",
    "-FrameRate", "30", "-MaxCutText", str(LIMITS["clipboardBytes"]), "-displayfd", "1",
)  # fmt: skip


class Screen:
    """
    One run of the display. Its RFB socket has no path that code could put another in the place of: the name is abstract,
    drawn by the kernel, and ours for as long as the listener stays open here.
    """

    def __init__(self, number, size, nursery, keeper, variables):
        self.number, self.size = number, size
        # Those of the sandbox, with which a desktop's programs start; None where there is no desktop.
        self.variables = variables
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
            manager = self._start_manager()
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

    def _start_manager(self):
        """The window manager; from a desktop's all else is started that a person sees."""
        if self.variables is None:
            return self._start([*managed_by("openbox.xml"), MANAGING])
        paint_root(self.number, SLATE)
        return self._start([*managed_by("desktop.xml"), SESSION], variables={**DESKTOP_VARIABLES, **self.variables})

    def _start(self, argv, stdin=False, variables=None):
        everything = {**base_environment(), **(variables or {}), "DISPLAY": self.name}
        child = self.nursery.program(argv, "/tmp", everything, input=stdin)
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


def managed_by(settings):
    return [MANAGER, "--sm-disable", "--config-file", f"{HERE}/desktop/{settings}", "--startup"]


def comes_up(server):
    """Waits until a server says its number."""
    until = time.monotonic() + START_SECONDS
    while server.alive and time.monotonic() < until:
        if readable(server.stdout, LOOK_SECONDS * 1000):
            return os.read(server.stdout, 16).strip().isdigit()
    return False
