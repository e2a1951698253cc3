"""A program that runs in a sandbox's root on the host's side and whose forks move into rooms that stand ready."""

import base64
import json
import os
import shutil
import signal
import socket
import sys

import kernel
import room

MESSAGE_BYTES = 4 << 20
SO_SNDBUFFORCE = 32
# A fork that joins a user namespace has one thread, and libraries look for their settings while they are loaded.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/user", "LANG": "C.UTF-8", "MPLBACKEND": "Agg",
    "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip
WRITABLE = ("/tmp", "/home/user")
CACHE = "/home/user/.cache"


class Zygote:
    """`fork` asks for one; `hear` answers what it has to say, None when it is gone."""

    def __init__(self, root, binds, program, seccomp):
        self.kind = (root, binds, program)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.control, theirs):
            end.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, MESSAGE_BYTES)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            become_zygote(root, binds, program, parent, theirs.fileno())
        theirs.close()
        filters = {profile: base64.b64encode(program).decode() for profile, program in seccomp.items()}
        self.control.send(json.dumps({"filters": filters}).encode())

    def fork(self, name, profile, environment, descriptors):
        message = json.dumps({"id": name, "filter": profile, "environment": environment}).encode()
        socket.send_fds(self.control, [message], descriptors)

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            # It has gone and been buried before.
            pass

    def hear(self):
        try:
            data = self.control.recv(MESSAGE_BYTES)
        except ConnectionResetError:
            return None
        return json.loads(data) if data else None


def become_zygote(root, binds, program, parent, control):
    try:
        kernel.die_with(parent)
        room.limit_resources()
        room.be_expendable()
        os.setsid()
        os.dup2(control, 3)
        enter_root(root, binds)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        os.execve(program[0], program, ENVIRONMENT)
    except BaseException as error:
        sys.stderr.write(f"The zygote does not start: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(125)


def enter_root(root, binds):
    """The root as a sandbox has it, and nothing else of the host's; not even root can write in it."""
    trees = [(target, kernel.clone_tree(source)) for source, target in binds]
    tree = kernel.clone_tree(root)
    kernel.unshare(kernel.NEWNS)
    kernel.mount(None, "/", None, kernel.REC_PRIVATE)
    kernel.mount("tmpfs", room.STAGE, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755,size=4m")
    for folder in (room.LOWER, room.DISK, room.MERGED):
        os.mkdir(folder)
    kernel.attach_tree(tree, room.LOWER)
    for name in ("upper", "work"):
        os.mkdir(f"{room.DISK}/{name}")
    options = f"lowerdir={room.LOWER},upperdir={room.DISK}/upper,workdir={room.DISK}/work"
    kernel.mount("overlay", room.MERGED, "overlay", kernel.NOSUID | kernel.NODEV, options)
    for target, added in trees:
        os.makedirs(room.MERGED + target, exist_ok=True)
        kernel.attach_tree(added, room.MERGED + target)
    for folder in WRITABLE:
        kernel.mount("tmpfs", room.MERGED + folder, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=700,size=16m")
    # What libraries worked out when the root was built, such as the list of fonts, is not worked out at every start.
    if os.path.isdir(room.LOWER + CACHE):
        shutil.copytree(room.LOWER + CACHE, room.MERGED + CACHE)
    kernel.mount("proc", f"{room.MERGED}/proc", "proc", kernel.NOSUID | kernel.NODEV)
    os.chdir(room.MERGED)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")
    kernel.mount(None, "/", None, kernel.REMOUNT_RDONLY)
