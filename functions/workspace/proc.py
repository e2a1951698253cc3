"""Processes as /proc tells them. Any of them may vanish between two looks."""

import os

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STATES = {
    "R": "running", "S": "sleeping", "D": "waiting", "T": "stopped", "t": "traced", "Z": "zombie", "X": "dead", "I": "idle",
}  # fmt: skip


class Process:
    """What is known of one process."""

    __slots__ = ("pid", "name", "state", "parent", "group", "cpu_ms", "started_at_ms", "memory_bytes")

    def __init__(self, pid, stat, boot_ms):
        # The name may hold blanks and brackets, so the fields are counted from its last bracket.
        head, _, tail = stat.rpartition(b")")
        fields = tail.split()
        self.pid = pid
        self.name = head.partition(b"(")[2].decode("utf-8", "replace")
        self.state = STATES.get(fields[0].decode(), "unknown")
        self.parent, self.group = int(fields[1]), int(fields[2])
        self.cpu_ms = (int(fields[11]) + int(fields[12])) * 1000 / TICKS_PER_SECOND
        self.started_at_ms = boot_ms + int(fields[19]) * 1000 / TICKS_PER_SECOND
        self.memory_bytes = int(fields[21]) * PAGE_BYTES


def read_processes():
    """Every process that can be seen from here."""
    boot_ms = boot_time_ms()
    found = (read_process(int(name), boot_ms) for name in os.listdir("/proc") if name.isdigit())
    return [one for one in found if one is not None]


def read_process(pid, boot_ms=None):
    """One process; None when there is none of that number."""
    stat = read(f"/proc/{pid}/stat")
    if b")" not in stat:
        return None
    return Process(pid, stat, boot_time_ms() if boot_ms is None else boot_ms)


def users_of(pid):
    """The real, effective and saved uid of a process; none when it has gone."""
    for line in read(f"/proc/{pid}/status").split(b"\n"):
        if line.startswith(b"Uid:"):
            return tuple(int(one) for one in line.split()[1:4])
    return ()


def command_line(process):
    """The command line as one text; the bare name in brackets for a process that shows none."""
    line = read(f"/proc/{process.pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return line or f"[{process.name}]"


def environment_of(pid):
    """The variables a process was started with; empty where they are not ours to read."""
    texts = read(f"/proc/{pid}/environ").decode("utf-8", "replace").split("\0")
    return dict(text.split("=", 1) for text in texts if "=" in text)


def folder_of(pid):
    """The folder a process works in; empty where that is not ours to know."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def read(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""


def boot_time_ms():
    for line in read("/proc/stat").split(b"\n"):
        if line.startswith(b"btime "):
            return int(line.split()[1]) * 1000
    return 0
