"""Builds one instance around the calling process and becomes bubblewrap in it. Never returns."""

import errno
import os
import resource
import socket
import stat

from kernel import (
    BROWSER_NAMESPACES, NEWNS, NOATIME, NODEV, NOSUID, RDONLY, REC_PRIVATE,
    attach_tree, clone_tree, copy_sparse, die_with, loop_device, mount, unshare, user_namespace, write_file,
)  # fmt: skip

# Everything of an instance is mounted under this one neutral name, which /proc/mounts shows inside.
STAGE = "/mnt"
LOWER, DISK, MERGED, NOTHING, NO_FILE = (f"{STAGE}/{name}" for name in ("root", "disk", "merged", "empty", "none"))
# An image's own root stands beside the sandbox's, on the same disk, and is the root of the image's program alone.
IMAGE_LOWER, IMAGE_MERGED, IMAGE_INSIDE = f"{STAGE}/image", f"{STAGE}/beside", "/opt/cleanroom/image"
# What of /proc tells about the host and its kernel. Each mask costs a fifth of a millisecond, so those that the mode
# keeps from everybody but the host's root, whom nobody inside can be, are left to it.
SECRET = ("kallsyms", "keys", "key-users", "cmdline", "timer_list", "kpagecount", "kpageflags", "sched_debug", "sysrq-trigger")
TELLING = ("acpi", "asound", "bus", "driver", "fs", "scsi")
ADDED_FILE_BYTES = 4 << 20
MEMORY_EVENTS = "/opt/cleanroom/memory-events"
# Above what the host's own programs have, and little: the kernel adds what a process holds in thousandths of its limit, and
# a workspace that shares much of a small sandbox's worth with every other must still come after the user's code in it.
OOM_SCORE = 100
CAPABILITIES = ("SETUID", "SETGID", "SETPCAP", "KILL", "CHOWN", "DAC_OVERRIDE", "FOWNER")
# Holds a finished room open for a zygote's fork: says so, and waits for what never comes.
HOLD, HELD = ("/bin/sh", "-c", "echo; read -r _"), b"\n"


def masks():
    arguments = []
    for name in (*SECRET, *TELLING):
        path = f"/proc/{name}"
        if os.path.exists(path) and os.stat(path).st_mode & 0o007:
            arguments += ["--ro-bind", NOTHING if os.path.isdir(path) else NO_FILE, path]
    return arguments


MASKS = masks()


def enter(order, parent, ends, seccomp):
    """`order` is the engine's; `ends.status` receives bubblewrap's JSON; `seccomp` is the filter's bytes."""
    for path in order["cgroups"]:
        write_file(path, "0")
    limit_resources()
    be_expendable()
    userns = user_namespace(order["uidBase"], BROWSER_NAMESPACES if order["profile"] == "browser" else {})
    root = open_layer(order["root"], userns, order["idmap"])
    image_root = None if order["image"] is None else open_layer(order["image"], userns, order["idmap"])
    additions = [open_addition(source, target, userns, order["idmap"]) for source, target in (*order["binds"], *order["additions"])]
    counter = open_counter(order["memoryEvents"])
    image = open_disk(order)
    unshare(NEWNS)
    mount(None, "/", None, REC_PRIVATE)
    mount("tmpfs", STAGE, "tmpfs", NOSUID | NODEV, "mode=755,size=64m")
    for folder in (LOWER, DISK, MERGED, NOTHING):
        os.mkdir(folder)
    write_file(NO_FILE, "")
    os.chmod(NO_FILE, 0o444)
    mount_disk(order, image)
    mount_root(order, root)
    if image_root is not None:
        mount_image(order, image_root)
    binds = [stage_addition(index, *addition) for index, addition in enumerate(additions)]
    if counter is not None:
        binds.append(stage_counter(counter))
    filter_pipe = pipe_with(seccomp)
    if order["zygote"] is None:
        os.dup2(ends.listener, 3)
    for number in (ends.status, filter_pipe, userns):
        os.set_inheritable(number, True)
    become(order["uidBase"], parent, bubblewrap(order, binds, userns, ends.status, filter_pipe))


def limit_resources():
    # Of 1 and not 0: no file is so small, and where the host pipes dumps to a program, 1 alone keeps it from being run.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = 65536 if most == resource.RLIM_INFINITY else min(most, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, ceiling))


def be_expendable():
    """Done with privilege this is also the least that anything inside can give itself: a host short of memory keeps its own."""
    with open("/proc/self/oom_score_adj", "r+") as file:
        score = max(int(file.read()), OOM_SCORE)
        file.seek(0)
        file.write(str(score))


def listen(path):
    """A full backlog refuses at once instead of letting the caller wait, so it is made long."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(512)
    return listener.detach()


def open_layer(path, userns, idmap):
    return clone_tree(path, userns if idmap else None)


def open_addition(source, target, userns, idmap):
    """A folder is kept as a tree; a file as its bytes, since one mounted directly would show its host path inside."""
    if stat.S_ISDIR(os.stat(source).st_mode):
        return target, open_layer(source, userns, idmap), None
    if os.stat(source).st_size > ADDED_FILE_BYTES:
        raise OSError(errno.EFBIG, f"{source} is too large to be added as a file; add its folder")
    with open(source, "rb") as file:
        return target, None, file.read()


def stage_addition(index, target, tree, content):
    """Overlays the folder with nothing: the mount table inside then names the overlay and not the host's folder."""
    place = f"{STAGE}/add{index}"
    if tree is None:
        with open(place, "wb") as file:
            file.write(content)
        os.chmod(place, 0o555)
        return place, target
    os.mkdir(place)
    os.mkdir(f"{place}-source")
    attach_tree(tree, f"{place}-source")
    mount("overlay", place, "overlay", NOSUID | NODEV | RDONLY, f"lowerdir={place}-source:{NOTHING}")
    return place, target


