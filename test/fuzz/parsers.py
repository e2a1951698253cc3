"""
The workspace's parsers on call: each line of standard input is a case, each line of standard output what came of it.
It runs in the sandbox's own root as its user, with the modules of the workspace beside it. What is no Problem is a fault.

    parsers.py <root> <modules> <cases>    enters the root first, on a machine where it may
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
import traceback

USER = 1000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
CLONE_NEWNS = 0x20000


def enter(root, modules, cases):
    """Goes where a sandbox's user lives, sees nothing else of the machine's files, and begins anew there."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def done(result):
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def mount(source, target, kind, flags, data=None):
        done(libc.mount(source.encode(), target.encode(), kind, flags, data))

    done(libc.unshare(CLONE_NEWNS))
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", f"{root}/tmp", b"tmpfs", 0, b"size=256m,mode=1777")
    for source, place in ((modules, "opt"), (cases, "mnt"), ("/proc", "proc")):
        mount(source, f"{root}/{place}", None, MS_BIND | MS_REC)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.execv("/usr/bin/python3", ["python3", "-I", "/mnt/parsers.py"])


def serve():
    sys.path.insert(0, "/opt")
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    for line in sys.stdin:
        case = json.loads(line)
        answers.write(json.dumps(answer(case)) + "\n")
        answers.flush()


def answer(case):
    from call import Gone
    from problem import Problem

    try:
        return {"value": WORK[case["do"]](case)}
    except Problem as problem:
        # What is answered has to be JSON that any client reads.
        return {"problem": json.loads(json.dumps(problem.body("fuzz")))["code"]}
    except Gone:
        return {"problem": "gone"}
    except BaseException:
        return {"fault": traceback.format_exc()}


def bytes_of(case, name="bytes"):
    return base64.b64decode(case[name])


def cut(data, sizes):
    """Reads a text of bytes in pieces of these sizes, over and over; at its end there is no more."""
    view, at, turn = memoryview(data), 0, 0

    def read(size=1 << 18):
        nonlocal at, turn
        size = min(size, sizes[turn % len(sizes)])
        turn += 1
        piece = bytes(view[at : at + size])
        at += len(piece)
        return piece

    return read


class Given:
    """As much of a call as reading its input takes."""

    def __init__(self, case, headers=()):
        self.headers = dict(headers)
        self.read = cut(bytes_of(case), case.get("sizes", [1 << 18]))
        self.query, self.body = {}, None


def resolve(case):
    from paths import resolve_path

    return resolve_path("/home/user", case["path"])


def read_input(case):
    import intake
    from contract import OPERATIONS

    call = Given(case)
    intake.read_input(OPERATIONS[case["operation"]], call, case["query"])
    return {"query": call.query, "body": call.body}


def find_route(case):
    from contract import OPERATIONS
    from routes import Routes

    route, params = Routes({name: None for name in OPERATIONS}).find(case["method"], case["path"])
    return {"operation": route.name, "params": params}


def read_form(case):
    from multipart import Form

    parts = []
    for part in Form(case["type"], Given(case).read).parts():
        content = b"".join(bytes(piece) for piece in part.pieces)
        parts.append({"name": part.name, "file": part.file_name, "bytes": base64.b64encode(content).decode()})
    return parts


def take_frames(case):
    from contexts.frames import FrameReader

    reader, read, messages, held = FrameReader(case["limit"]), cut(bytes_of(case), case["sizes"]), [], 0
    try:
        while piece := read():
            for parts in reader.take(piece):
                messages.append([base64.b64encode(part).decode() for part in parts])
            held = max(held, len(reader.held))
    except ValueError:
        return {"messages": messages, "broken": True, "held": held}
    return {"messages": messages, "broken": False, "held": held}


def encode_frame(case):
    from contexts.frames import encode_frame

    return base64.b64encode(encode_frame(case["parts"])).decode()


def hear(case):
    """What a child's life is told to be, when whoever watches over it may be anybody."""
    from nursery import Child

    class Nobody:
        def adopt(self, _pid):
            return told(b"")

    child = Child(Nobody(), "tree", None, None, None, told(bytes_of(case)), None)
    with contextlib.closing(child):
        while not child.hear():
            pass
        return {"pid": child.pid, "status": child.status}


