"""
The Python interpreter of a context, in the process in which it runs: cells come on descriptor 3, their state stays,
answers go back there. Messages are those of frames.py. What user code breaks of this is its own interpreter.
"""

import _ast
import _signal
import _thread
import builtins
import os
import sys

from contexts import errors, figures
from contexts.results import RESULT_LIMIT, bundle, cut

CHANNEL = 3
ERROR_LIMIT = 64 * 1024
SOURCES_KEPT = 200
ONLY_AST = 0x0400
TOP_LEVEL_AWAIT = 0x2000
COROUTINE = 0x80


def modules_in(folder, package=""):
    return [f"{package}{name[:-3]}" for name in os.listdir(folder) if name.endswith(".py")]


HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.dirname(HERE)
OURS = (*modules_in(FOLDER), *modules_in(HERE, "contexts."), "contexts")


def run():
    """Serves cells in this process until the channel ends."""
    Interpreter().serve()


def run_alone():
    """As `run`, in a program of its own."""
    os.closerange(CHANNEL + 1, 256)
    os.set_inheritable(CHANNEL, False)
    forget()
    run()


def forget():
    """
    User code that imports `memory` or `server` means a module of its own. Only ours are looked at: looking at every
    module there is would write to each of them, and so copy what forks share.
    """
    for known in OURS:
        sys.modules.pop(known, None)
    sys.path[:] = [place for place in sys.path if not place.startswith(FOLDER)]