def open_counter(path):
    """The kernel's own count of memory kills, by which the workspace tells one from any other kill."""
    return None if path is None else clone_tree(path, None)


def stage_counter(tree):
    """A control group's file is mounted alive; the mount table inside names it by its own group and shows no path of the host."""
    place = f"{STAGE}/memory-events"
    write_file(place, "")
    attach_tree(tree, place)
    return place, MEMORY_EVENTS


def open_disk(order):
    """The image loses its name at once: whatever happens to us, the last user of the disk frees its space."""
    if order["diskTemplate"] is None:
        return None
    path = f"{order['dir']}/disk"
    template = os.open(order["diskTemplate"], os.O_RDONLY | os.O_CLOEXEC)
    image = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        copy_sparse(template, image)
    finally:
        os.close(template)
        os.unlink(path)
    return image


def mount_disk(order, image):
    if image is None:
        size = order["diskMiB"]
        mount("tmpfs", DISK, "tmpfs", NOSUID | NODEV, f"mode=755,size={size}m,nr_inodes={size * 64}")
        return
    device, held = loop_device(image)
    os.close(image)
    mount(device, DISK, "ext4", NOSUID | NODEV | NOATIME, "nodiscard,barrier=0,noinit_itable")
    os.close(held)


def mount_root(order, root):
    base = order["uidBase"]
    attach_tree(root, LOWER)
    for name, mode in (("upper", 0o1777), ("work", 0o700)):
        os.mkdir(f"{DISK}/{name}")
        os.chown(f"{DISK}/{name}", base, base)
        os.chmod(f"{DISK}/{name}", mode)
    if not order["idmap"]:
        for name, owner in (("home", base), ("home/user", base + 1000)):
            os.mkdir(f"{DISK}/upper/{name}", 0o755)
            os.chown(f"{DISK}/upper/{name}", owner, owner)
    options = f"lowerdir={LOWER},upperdir={DISK}/upper,workdir={DISK}/work"
    mount("overlay", MERGED, "overlay", NOSUID | NODEV, options)


def mount_image(order, root):
    """Whose files nobody inside can shift to other owners is of no use, and yet no less sealed."""
    base = order["uidBase"]
    for folder in (IMAGE_LOWER, IMAGE_MERGED):
        os.mkdir(folder)
    attach_tree(root, IMAGE_LOWER)
    for name, mode in (("image", 0o755), ("image-work", 0o700)):
        os.mkdir(f"{DISK}/{name}")
        os.chown(f"{DISK}/{name}", base, base)
        os.chmod(f"{DISK}/{name}", mode)
    options = f"lowerdir={IMAGE_LOWER},upperdir={DISK}/image,workdir={DISK}/image-work"
    mount("overlay", IMAGE_MERGED, "overlay", NOSUID | NODEV, options)


def bubblewrap(order, binds, userns, status, seccomp):
    """`--block-fd` is there for what it does last, closing that descriptor: without it the command inherits it."""
    arguments = [
        "--userns", str(userns), "--block-fd", str(userns), "--uid", "0", "--gid", "0",
        "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--hostname", "sandbox", "--die-with-parent", "--new-session",
        "--bind", MERGED, "/", "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys",
        "--dev", "/dev", "--perms", "1777", "--size", str(order["shmMiB"] << 20), "--tmpfs", "/dev/shm",
        "--remount-ro", "/dev",
    ]  # fmt: skip
    arguments += MASKS
    for source, target in binds:
        # Folders that bubblewrap makes on its own are for their owner alone; the user's interpreters lie below these.
        arguments += ["--perms", "0755", "--dir", os.path.dirname(target), "--ro-bind", source, target]
    if order["image"] is not None:
        arguments += ["--perms", "0755", "--dir", os.path.dirname(IMAGE_INSIDE), "--bind", IMAGE_MERGED, IMAGE_INSIDE]
    arguments += ["--cap-drop", "ALL"]
    # What only holds the room open needs none; the zygote's fork brings its own and gives them up.
    for name in CAPABILITIES if order["zygote"] is None else ():
        arguments += ["--cap-add", f"CAP_{name}"]
    arguments.append("--clearenv")
    for name, value in order["env"].items():
        arguments += ["--setenv", name, value]
    arguments += ["--chdir", "/", "--json-status-fd", str(status), "--seccomp", str(seccomp)]
    return arguments + ["--", *(order["command"] if order["zygote"] is None else HOLD)]


def pipe_with(content):
    out, into = os.pipe()
    os.write(into, content)
    os.close(into)
    return out


def become(base, parent, arguments):
    """The options travel by descriptor, since /proc/1/cmdline can be read inside; so can the environment, hence none."""
    command = arguments.index("--")
    options = pipe_with(b"".join(word.encode() + b"\0" for word in arguments[:command]))
    os.set_inheritable(options, True)
    os.setgroups([])
    os.setresgid(base, base, base)
    os.setresuid(base, base, base)
    die_with(parent)
    os.execve("/usr/bin/bwrap", ["bwrap", "--args", str(options), *arguments[command:]], {})
