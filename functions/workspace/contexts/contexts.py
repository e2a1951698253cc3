"""The sandbox's interpreters: at most one by each id, one default for each language, and one kept prepared."""

import os
import re
import threading
import time

from contexts.context import Context
from contexts.execution import Execution
from contexts.output import KeptOutput
from contexts.runtime import Runtime
from contract import LIMITS
from dispatch import new_id
from launch import HOME, check_launch
from paths import resolve_path
from problem import Problem

# Variables that an interpreter reads only while it starts, so that a fork of one that has would miss them.
EARLY_VARIABLE = re.compile(r"LD_|MALLOC_|GLIBC_|LC_|LANG$")
HERE = os.path.dirname(os.path.abspath(__file__))
NODES = ("/usr/local/bin/node", "/opt/node/node", "/usr/bin/node")
REHEARSAL_MS = 5000
JAVASCRIPT_FLAGS = ("--experimental-import-meta-resolve", "--no-warnings")
PYTHON_ALONE = "import sys; sys.path.insert(0, sys.argv[1]); from contexts import python; python.run_alone()"


class Nobody:
    """Who waits for a rehearsal."""

    @staticmethod
    def fileno():
        return None


class Contexts:
    """Makes them, and finds them again by their ids."""

    def __init__(self, nursery, keeper, environment, oom_kills):
        self.nursery, self.keeper = nursery, keeper
        self.environment, self.oom_kills = environment, oom_kills
        self.lock = threading.Lock()
        self.contexts = {}
        self.prepared = self.rehearsal = None

    def prepare(self):
        """Starts ahead what the first execution and the first command will need."""
        self.rehearsal = threading.Thread(target=self._rehearse, name="rehearsal", daemon=True)
        self.rehearsal.start()

    def _rehearse(self):
        """
        Has an interpreter run a cell that does nothing: memory that is shared with every other fork until it is first
        written to is this sandbox's own by the time that somebody waits.
        """
        runtime = Runtime(self.nursery.interpreter(), self.keeper)
        runtime.begin()
        execution = Execution(runtime, KeptOutput(), Nobody(), 0, REHEARSAL_MS)
        try:
            ended_well = execution.run("print()", {}, {})
        finally:
            execution.close()
            runtime.end()
        if ended_well:
            self.prepared = runtime
        else:
            runtime.kill()
        self.nursery.ready()

    def list(self):
        return list(self.contexts.values())

    def get(self, number):
        """The context of that id."""
        context = self.contexts.get(number)
        if context is None:
            raise Problem("context_not_found", contextId=number)
        return context

    def create(self, language, folder, number=None):
        """A context of that id, or the one that is there already."""
        cwd = resolve_path(HOME, folder)
        check_launch(cwd, self.environment.with_own())
        with self.lock:
            number = number or new_id(time.time_ns() // 1_000_000)
            if number in self.contexts:
                return self.contexts[number]
            if len(self.contexts) >= LIMITS["contextsPerSandbox"]:
                detail = f"A sandbox holds at most {LIMITS['contextsPerSandbox']} contexts; delete one"
                raise Problem("quota_exceeded", detail=detail, limit=LIMITS["contextsPerSandbox"])
            context = Context(number, language, cwd, self._start, self.oom_kills)
            self.contexts[number] = context
            return context

    def find(self, number, language):
        """The context to execute in: the one named, made if it is new, or the language's default."""
        name = number or f"default-{language or 'python'}"
        context = self.contexts.get(name) or self.create(language or "python", HOME, name)
        if language is not None and context.language != language:
            detail = f"The context {name} speaks {context.language}, not {language}"
            raise Problem("invalid_request", detail=detail, contextId=name)
        return context

    def delete(self, number):
        context = self.get(number)
        self.contexts.pop(number, None)
        context.close()

    def close(self):
        """Ends every interpreter."""
        if self.prepared is not None:
            self.prepared.kill()
        for context in self.list():
            context.close()

    def _start(self, language, cwd):
        variables = self.environment.with_own()
        if language != "python" or any(EARLY_VARIABLE.match(name) for name in variables):
            program = self.nursery.program(program_of(language), cwd, variables, input=False, channel=True)
            return Runtime(program, self.keeper)
        if self.rehearsal is not None:
            self.rehearsal.join()
        prepared, self.prepared = self.prepared, None
        if prepared is None or not prepared.alive:
            prepared = Runtime(self.nursery.interpreter(), self.keeper)
        prepared.adopt(cwd, variables)
        return prepared


def program_of(language):
    """The arguments of an interpreter that is a program; Python is one where a fork will not do."""
    if language == "python":
        return ["/usr/bin/python3", "-I", "-c", PYTHON_ALONE, os.path.dirname(HERE)]
    node = next((path for path in NODES if os.path.exists(path)), NODES[0])
    return [node, *JAVASCRIPT_FLAGS, os.path.join(HERE, "kernel.cjs")]
