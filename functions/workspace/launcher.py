"""
The launcher starts the user's programs: commands, and interpreters that are programs. It is the user and nothing else
itself, so that what it starts sheds nothing on the way and begins at once. Code of the user's may end it; it ends what
it was watching over then, and the next program has a new one.

An order is a length of four bytes, sent with the descriptors [stdin, stdout, stderr, life] and perhaps a channel, and
then texts that end with a NUL each: the folder, the terminal that takes the place of the three streams or nothing, how many
arguments, the arguments, the variables.
"""

import os
import select
import signal

from handed import receive

DESCRIPTORS = 5
CHANNEL = 3
SCORE_PATH = "/proc/self/oom_score_adj"
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


def encode_order(cwd, argv, variables, terminal=""):
    """An order as it is sent, without the descriptors that go with its first bytes."""
    texts = [cwd, terminal, str(len(argv)), *argv, *(f"{name}={value}" for name, value in variables.items())]
    body = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
    return len(body).to_bytes(4, "little"), body


class Launcher:
    """Starts what it is told to, and tells each life how it went. It lies down with whoever gave the orders."""

    def __init__(self, orders, woken, expendable_score):
        self.orders = orders
        self.woken = woken
        self.lives = {}
        self.score = os.open(SCORE_PATH, os.O_RDWR | os.O_CLOEXEC)
        self.own_score = os.pread(self.score, 16, 0)
        self.expendable_score = b"%d" % max(int(self.own_score), expendable_score)
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def run(self):
        poll = select.poll()
        poll.register(self.orders, select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self.woken.fileno():
                    self.bury()
                else:
                    self.hear()

    def bury(self):
        self.woken.recv(4096)
        while self.lives:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            life = self.lives.pop(pid, None)
            if life is not None:
                tell(life, f"status {os.waitstatus_to_exitcode(status)}\n")
                os.close(life)

    def hear(self):
        head, descriptors = receive(self.orders, 4, DESCRIPTORS)
        if len(head) < 4:
            os._exit(0)
        size, body = int.from_bytes(head, "little"), bytearray()
        while len(body) < size:
            body += self.orders.recv(size - len(body)) or os._exit(0)
        *streams, life = descriptors
        try:
            pid = self.start(bytes(body[:-1]).split(b"\0"), streams)
        except OSError as error:
            tell(life, f"failed {error.errno}\n")
            os.close(life)
            return
        finally:
            for descriptor in streams:
                os.close(descriptor)
        self.lives[pid] = life
        tell(life, f"pid {pid}\n")

    def start(self, texts, streams):
        cwd, terminal, count, *rest = texts
        argv, variables = rest[: int(count)], rest[int(count) :]
        environment = dict(one.split(b"=", 1) for one in variables)
        actions = [(os.POSIX_SPAWN_DUP2, one, number) for number, one in enumerate(streams)]
        if terminal:
            # Opened by a process that leads its session and has no terminal yet, it becomes that session's own.
            actions = [(os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0), *((os.POSIX_SPAWN_DUP2, 0, to) for to in (1, 2))]
        os.chdir(cwd)
        # The score is inherited; what the user asked for dies before this process, and this before the workspace.
        os.pwrite(self.score, self.expendable_score, 0)
        try:
            return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True, setsigdef=IGNORED_BY_PYTHON)
        finally:
            os.pwrite(self.score, self.own_score, 0)
            os.chdir("/")


def tell(life, text):
    """Tells what became of a process; nobody may want to know any more."""
    try:
        os.write(life, text.encode())
    except OSError:
        pass
