"""An interpreter of its own state. Its executions run one after another, in the order in which they came."""

import signal
import threading
import time
from collections import deque

from contexts.execution import Execution
from contract import LIMITS
from problem import Problem

OOM_LOOKS = 5
OOM_LOOK_SECONDS = 0.002
PING_SECONDS = 1
WHY = {
    "oom": "It was killed because the sandbox's memory ran out",
    "timeout": "It did not heed the interrupt at the time-out and was killed",
    "interrupted": "It did not heed the interrupt and was killed",
}
REPLACED = "A fresh interpreter takes its place: variables are gone, files stay."


class Context:
    """`start_runtime(language, cwd)` makes an interpreter with the sandbox's variables."""

    def __init__(self, number, language, cwd, start_runtime, oom_kills):
        self.id, self.language, self.cwd = number, language, cwd
        self.start_runtime, self.oom_kills = start_runtime, oom_kills
        self.lock = threading.Lock()
        self.turns = deque()
        self.count = 0
        self.closed = False
        self.running = None
        self.runtime = start_runtime(language, cwd)

    def show(self):
        return {"id": self.id, "language": self.language, "cwd": self.cwd}

    def execute(self, call, code, variables, timeout_ms, output):
        """Runs code when its turn has come, and answers its last item. A client that leaves interrupts it, or gives its turn away."""
        self._take_turn(output)
        try:
            outcome = self._execute(call, code, variables, timeout_ms, output)
        finally:
            self._pass_turn()
        # The last words wait for their reader, but the next execution does not.
        return self._conclude(output, **outcome)

    def interrupt(self):
        """Interrupts what runs; False when nothing does."""
        with self.lock:
            if self.running is None:
                return False
            self.running.stop()
            return True

    def restart(self):
        """Replaces the interpreter: whatever runs ends as killed, and the next execution meets a fresh state."""
        old = self.runtime
        self._renew()
        old.kill()

    def close(self):
        """Ends the interpreter and what it started; executions that wait are refused."""
        self.closed = True
        self.runtime.kill()

    def _take_turn(self, output):
        mine = threading.Lock()
        with self.lock:
            waiting = len(self.turns)
            if waiting >= LIMITS["executionsQueued"]:
                detail = f"{waiting} executions of this context wait already"
                raise Problem("quota_exceeded", detail=detail, limit=LIMITS["executionsQueued"], retryAfterSeconds=1)
            if waiting > 0:
                mine.acquire()
            self.turns.append(mine)
        while not mine.acquire(timeout=PING_SECONDS):
            output.ping(time.monotonic())

    def _pass_turn(self):
        with self.lock:
            self.turns.popleft()
            if self.turns:
                self.turns[0].release()

    def _renew(self):
        if not self.closed:
            self.runtime = self.start_runtime(self.language, self.cwd)
            self.count = 0

    def _execute(self, call, code, variables, timeout_ms, output):
        started = time.monotonic()
        runtime, said = self._ready_runtime()
        self.count += 1
        count, oom_before = self.count, self.oom_kills()
        execution = Execution(runtime, output, call, count, timeout_ms)
        try:
            with self.lock:
                self.running = execution
            ok = execution.run(code, variables, said)
        finally:
            with self.lock:
                self.running = None
            execution.close()
            status, stopped = runtime.child.status, execution.stopped
            runtime.end()
        oom = ok is None and status == -signal.SIGKILL and stopped is None and self._oom_rose(oom_before)
        if ok is None and runtime is self.runtime:
            runtime.kill()
            self._renew()
        spent_ms = (time.monotonic() - started) * 1000
        return {"ok": ok, "count": count, "died_of": status, "reason": stopped or ("oom" if oom else None), "spent_ms": spent_ms}

    def _ready_runtime(self):
        """The interpreter, taken for one execution, with what it printed meanwhile; another in place of one that has died."""
        while True:
            if self.closed:
                raise Problem("context_not_found", contextId=self.id)
            runtime = self.runtime
            said = runtime.begin()
            if said is not None:
                return runtime, said
            if runtime is self.runtime:
                runtime.kill()
                self._renew()

    def _oom_rose(self, before):
        """The counter of memory kills may rise a moment after the death that it counts."""
        for _ in range(OOM_LOOKS):
            if self.oom_kills() > before:
                return True
            time.sleep(OOM_LOOK_SECONDS)
        return False

    def _conclude(self, output, ok, count, died_of, reason, spent_ms):
        died = ok is None
        if died:
            output.show(last_words(died_of, reason))
        killed = "killed" if died_of == -signal.SIGKILL else "error"
        return {
            "type": "endOfExecution",
            "status": reason or (killed if died else "ok" if ok else "error"),
            "executionCount": count,
            "durationMs": spent_ms,
            "dropped": output.finish(),
            "stateKept": not died,
        }


def last_words(status, reason):
    """What is said when the interpreter is no more: why, and that its variables went with it."""
    how = f"It ended with exit code {status}" if status >= 0 else f"It was ended by {signal.Signals(-status).name}"
    name = "OutOfMemory" if reason == "oom" else "InterpreterEnded"
    return {"type": "error", "name": name, "value": f"{WHY.get(reason, how)}. {REPLACED}", "traceback": ""}
