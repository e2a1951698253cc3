"""Puts the workspace together: what it answers, and by whose rights."""

import time
from dataclasses import dataclass
from typing import Any, Callable

import archive
import files
import filesystem
import ports
import said
import snapshot
import upload
from activity import Activity
from collector import open_collector
from contract import TEMPLATE_TYPE_VARIABLE
from entries import Entries
from environment import SandboxEnvironment
from guard import Guard, proof_key
from memory import open_oom_counter
from moments import iso_moment
from rights import User, become_user
from routes import Routes
from server import serve

HOME = "/home/user"
VERSION = "v1"
SERVICES = {
    "CustomImage": "sandbox-custom-image",
    "Browser": "sandbox-browser",
    "AllInOne": "sandbox-all-in-one",
    "Desktop": "sandbox-desktop",
}
SERVICE = "sandbox-code-interpreter"
# How long the first answer waits for a browser or a desktop that is there before anybody asks.
PRESTART_SECONDS = 60


def now_ms():
    return time.time_ns() // 1_000_000


@dataclass
class WorkspaceParts:
    """What a workspace is made of. `contexts`, `commands`, `display` and `browser` run code; without them those routes are not there."""

    user: User
    proof_key: Any
    activity: Activity
    environment: SandboxEnvironment
    contexts: Any = None
    commands: Any = None
    display: Any = None
    terminals: Any = None
    browser: Any = None
    said: Any = None
    own_ports: tuple = ()
    type: str | None = None


@dataclass
class Workspace:
    """What the server needs for a request."""

    routes: Any
    guard: Guard
    activity: Activity


def serve_workspace(listener, environment, nursery=None, begun=None):
    """
    Serves a sandbox for as long as the process lives. `nursery` makes the processes of user code; where an image's program
    has `begun`, that is all the code there is.
    """
    # Opened while we may still read what the user may not.
    oom_kills = open_oom_counter()
    user = become_user(HOME)
    activity, variables = Activity(now_ms), SandboxEnvironment()
    parts = WorkspaceParts(user, proof_key(environment["CLEANROOM_PROOF_KEY"]), activity, variables)
    parts.type = environment.get(TEMPLATE_TYPE_VARIABLE)
    parts.own_ports = (ports.port_of(listener), None)
    if begun is not None:
        from keeper import Keeper
        from program import Program

        serve(listener, beside_program(parts, Program(begun, nursery, Keeper())))
    collector = None
    if nursery is not None:
        from browser.browser import Browser
        from commands import Commands
        from contexts.contexts import Contexts
        from display import DESKTOP, Display
        from keeper import Keeper
        from terminals import Terminals

        keeper = Keeper()
        parts.commands = Commands(HOME, nursery, keeper, variables, activity, oom_kills)
        parts.terminals = Terminals(parts.commands)
        parts.display = Display(nursery, keeper, variables, environment.get(TEMPLATE_TYPE_VARIABLE) == DESKTOP)
        parts.display.prestart()
        parts.browser = Browser(nursery, keeper, parts.display, variables, environment)
        parts.browser.prestart()
        parts.contexts = Contexts(nursery, keeper, variables, oom_kills)
        if environment.get("CLEANROOM_PREPARED_KERNEL", "1") == "1" and parts.browser.type != "Browser":
            parts.contexts.prepare()
        parts.said = said.Said()
        # Bound before there is any code that could take its place.
        collector = open_collector(parts.said)
        parts.own_ports = (ports.port_of(listener), collector.port if collector else None)
    serve(listener, create_workspace(parts), collector)


def create_workspace(parts):
    """The workspace of these parts."""
    entries = Entries()
    handlers = {
        **_own_routes(parts),
        **files.routes(parts.user.home, entries),
        **filesystem.routes(parts.user, entries),
        **archive.routes(parts.user),
        **upload.routes(parts.user.home),
        **snapshot.routes(),
        **ports.routes(parts.own_ports),
    }
    if parts.said is not None:
        handlers |= said.routes(parts.said)
    if parts.contexts is not None:
        import contexts.routes

        handlers |= contexts.routes.routes(parts.contexts)
    if parts.commands is not None:
        import picture
        import processes

        handlers |= processes.routes(parts.commands) | picture.routes(parts.user.home, parts.commands.nursery)
    if parts.terminals is not None:
        import terminals

        handlers |= terminals.routes(parts.terminals)
    if parts.display is not None:
        import desktop.actions
        import display
        import recording
        import view

        handlers |= display.routes(parts.display) | view.routes(parts.display) | desktop.actions.routes(parts.display)
        handlers |= recording.routes(recording.Recorder(parts.display.nursery, parts.display))
    if parts.browser is not None:
        import browser.routes

        handlers |= browser.routes.routes(parts.browser)
    return Workspace(Routes(handlers), Guard(parts.proof_key, now_ms), parts.activity)


def beside_program(parts, program):
    """The workspace of a sandbox whose code is an image's."""
    from program import ProgramRoutes

    own = {name: handler for name, handler in _own_routes(parts).items() if name != "setEnvironment"}
    routes = ProgramRoutes(program, own, ports.routes(parts.own_ports))
    return Workspace(routes, Guard(parts.proof_key, now_ms), parts.activity)


def _own_routes(parts) -> dict[str, Callable]:
    started_s = time.monotonic()
    service = SERVICES.get(parts.browser.type if parts.browser is not None else parts.type, SERVICE)

    def health(_call):
        # Who makes a sandbox asks first, so that one with a browser or a desktop has it running when it is given away.
        for part in (parts.browser, parts.display):
            if part is not None:
                part.prestarted.wait(PRESTART_SECONDS)
        return {
            "status": "ok",
            "service": service,
            "version": VERSION,
            "timestamp": iso_moment(time.time_ns()),
            "uptime": time.monotonic() - started_s,
        }

    def set_environment(call):
        parts.environment.set(call.body["variables"])
        if parts.display is not None:
            parts.display.fit()

    return {
        "checkHealth": health,
        "readActivity": lambda _call: parts.activity.read(),
        "setEnvironment": set_environment,
    }
