"""How an exception is told to whoever sent the cell; loaded by kernel.py at the first one."""

import traceback


def describe(error, remember_sources, own_file):
    """The exception's text, and its traceback without the interpreter's own frames."""
    remember_sources()
    described = traceback.TracebackException.from_exception(error)
    seen = set()
    drop_own_frames(described, own_file, seen)
    return str(error), "".join(described.format())


def drop_own_frames(described, own_file, seen):
    if described is None or id(described) in seen:
        return
    seen.add(id(described))
    described.stack[:] = [frame for frame in described.stack if frame.filename != own_file]
    for other in (described.__cause__, described.__context__, *(getattr(described, "exceptions", None) or ())):
        drop_own_frames(other, own_file, seen)
