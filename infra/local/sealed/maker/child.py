"""An instance as the maker sees it: from outside."""

import json
import os
import select
import signal

OUTPUT_TAIL = 4096


class Child:
    """An instance seen from outside: the monitor's pid, its status pipe and the last words of its output."""

    def __init__(self, order, pid, status, output):
        self.order = order
        self.name, self.cgroups = order["id"], order["cgroups"]
        self.pid, self.status, self.output = pid, status, output
        self.inner = None
        self.heard = b""
        self.tail = b""
        # What a zygote's fork will need; given away when it is asked for one.
        self.gifts = None
        self.code = None

    def read_output(self):
        """False when nobody can write any more. One read a turn, so that a flood of one does not starve the others."""
        try:
            data = os.read(self.output, 65536)
        except BlockingIOError:
            return True
        self.tail = (self.tail + data)[-OUTPUT_TAIL:]
        return bool(data)

    def read_status(self):
        try:
            self.heard += os.read(self.status, 4096)
        except BlockingIOError:
            pass
        *lines, self.heard = self.heard.split(b"\n")
        return [json.loads(line) for line in lines if line.strip()]

    def members(self):
        """Every process of the instance; before it has groups, the one that we forked."""
        found = {self.pid}
        for path in self.cgroups:
            try:
                with open(path) as file:
                    found.update(int(line) for line in file)
            except OSError:
                pass
        return found

    def end(self):
        """
        The inner init dies first: its monitor then reaps it. Before the monitor has named it there is a moment in which
        it lives already and is bound to nobody, so then all that is in the groups dies.
        """
        for pid in [self.inner] if self.inner else self.members():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def close(self):
        os.close(self.status)
        os.close(self.output)
        self.drop_gifts()

    def drop_gifts(self):
        for number in self.gifts or ():
            os.close(number)
        self.gifts = None


def is_hung_up(number):
    probe = select.poll()
    probe.register(number, 0)
    return bool(probe.poll(0))
