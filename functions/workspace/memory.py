"""How often memory ran out, as the control group tells it."""

import os
import re

EVENTS_PATH = "/opt/cleanroom/memory-events"
KILLS = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


def open_oom_counter(path=EVENTS_PATH):
    """A function that counts the kills, 0 where nothing tells. To be opened while we may read what the user may not."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return lambda: 0

    def count():
        try:
            found = KILLS.search(os.pread(file, 1024, 0))
        except OSError:
            return 0
        return int(found[1]) if found else 0

    return count
