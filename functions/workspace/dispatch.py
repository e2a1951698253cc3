"""One request from its head to its answer: who asks, which route, what it says, and the wording of every failure."""

import json
import os
import re
import time

from call import STREAMED, Call, Gone
from connection import NOT_YET
from intake import read_input
from log import log_failure
from problem import Problem

REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
OPEN = "checkHealth"
UNCOUNTED = (OPEN, "readActivity")


def serve_request(workspace, connection):
    """Answers one request, if it is there as a whole; False when the connection is of no more use."""
    request = connection.next_request()
    if request is None or request is NOT_YET:
        return request is NOT_YET
    method, target, headers = request
    path, _, query = target.partition("?")
    call = Call(connection, method, path, headers, _request_id(headers))
    call.raw_query = query
    try:
        try:
            _dispatch(workspace, call, query)
        except Exception as error:
            _fail(connection, call, error)
        return connection.finish()
    except Gone:
        return False


def _dispatch(workspace, call, query):
    route, call.params = workspace.routes.of(call)
    if route.name != OPEN:
        workspace.guard.admit(call.headers)
    end = None if route.name in UNCOUNTED else workspace.activity.begin()
    try:
        read_input(route.operation, call, query)
        value = route.handler(call)
    finally:
        if end:
            end()
    if value is STREAMED:
        call.finish()
        return
    status = route.operation["status"]
    if value is None:
        call.answer(status, {}, None)
    else:
        call.answer(status, {"content-type": "application/json"}, encode(value))


def encode(value):
    """A value as compact JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # Half of a character has no encoding of its own, but JSON has a way to say it.
        return json.dumps(value, separators=(",", ":")).encode()


def _fail(connection, call, error):
    """Answers a failure. Where an answer has begun the connection ends, so that what was sent does not look whole."""
    if isinstance(error, Gone):
        raise error
    if not isinstance(error, Problem):
        log_failure(f"{call.method} {call.path}", error, call.request_id)
    if connection.answered:
        raise Gone
    problem = error if isinstance(error, Problem) else Problem("internal")
    call.answer(problem.status, {"content-type": "application/problem+json"}, encode(problem.body(call.request_id)))


def _request_id(headers):
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else new_id(time.time_ns() // 1_000_000)


def new_id(now_ms):
    """A new ULID: 48 bits of time, 80 random bits, sortable as text."""
    moment = "".join(ALPHABET[now_ms >> shift & 31] for shift in range(45, -5, -5))
    return moment + "".join(ALPHABET[byte & 31] for byte in os.urandom(16))