class Interpreter:
    """What runs cells; `main` is the module that they see as their own."""

    def __init__(self):
        self.pid = os.getpid()
        self.thread = _thread.get_ident()
        self.lock = _thread.allocate_lock()
        self.main = type(sys)("__main__")
        self.sources = {}
        self.cells = 0
        self.loop = None
        self.missed = False

    def serve(self):
        _signal.signal(_signal.SIGINT, self.ignore)
        open_streams()
        sys.modules["__main__"] = self.main
        sys.argv = [""]
        sys.path.insert(0, "")
        sys.path.extend(folder for folder in os.environ.get("PYTHONPATH", "").split(":") if folder)
        sys.path.append(os.path.expanduser("~/.local/lib/python%d.%d/site-packages" % sys.version_info[:2]))
        self.main.__dict__.update(__builtins__=builtins, display=self.make_display())
        builtins.input = refuse_input
        self.watch_pyplot()
        while True:
            kind, *parts = read_message()
            (self.run if kind == "run" else self.adopt)(*parts)

    def watch_pyplot(self):
        """Makes plt.show() send the figures at that point of the output: there is no window to show them in."""

        def show(*_args, **_options):
            """Sends the open figures and closes them."""
            self.show_figures()

        plt = sys.modules.get("matplotlib.pyplot")
        if plt is None:
            sys.meta_path.insert(0, PyplotFinder(show))
        else:
            plt.show = show

    def run(self, _mark, source, *variables):
        given = pairs(variables)
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        ok = self.guarded(source)
        if os.getpid() != self.pid:
            # A fork that fell out of its cell must not go on as a second interpreter.
            flush()
            os._exit(0)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        flush()
        self.send("done", "ok" if ok else "error")

    def guarded(self, source):
        """Runs a cell and says how it ended. Interrupts reach the cell alone."""
        try:
            try:
                # Whoever interrupts waits for this word, so that no interrupt comes before there is something to interrupt.
                self.send_whole("began")
                self.run_cell(source)
                return True
            finally:
                _signal.signal(_signal.SIGINT, self.ignore)
        except SystemExit as end:
            if end.code in (None, 0):
                return True
            self.send_error(end)
        except BaseException as error:
            self.send_error(error)
        return False

    def adopt(self, cwd, *variables):
        """Begins as its context's: in its folder, with its variables, and with no cell run."""
        self.cells = 0
        self.sources.clear()
        os.environ.update(pairs(variables))
        os.chdir(cwd)

    def run_cell(self, source):
        self.cells += 1
        name = f"<cell {self.cells}>"
        self.sources[name] = source
        if len(self.sources) > SOURCES_KEPT:
            self.sources.pop(next(iter(self.sources)))
        self.remember_sources()
        body = compile(source, name, "exec", ONLY_AST | TOP_LEVEL_AWAIT, True).body
        last = body.pop() if body and isinstance(body[-1], _ast.Expr) and not source.rstrip().endswith(";") else None
        if body:
            self.evaluate(compile(_ast.Module(body=body, type_ignores=[]), name, "exec", TOP_LEVEL_AWAIT, True))
        if last is not None:
            value = self.evaluate(compile(_ast.Expression(body=last.value), name, "eval", TOP_LEVEL_AWAIT, True))
            if value is not None:
                self.main.__dict__["_"] = value
                self.send_result(bundle(value), "main")
        self.show_figures()

    def evaluate(self, code):
        """Runs a compiled piece; one that awaits runs on the event loop that lasts as long as the interpreter."""
        value = eval(code, self.main.__dict__)
        if not code.co_flags & COROUTINE:
            return value
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(value)

    def remember_sources(self):
        if "linecache" not in sys.modules or not self.sources:
            return
        import linecache

        for name, source in self.sources.items():
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        self.sources.clear()

    def make_display(self):
        """The function that cells know as `display`."""

        def display(*values):
            """Shows values in the order of the output, as the last expression of a cell is shown."""
            for value in values:
                media = isinstance(value, dict) and value and all(isinstance(key, str) and "/" in key for key in value)
                self.send_result(value if media else bundle(value), "extra")

        return display

    def show_figures(self):
        """Sends the open figures and closes them."""
        plt = sys.modules.get("matplotlib.pyplot")
        if plt is not None and plt.get_fignums():
            for data in figures.take_figures(plt, RESULT_LIMIT // 2):
                self.send_result(data, "extra")

    def send_result(self, data, kind):
        flush()
        self.send_whole("result", kind, *(part for pair in data.items() for part in pair))

    def send_error(self, error):
        """Sends an exception with the traceback of user code only."""
        try:
            value, text = errors.describe(error, self.remember_sources, __file__)
        except Exception as failure:
            value, text = f"the error could not be described: {type(failure).__name__}", ""
        flush()
        self.send("error", type(error).__name__, cut(value, ERROR_LIMIT), cut(text, ERROR_LIMIT))

    def send_whole(self, *parts):
        """Sends from within a cell: an interrupt waits until the message is out, since half a message would end all."""
        if _thread.get_ident() != self.thread:
            return self.send(*parts)
        self.missed = False
        _signal.signal(_signal.SIGINT, self.ignore)
        try:
            self.send(*parts)
        finally:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
            if self.missed:
                raise KeyboardInterrupt

    def send(self, *parts):
        encoded = [part if isinstance(part, bytes) else part.encode("utf-8", "replace") for part in parts]
        payload = b"".join(len(part).to_bytes(4, "little") + part for part in encoded)
        message = memoryview(len(payload).to_bytes(4, "little") + payload)
        with self.lock:
            while message:
                message = message[os.write(CHANNEL, message) :]

    def ignore(self, _signal_number, _frame):
        self.missed = True


class PyplotFinder:
    """Gives pyplot another `show` when it is loaded."""

    def __init__(self, show):
        self.show = show

    def find_spec(self, name, path=None, target=None):
        if name != "matplotlib.pyplot":
            return None
        sys.meta_path.remove(self)
        return figures.pyplot_spec(self.show)


def open_streams():
    """Standard streams of our own, whatever those were of whoever was forked."""
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="replace", closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="replace", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)


def read_message():
    payload = read_exactly(int.from_bytes(read_exactly(4), "little"))
    parts, at = [], 0
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 4], "little")
        parts.append(payload[at + 4 : at + 4 + size].decode("utf-8", "surrogatepass"))
        at += 4 + size
    return parts


def read_exactly(size):
    parts = []
    while size > 0:
        part = os.read(CHANNEL, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def refuse_input(prompt=""):
    raise RuntimeError("input() is not available here: nobody is at the keyboard. Put the value into the code or a file.")


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def pairs(parts):
    return dict(zip(parts[::2], parts[1::2]))