def told(data):
    """A pipe that holds these bytes and no more will."""
    read, write = os.pipe()
    with open(write, "wb") as end:
        end.write(data)
    return read


def admit(case):
    from guard import Guard, proof_key

    Guard(proof_key(case["key"]), lambda: case["now"]).admit(case["headers"])
    return True


def talk(case):
    """The requests that a connection reads from these bytes, each with its body, until it is of no more use."""
    from call import Gone
    from connection import NOT_YET, Connection

    ours, theirs = socket.socketpair()
    requests = []
    connection = Connection(ours)
    try:
        theirs.sendall(bytes_of(case))
        theirs.shutdown(socket.SHUT_WR)
        while len(requests) < 20 and (request := connection.next_request()) is not None:
            if request is NOT_YET:
                continue
            requests.append({"method": request[0], "target": request[1]})
            while connection.read(case.get("size", 7)):
                pass
            connection.answer(200, {}, b"{}")
            if not connection.finish():
                break
    except Gone:
        pass
    finally:
        theirs.close()
        connection.close()
    return requests


def unpack(case):
    """Unpacks into a folder of a small tree, which holds what an archive might reach for; tells what became of both."""
    from problem import Problem
    from unpack import Unpacker

    place = tempfile.mkdtemp(dir="/tmp")
    try:
        root, before = f"{place}/tree/in", plant(place)
        try:
            with Unpacker(root) as unpacker:
                said = unpacker.unpack(Given(case).read)
        except Problem as problem:
            said = {"problem": problem.code}
        except OSError as error:
            from paths import file_problem

            if file_problem(error, root) is None:
                raise
            said = {"problem": file_problem(error, root).code}
        inside = list(kinds(root))
        return {"said": said, "outside": changes(before, place), "inside": inside}
    finally:
        shutil.rmtree(place)


def plant(place):
    os.makedirs(f"{place}/tree/in/own")
    os.makedirs(f"{place}/tree/beside")
    for path in ("canary", "tree/canary", "tree/beside/canary", "tree/in/own/file"):
        with open(f"{place}/{path}", "w") as file:
            file.write(path)
    os.symlink("../../beside", f"{place}/tree/in/own/out")
    os.symlink("own", f"{place}/tree/in/inner")
    return dict(facts(place))


def facts(place):
    """All that lies under a place but not in the folder itself."""
    for folder, folders, files in os.walk(place):
        if folder == f"{place}/tree":
            folders.remove("in")
        for name in [*folders, *files, "."]:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            content = open(path, "rb").read() if stat.S_ISREG(found.st_mode) else b""
            yield path, (found.st_mode, found.st_ino, found.st_nlink, content)


def changes(before, place):
    after = dict(facts(place))
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def kinds(root):
    """Each thing that lies in the folder: where, what kind, its special bits, and for a link whether it leads out of it."""
    real, beside = os.path.realpath(root), os.path.realpath(f"{root}/../beside")
    os.chmod(root, 0o700)
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode):
                # An archive may close its folders; the walk goes on into them.
                os.chmod(path, 0o700)
            kind = next((word for test, word in KINDS if test(mode)), "other")
            leads = os.path.realpath(path)
            # What was there before leads beside the folder, and so may what leads to it.
            known = any(leads == place or leads.startswith(f"{place}/") for place in (real, beside))
            out = kind == "link" and not known
            yield {"path": os.fsencode(os.path.relpath(path, root)).decode("latin-1"), "kind": kind, "bits": mode & 0o7000, "out": out}


KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link"))
WORK = {
    "admit": admit,
    "encode": encode_frame,
    "form": read_form,
    "frames": take_frames,
    "hear": hear,
    "input": read_input,
    "resolve": resolve,
    "route": find_route,
    "talk": talk,
    "unpack": unpack,
}

if __name__ == "__main__":
    enter(*sys.argv[1:]) if len(sys.argv) > 1 else serve()
