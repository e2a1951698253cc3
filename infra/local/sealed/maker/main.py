"""
Makes instances for the engine, which starts this program as root and speaks JSON lines with it over descriptor 3.
It runs no code of a sandbox, holds no secret and has no environment; each instance is a fork of it that becomes
bubblewrap. When the engine ends, however it ends, this program ends, and every instance with it.
"""

import base64
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import kernel  # noqa: E402
import room  # noqa: E402
from child import Child, is_hung_up  # noqa: E402
from zygote import Zygote  # noqa: E402


class Maker:
    def __init__(self, control, wake):
        self.control, self.wake = control, wake
        self.heard = b""
        self.seccomp = {}
        self.children = {}
        self.zygotes = {}
        self.poll = select.poll()
        self.watch = {}
        # Nobody ever writes here: what reads its other end waits for our end.
        self.never, self.held = os.pipe()
        self.poll.register(control, select.POLLIN)
        self.poll.register(wake, select.POLLIN)

    def tell(self, **facts):
        try:
            self.control.sendall(json.dumps(facts).encode() + b"\n")
        except BrokenPipeError:
            self.leave()

    def run(self):
        while True:
            for number, _ in self.poll.poll():
                if number == self.control.fileno():
                    self.hear()
                elif number == self.wake.fileno():
                    if signal.SIGTERM in self.wake.recv(4096):
                        self.leave()
                    self.reap()
                elif number in self.watch:
                    self.listen_to(self.watch[number], number)

    def hear(self):
        try:
            data = self.control.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self.leave()
        *lines, self.heard = (self.heard + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["op"] == "configure":
                self.seccomp = {name: base64.b64decode(text) for name, text in order["seccomp"].items()}
            elif order["op"] == "make":
                self.make(order)
            elif order["op"] == "kill":
                self.kill(order["id"])

    def make(self, order):
        parent = os.getpid()
        status, status_in = os.pipe()
        output, output_in = os.pipe()
        listener = room.listen(order["socket"])
        pid = os.fork()
        if pid == 0:
            become_room(order, parent, Ends(status_in, output_in, listener, self.never), self.seccomp[order["profile"]])
        os.close(status_in)
        child = Child(order, pid, status, output)
        if order["zygote"] is None:
            os.close(listener)
            os.close(output_in)
        else:
            child.gifts = (listener, output_in)
            self.zygote_for(order)
        self.children[pid] = child
        for number in (status, output):
            os.set_blocking(number, False)
            self.watch[number] = child
            self.poll.register(number, select.POLLIN)

    def zygote_for(self, order):
        """One for each root and program, started when it is first needed."""
        key = json.dumps([order["root"], order["binds"], order["zygote"]])
        if key not in self.zygotes:
            zygote = Zygote(order["root"], order["binds"], order["zygote"], self.seccomp)
            self.zygotes[key] = zygote
            self.watch[zygote.control.fileno()] = zygote
            self.poll.register(zygote.control, select.POLLIN)
        return self.zygotes[key]

    def listen_to(self, child, number):
        if isinstance(child, Zygote):
            self.hear_zygote(child)
            return
        if number == child.output:
            if not child.read_output():
                self.unwatch(number)
        else:
            for message in child.read_status():
                if "child-pid" in message:
                    child.inner = message["child-pid"]
                    if child.gifts is None:
                        self.tell(id=child.name, event="started", pid=child.inner, monitor=child.pid)
            if not child.heard and is_hung_up(number):
                self.unwatch(number)
        if child.gifts and child.inner and child.tail.startswith(room.HELD):
            child.tail = child.tail[len(room.HELD) :]
            self.populate(child)

    def populate(self, child):
        """The room stands and is held open: now a fork of the zygote moves in."""
        listener, output = child.gifts
        try:
            init = os.pidfd_open(child.inner)
        except ProcessLookupError:
            return
        groups = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in child.cgroups]
        try:
            order = child.order
            self.zygote_for(order).fork(child.name, order["profile"], order["env"], [init, listener, output, *groups])
        finally:
            for number in (init, *groups):
                os.close(number)
            child.drop_gifts()

    def hear_zygote(self, zygote):
        message = zygote.hear()
        if message is None:
            self.lose(zygote)
            return
        child = next((child for child in self.children.values() if child.name == message.get("id")), None)
        if child is None:
            return
        if message["event"] == "started":
            self.tell(id=child.name, event="started", pid=child.inner, monitor=child.pid, seed=message["pid"])
        elif message["event"] == "failed":
            child.tail += message["why"].encode()
            child.end()
        elif message["event"] == "ended":
            child.code = message["code"]
            child.end()

    def lose(self, zygote):
        """What it forked has no parent any more that would bury it, so that all of it ends; the next instance gets a new one."""
        self.unwatch(zygote.control.fileno())
        self.zygotes = {key: other for key, other in self.zygotes.items() if other is not zygote}
        zygote.control.close()
        for child in self.children.values():
            if child.order["zygote"] is not None and self.is_of(child, zygote):
                child.tail += b"the zygote ended"
                child.end()

    @staticmethod
    def is_of(child, zygote):
        return (child.order["root"], child.order["binds"], child.order["zygote"]) == zygote.kind

    def unwatch(self, number):
        if self.watch.pop(number, None):
            self.poll.unregister(number)

    def kill(self, name):
        for child in self.children.values():
            if child.name == name:
                try:
                    kernel.shut_down(f"/proc/{child.pid}/root{room.DISK}")
                except OSError:
                    pass
                child.end()

    def leave(self):
        """
        The engine is gone. Nobody listens any more, but every instance is ended and buried before we go: what loses its
        parent on the way is ours to bury, since a sandbox's first process waits for all of its own.
        """
        kernel.adopt_orphans()
        for child in self.children.values():
            child.inner = None
            child.end()
        signal.alarm(10)
        while self.children:
            pid, _ = os.waitpid(-1, 0)
            self.children.pop(pid, None)
        # A zygote stays to bury what it forked; the rest of that falls to us.
        for zygote in self.zygotes.values():
            zygote.end()
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)

    def reap(self):
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self.children.pop(pid, None)
            if child:
                self.bury(child, os.waitstatus_to_exitcode(code))

    def bury(self, child, code):
        for message in child.read_status():
            if "child-pid" in message:
                self.tell(id=child.name, event="started", pid=message["child-pid"], monitor=child.pid)
            code = message.get("exit-code", code)
        code = code if child.code is None else child.code
        while child.read_output() and select.select([child.output], [], [], 0)[0]:
            pass
        for number in (child.status, child.output):
            self.unwatch(number)
        child.close()
        self.tell(id=child.name, event="ended", exitCode=code, output=child.tail.decode(errors="replace"))


class Ends:
    """The descriptors that an instance begins with: two pipes to us, its listening socket, and one that never has anything."""

    def __init__(self, status, output, listener, never):
        self.status, self.output, self.listener, self.never = status, output, listener, never


def become_room(order, parent, ends, seccomp):
    try:
        kernel.die_with(parent)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.dup2(ends.never, 0)
        os.dup2(ends.output, 1)
        os.dup2(ends.output, 2)
        room.enter(order, parent, ends, seccomp)
    except BaseException as error:
        sys.stderr.write(f"{error}\n")
        if not isinstance(error, OSError):
            traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(125)


def main():
    kernel.die_with(int(sys.argv[1]))
    # What somebody above us left open would be open in every sandbox.
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    control = socket.socket(fileno=3)
    control.set_inheritable(False)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    kernel.die_with(int(sys.argv[1]), signal.SIGTERM)
    os.umask(0o022)
    # The engine runs before what is inside; its own precedence is not for what we start.
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    os.chdir("/")
    gc.freeze()
    maker = Maker(control, woken)
    maker.tell(event="ready")
    maker.run()


main()
