"""Programs of the system at work for us, with the user's rights and no others."""

import os
import re
import signal
import subprocess

from problem import Problem

WORDS_BYTES = 1000
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
SAID = (
    ("disk_full", re.compile("no space left|quota exceeded", re.IGNORECASE)),
    ("forbidden", re.compile("denied|not permitted|read-only|busy", re.IGNORECASE)),
    ("file_not_found", re.compile("no such file", re.IGNORECASE)),
)


class Tool:
    """A program at work on a path; its words are read when it has ended, as many of them as fit its pipe."""

    def __init__(self, user, argv, path, output=subprocess.DEVNULL):
        self._path, self._name = path, argv[0]
        self._words, words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            with user.expendable():
                self.process = subprocess.Popen(
                    argv, cwd="/", env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=output, stderr=words,
                    start_new_session=True, **user.identity,
                )  # fmt: skip
        except BaseException:
            os.close(self._words)
            raise
        finally:
            os.close(words)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Ends it with all that it started, if it is not done."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdout:
            self.process.stdout.close()
        self.process.wait()
        os.close(self._words)

    def finish(self):
        """Returns when it has done its work; otherwise raises the Problem that its words tell of."""
        if self.process.wait() == 0:
            return
        try:
            words = os.read(self._words, WORDS_BYTES).decode("utf-8", "replace")
        except BlockingIOError:
            words = ""
        detail = next(iter(words.strip().splitlines()), "") or f"{self._name} failed"
        code = next((code for code, pattern in SAID if pattern.search(words)), None)
        if code is None:
            raise RuntimeError(detail)
        raise Problem(code, detail=detail, path=self._path)


def run_tool(user, argv, path):
    """Runs a program of the system on a path to its end."""
    with Tool(user, argv, path) as tool:
        tool.finish()
