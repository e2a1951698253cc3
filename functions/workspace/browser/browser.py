"""The sandbox's browser: there when it is wanted, started again when it crashes, ended when nobody has used it for long."""

import contextlib
import threading
import time

from browser.conversation import Conversation
from browser.cookies import session_cookies, set_cookies
from browser.run import Run
from command import aside
from contract import BROWSER_TYPES, TEMPLATE_TYPE_VARIABLE
from log import log_failure
from moments import iso_moment
from problem import Problem

PRESTARTED = "Browser"
IDLE_VARIABLE = "CLEANROOM_BROWSER_IDLE_S"
IDLE_SECONDS = 600
# More crashes than these in a minute, and the next start waits until somebody wants the browser.
CRASHES_A_MINUTE = 3
PRESTART_SECONDS = 60
# How long it may take to write down what it remembers.
CLOSE_SECONDS = 10


class Browser:
    """`environment` is the function's, which names the template's type; `own` are the sandbox's variables."""

    def __init__(self, nursery, keeper, display, own, environment):
        self.nursery, self.keeper, self.display, self.own = nursery, keeper, display, own
        self.type = environment.get(TEMPLATE_TYPE_VARIABLE, "CodeInterpreter")
        # Guards starting and ending, which take a moment; the counts have a lock of their own.
        self.lock = threading.Lock()
        self.count = threading.Lock()
        self.run = None
        self.starting = False
        self.release_display = None
        self.users = 0
        self.idle_at = None
        self.restarts = 0
        self.crashes = []
        self.last_crash = None
        self.prestarted = threading.Event()
        # Those of the session, to be set in the next run.
        self.cookies = []

    def prestart(self):
        """Has it running before anybody asks, where that is what the sandbox is for."""
        if self.type != PRESTARTED:
            self.prestarted.set()
            return

        def work():
            try:
                self._running()
            except Problem as error:
                log_failure("browser", error)
            finally:
                self.prestarted.set()

        aside(work)

    @contextlib.contextmanager
    def use(self):
        """A run of the browser, started if there is none, that does not end for want of use while the block lasts."""
        self.refuse_without()
        with self.count:
            self.users += 1
        try:
            yield self._running()
        finally:
            with self.count:
                self.users -= 1
                self.idle_at = time.monotonic() + self._idle_seconds()
            self.keeper.wake()

    def stop(self):
        """Ends it, whoever uses it; the next use starts another."""
        with self.lock:
            self.cookies = []
            run = self._let_go()
        if run is not None:
            run.end()

    @contextlib.contextmanager
    def at_rest(self, cleanly):
        """
        No run while the block lasts, and whoever wants one waits. `cleanly` has the one that there is write down all that it
        remembers, or is a Problem; what it writes nowhere is in `cookies` then, for whoever runs next.
        """
        self.refuse_without()
        self.prestarted.wait(PRESTART_SECONDS)
        with self.lock:
            if self.run is not None and not self.run.ended:
                self._close() if cleanly else self._let_go().end()
            yield

    def run_again(self):
        """Has it running where that is what the sandbox is for."""
        if self.type == PRESTARTED:
            self._running()

    def _close(self):
        run = self.run
        with Conversation(run) as conversation:
            self.cookies = session_cookies(conversation)
            self._let_go()
            if not run.end(lambda: conversation.say("Browser.close") or True, CLOSE_SECONDS):
                raise Problem("browser_unavailable", detail="The browser did not close, so that what it remembers may not be whole")

    def refuse_without(self):
        if self.type not in BROWSER_TYPES:
            detail = f"A sandbox of type {self.type} has no browser"
            raise Problem("not_supported", detail=detail, next="Make one from the template browser or all-in-one.")

    def show(self):
        """What is told of it; asking starts nothing."""
        run = self.run
        state = "starting" if self.starting else "stopped" if run is None else "running"
        if state == "stopped" and self.last_crash is not None and self._crashes() > CRASHES_A_MINUTE:
            state = "failed"
        return {
            "state": state,
            "restarts": self.restarts,
            **({"startedAt": iso_moment(run.started_ns)} if run is not None else {}),
            **({"lastCrash": self.last_crash} if self.last_crash is not None else {}),
        }

    def _running(self):
        with self.lock:
            if self.run is None or self.run.ended:
                self._start()
            return self.run

    def _start(self):
        self.starting = True
        self._let_go()
        release = self.display.keep()
        try:
            screen = self.display.screen_now()
            run = Run(self.nursery, self.keeper, self._crashed)
            if not run.begin(screen.name, screen.size, self.own.with_own()):
                self._note_crash(run)
                raise unavailable(run)
        except BaseException:
            release()
            raise
        finally:
            self.starting = False
        self.run, self.release_display = run, release
        self.keeper.keep(self)
        self._set_cookies()

    def _set_cookies(self):
        cookies, self.cookies = self.cookies, []
        if not cookies:
            return
        try:
            set_cookies(self.run, cookies)
        except Problem as error:
            log_failure("browser", error)

    def _let_go(self):
        """Forgets the run that there is, and answers it. The display may end from here on."""
        run, self.run = self.run, None
        release, self.release_display = self.release_display, None
        if release is not None:
            release()
        self.idle_at = None
        return run

    def _crashed(self, run):
        """On the keeper's thread: notes it, and has another start in its place."""
        self._note_crash(run)

        def again():
            run._bury()
            with self.lock:
                if self.run is not run:
                    return
                self._let_go()
                if self._crashes() > CRASHES_A_MINUTE:
                    return
                try:
                    self._start()
                    self.restarts += 1
                except Problem as error:
                    log_failure("browser", error)

        aside(again)

    def _note_crash(self, run):
        self.crashes = [*self.crashes[-CRASHES_A_MINUTE:], time.monotonic()]
        self.last_crash = {"at": iso_moment(time.time_ns()), "reason": run.reason(), "said": run.last_words()}

    def _crashes(self):
        return sum(1 for at in self.crashes if at > time.monotonic() - 60)

    def _idle_seconds(self):
        text = self.own.with_own().get(IDLE_VARIABLE, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else IDLE_SECONDS

    def next_time(self):
        return self.idle_at if self.users == 0 else None

    def tick(self, now):
        """Ends a browser that nobody has used for long, neither through us nor by looking at it."""
        if self.users > 0 or self.idle_at is None or now < self.idle_at:
            return
        self.idle_at = now + self._idle_seconds()
        # Whoever starts it just now is not to be waited for on this thread, nor is who looks at the display to lose it.
        if self.display.holders > 1 or not self.lock.acquire(blocking=False):
            return
        try:
            if self.users > 0 or self.run is None:
                return
            run = self._let_go()
        finally:
            self.lock.release()
        self.keeper.leave(self)
        aside(run.end)


def unavailable(run):
    return Problem("browser_unavailable", detail=f"The browser does not start: {run.reason()}", said=run.last_words())
