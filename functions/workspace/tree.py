"""Trees of processes: whatever a command or an interpreter started, also where its parents have gone."""

import os
import signal
import time

from launch import TREE_VARIABLE
from proc import environment_of, read_processes, users_of

PASSES = 24
FIRST_PASS_SECONDS, PASS_SECONDS = 0.001, 0.01


def signal_one(pid, number):
    """
    Signals a process, or its group when negative, that may have gone; False when it has, or is not ours to signal.
    Numbers come from where code can write, so that one of the workspace's own is refused, whoever names it.
    """
    if is_workspace(abs(pid)):
        return False
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def is_workspace(pid):
    """Whether this process has what only the workspace has: us, who made us, and root's uid where that is ours."""
    if pid <= 1 or pid in (os.getpid(), os.getppid()):
        return True
    own = os.getresuid()[0]
    return own == 0 and users_of(pid)[:1] == (own,)


def signal_tree(number, pid=None, name=None):
    """Sends one signal to a whole tree. Answers how many there were."""
    members = tree_members(pid, name)
    for member in members:
        signal_one(member, number)
    return len(members)


def kill_tree(pid=None, name=None):
    """Kills a tree until nothing of it is left: what forks while it is being killed is met on the next pass."""
    for number in range(PASSES):
        if signal_tree(signal.SIGKILL, pid, name) == 0:
            return
        time.sleep(min(FIRST_PASS_SECONDS * 2**number, PASS_SECONDS))


def tree_members(pid=None, name=None):
    """
    The living processes of a tree, the first process first. `pid` is that of the first process while it is surely its
    own, `name` is what all of them inherited.
    """
    everyone = [one for one in read_processes() if one.state != "zombie" and one.pid != os.getpid()]
    children = {}
    for one in everyone:
        children.setdefault(one.parent, []).append(one.pid)
    found = {}
    if pid is not None and any(one.pid == pid for one in everyone):
        add_descendants(children, pid, found)
    for one in everyone:
        if one.pid in found:
            continue
        in_group = pid is not None and one.group == pid
        if in_group or (name is not None and environment_of(one.pid).get(TREE_VARIABLE) == name):
            add_descendants(children, one.pid, found)
    return list(found)


def add_descendants(children, root, found):
    queue = [root]
    while queue:
        pid = queue.pop()
        if pid not in found:
            found[pid] = True
            queue.extend(children.get(pid, ()))
