"""
Starts workspaces as forks of itself. It has loaded all that they need, sandboxes' interpreters included, so that a
fork begins where an import would end and shares its memory with every other. It runs on the host's side, in the
sandbox's root, runs no code of any sandbox and holds no secret.

On descriptor 3 it is told, by datagrams of JSON: first {"filters": base64 by name}, then for each workspace {"id", "filter", "environment"}
with the descriptors [first process of the sandbox, listening socket, output, entrance of each control group]. It tells
{"event": "ready"}, {"id", "event": "started", "pid"}, {"id", "event": "failed", "why"} and {"id", "event": "ended", "code"}.
"""

import base64
import gc
import json
import os
import select
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import container  # noqa: E402
import lock  # noqa: E402
import seed  # noqa: E402
from contract import IMAGE_VARIABLE  # noqa: E402
from forks import forked, woken_by  # noqa: E402

MESSAGE_BYTES = 4 << 20
DESCRIPTORS = 16


class Zygote:
    def __init__(self, control, wake):
        self.control, self.wake = control, wake
        self.filters = {}
        self.own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.forks = {}

    def tell(self, **facts):
        self.control.send(json.dumps(facts).encode())

    def run(self):
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self.wake.fileno():
                    self.wake.recv(4096)
                    self.reap()
                else:
                    self.hear()

    def hear(self):
        data, descriptors, _, _ = socket.recv_fds(self.control, MESSAGE_BYTES, DESCRIPTORS)
        if not data:
            os._exit(0)
        order = json.loads(data)
        try:
            if "filters" in order:
                self.filters = {name: base64.b64decode(text) for name, text in order["filters"].items()}
                return
            pid = self.fork(order, descriptors)
            self.forks[pid] = order["id"]
            self.tell(id=order["id"], event="started", pid=pid)
        except OSError as error:
            # A sandbox that was ended meanwhile has no place for a process any more.
            self.tell(id=order["id"], event="failed", why=str(error))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def fork(self, order, descriptors):
        """The fork is born inside the sandbox's processes; the rest it joins itself."""
        lock.join(descriptors[0], lock.NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                become_workspace(order["environment"], descriptors, self.filters[order["filter"]])
        finally:
            lock.join(self.own, lock.NEWPID)
        return pid

    def reap(self):
        while self.forks:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self.tell(id=self.forks.pop(pid), event="ended", code=128 - code if code < 0 else code)


def become_workspace(environment, descriptors, program):
    with forked(125):
        init, listener, output, *groups = descriptors
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for group in groups:
            os.write(group, b"0")
        lock.join(init, lock.ALL_BUT_PROCESSES)
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(listener, 3, inheritable=False)
        os.dup2(init, 4, inheritable=False)
        os.closerange(5, os.sysconf("SC_OPEN_MAX"))
        settings = environment.pop(IMAGE_VARIABLE, None)
        begun = None if settings is None else container.begin(settings, program, 4)
        os.close(4)
        os.environ.clear()
        os.environ.update(environment)
        lock.take_rights()
        lock.confine()
        lock.filter_calls(program)
        seed.run(socket.socket(fileno=3), environment, begun)


def main():
    control = socket.socket(fileno=3)
    control.set_inheritable(False)
    woken = woken_by(signal.SIGCHLD)
    seed.preload()
    gc.collect()
    gc.freeze()
    zygote = Zygote(control, woken)
    zygote.tell(event="ready")
    zygote.run()


if __name__ == "__main__":
    main()
