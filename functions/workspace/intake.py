"""Reads what an operation takes from a request: its query and its JSON body, bounded while they arrive."""

import json
import re
import urllib.parse

import schema
from problem import Problem

# What the contract's own reader takes for blanks, which is not what Python does.
BLANK = re.compile("[\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]*")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def read_input(operation, call, query):
    """Fills in the call's query and body; a Problem names each field that is wrong."""
    issues = []
    if "body" in operation:
        given = _read_json(call, operation["bodyLimitBytes"])
    if "query" in operation:
        call.query, found = schema.parse(operation["query"], _query_of(query), "query", coerce=True)
        _refuse(found)
    if "body" in operation:
        call.body, issues = schema.parse(operation["body"], given, "body")
        _refuse(issues)


def decode_segment(text):
    """One part of a path, without its percent escapes."""
    try:
        if BROKEN_ESCAPE.search(text):
            raise ValueError
        return urllib.parse.unquote_to_bytes(text).decode()
    except ValueError:
        raise Problem("invalid_request", detail="The path holds a broken percent escape") from None


def read_whole(call, limit_bytes):
    """A body of at most `limit_bytes`; refused as soon as it is known to be larger."""
    announced = call.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise Problem("body_too_large", limitBytes=limit_bytes)
    pieces, size = [], 0
    while piece := call.read():
        size += len(piece)
        if size > limit_bytes:
            raise Problem("body_too_large", limitBytes=limit_bytes)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_json(call, limit_bytes):
    """An empty body is `{}`, as clients that send none expect."""
    raw = read_whole(call, limit_bytes)
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    if BLANK.fullmatch(text):
        return {}
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if not SURROGATE.search(raw):
            return value
        # Half of a character is none: it becomes what any decoder makes of it.
        units = json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
        return json.loads(units.decode("utf-16-le", "replace"))
    except RecursionError:
        raise Problem("invalid_json", detail="It is nested too deeply") from None
    except ValueError as error:
        raise Problem("invalid_json", detail=str(error)) from None


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def _query_of(text):
    """The last of several values of one name counts."""
    return dict(urllib.parse.parse_qsl(text, keep_blank_values=True, errors="replace")) if text else {}


def _refuse(issues):
    if issues:
        detail = "; ".join(f"{issue['field']}: {issue['problem']}" for issue in issues)
        raise Problem("invalid_request", detail=detail, issues=issues)
