"""AgentRun's upload by form."""

import contextlib
import os
import posixpath
import re
import secrets

from contract import LIMITS
from multipart import Form, broken_form
from paths import resolve_path
from problem import Problem
from transfer import open_regular, read_pieces, write_all, write_whole

FILE_MODE = 0o644
WAITING_PLACE = "/tmp/.cleanroom-upload-"
FIELD_BYTES = 2 * LIMITS["pathBytes"]
FORM = re.compile(r"multipart/form-data\s*;", re.IGNORECASE)


def routes(home):
    """Handlers by operation. Relative paths start at `home`."""
    return {"uploadFile": lambda call: _receive(call, home)}


def _receive(call, home):
    """Streams the form's file to where `path` says. A file that comes before its path waits in a temporary one."""
    content_type = call.headers.get("content-type", "")
    if not FORM.match(content_type):
        raise Problem("invalid_request", detail="The body is not multipart/form-data")
    fields, stored = {}, None
    with contextlib.ExitStack() as waiting:
        for part in Form(content_type, call.read).parts():
            if part.file_name is None:
                fields[part.name] = _text_of(part)
            elif stored is None:
                stored = _store(part, fields.get("path"), home, waiting)
        if stored is None:
            raise Problem("invalid_request", detail="The form has no `file`")
        path, size, name = stored
        if "path" not in fields:
            raise Problem("invalid_request", detail="The form has no `path`")
        return {"path": path, "size": size} if name is None else _move(path, fields["path"], name, home)


def _text_of(part):
    text = bytearray()
    for piece in part.pieces:
        text += piece
        if len(text) > FIELD_BYTES:
            raise broken_form("a field is too long")
    return text.decode("utf-8", "replace")


def _store(part, path, home, waiting):
    """Where the file was put and how large it is; and its own name, when it has to wait for its path."""
    name = re.split(r"[/\\]", part.file_name)[-1]
    if path is not None:
        target = _target_of(path, name, home)
        return target, write_whole(target, FILE_MODE, True, lambda file: _write_pieces(part, file)), None
    place = f"{WAITING_PLACE}{secrets.token_hex(8)}"
    waiting.callback(_remove, place)
    return place, write_whole(place, FILE_MODE, True, lambda file: _write_pieces(part, file)), name


def _write_pieces(part, file):
    size = 0
    for piece in part.pieces:
        size += len(piece)
        if size > LIMITS["uploadBytes"]:
            raise Problem("body_too_large", limitBytes=LIMITS["uploadBytes"])
        write_all(file, piece)
    return size


def _move(place, path, name, home):
    target = _target_of(path, name, home)

    def fill(file):
        with open_regular(place) as (source, found):
            for piece in read_pieces(source, 0, found.st_size):
                write_all(file, piece)
            return found.st_size

    return {"path": target, "size": write_whole(target, FILE_MODE, True, fill)}


def _target_of(path, name, home):
    """A path that names a folder takes the file under its own name."""
    target = resolve_path(home, path)
    folder = path.endswith("/") or os.path.isdir(target)
    return resolve_path(home, posixpath.join(target, name)) if folder else target


def _remove(path):
    with contextlib.suppress(OSError):
        os.unlink(path)
