"""The sandbox's display: a screen that starts when it is first wanted, or is there from the start where it is a desktop's."""

import contextlib
import re
import threading
import time

from command import aside
from contract import LIMITS
from log import log_failure
from problem import Problem
from screen import START_SECONDS, Screen

DESKTOP = "Desktop"
NUMBERS = (1, 2, 3, 4)
IDLE_SECONDS = 60
SIZE_VARIABLE = "CLEANROOM_DISPLAY_SIZE"
SIZE = re.compile(r"(\d{3,4})x(\d{3,4})", re.ASCII)
DEFAULT_SIZE = (1280, 800)
# The window manager is a client of the display that uses it for nobody, and so is a desktop's panel.
OWN_CLIENTS, DESKTOP_CLIENTS = 1, 2


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
    tells its size, as `1280x800` in CLEANROOM_DISPLAY_SIZE. Where it `is_desktop` it is there from the start and stays,
    with a panel and a menu.
    """

    def __init__(self, nursery, keeper, environment, is_desktop=False):
        self.nursery, self.keeper, self.environment = nursery, keeper, environment
        self.is_desktop = is_desktop
        self.own_clients = DESKTOP_CLIENTS if is_desktop else OWN_CLIENTS
        self.prestarted = threading.Event()
        # Guards the starting, which takes a moment; the counts have a lock of their own.
        self.lock = threading.Lock()
        self.count = threading.Lock()
        self.screen = None
        self.wanted = None
        self.holders = 0
        self.idle_at = None

    def prestart(self):
        """Has a desktop there before anybody asks; any other display waits for its first use."""
        if not self.is_desktop:
            self.prestarted.set()
            return

        def work():
            try:
                self.start()
            except Problem as error:
                log_failure("display", error)
            finally:
                self.prestarted.set()

        aside(work)

    def fit(self):
        """Has a desktop that was there before its sandbox begin anew with the sandbox's variables, unless somebody uses it."""
        if not self.is_desktop:
            return
        with self.lock:
            screen = self.screen
            if screen is None or screen.variables == self.environment.with_own() or self._in_use(screen):
                return
            self.wanted = self.screen = None
        screen.end()
        self.prestart()

    def start(self):
        """Has the display there, and answers its name, such as `:1`. Whoever needs it for longer than a moment holds it."""
        with self.hold() as screen:
            return screen.name

    @contextlib.contextmanager
    def hold(self):
        """
        The display, there at least as long as this block, and its window manager with it: a window that comes while that
        begins may never be shown, and who has been told that there is a display may start a program.
        """
        release = self.keep()
        try:
            screen = self.screen_now()
            screen.managed.wait(START_SECONDS)
            yield screen
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
            if self._in_use(screen):
                raise Problem("conflict", detail="The display is in use; its size stays", width=screen.size[0], height=screen.size[1])
            self.wanted, self.screen = (width, height), None
        screen.end()

    def _in_use(self, screen):
        return self.holders > 0 or (not screen.ended and screen.clients() > self.own_clients)

    def show(self):
        """What is told of it."""
        screen, (width, height) = self.screen, self.size()
        if screen is None or screen.ended:
            return {"running": False, "width": width, "height": height}
        return {"running": True, "name": screen.name, "width": width, "height": height}

    def _make(self):
        size = self.size()
        for number in NUMBERS:
            own = self.environment.with_own() if self.is_desktop else None
            screen = Screen(number, size, self.nursery, self.keeper, own)
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
        return self.idle_at if self.holders == 0 and not self.is_desktop else None

    def tick(self, now):
        """Ends a display that nobody has used for a while, be it through us or as a program that has windows on it."""
        if self.is_desktop or self.holders > 0 or self.idle_at is None or now < self.idle_at:
            return
        self.idle_at = now + IDLE_SECONDS
        # Whoever starts it just now is not to be waited for on this thread.
        if not self.lock.acquire(blocking=False):
            return
        try:
            screen = self.screen
            if screen is None or self._in_use(screen):
                return
            self.screen = self.idle_at = None
        finally:
            self.lock.release()
        self.keeper.leave(self)
        aside(screen.end)


def size_of(text):
    """The size that is asked for within what a display can have; the usual one where none, or nonsense, is."""
    found = SIZE.fullmatch(text)
    if not found:
        return DEFAULT_SIZE
    width = min(max(int(found[1]), LIMITS["displayWidthMin"]), LIMITS["displayWidthMax"])
    return width, min(max(int(found[2]), LIMITS["displayHeightMin"]), LIMITS["displayHeightMax"])
