"""What programs inside say of themselves: spans of OTLP in JSON, bounded, and held until the gateway fetches them."""

import json
import math
import re
import threading
import time
from collections import deque

from contract import LIMITS
from guard import refuse_clients

TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
NAME_CHARS, KEY_CHARS, VALUE_CHARS, ATTRIBUTES = 256, 128, 1024, 64
STATUS = {1: "ok", 2: "error"}
# What one fetch brings at most.
FETCHED_BYTES = 1 << 20


def routes(said):
    """What answers which operation."""
    return {"takeSaid": lambda call: take(said, call)}


def take(said, call):
    refuse_clients(call)
    return said.take(call.query["received"])


class Said:
    """Spans that wait. What is too many, too fast or no span is counted."""

    def __init__(self, now_s=time.monotonic):
        self._now_s = now_s
        self._lock = threading.Lock()
        self._waiting = deque()
        self._bytes = 0
        self._dropped = 0
        # What was handed out last, until somebody says that it has arrived.
        self._handed = {"batch": 0, "spans": [], "dropped": 0}
        self._left = float(LIMITS["saidSpansWaiting"])
        self._at_s = now_s()

    def add(self, document):
        """Takes the spans of one document; answers how many it did not, and why."""
        taken = rejected = 0
        for span in spans_in(document):
            if span is None or not self._admit(json.dumps(span, separators=(",", ":")).encode()):
                rejected += 1
            else:
                taken += 1
        return taken, rejected

    def take(self, received):
        """
        The oldest spans, and how many were dropped since it was last said. They are handed out again until their batch is
        said to be received: an answer that comes too late is nobody's.
        """
        with self._lock:
            if received == self._handed["batch"]:
                self._handed = {"batch": received + 1, **self._next()}
            handed = self._handed
            more = bool(self._waiting) or bool(handed["spans"]) or handed["dropped"] > 0
        return {**handed, "spans": [json.loads(one) for one in handed["spans"]], "more": more}

    def _next(self):
        taken, size = [], 0
        while self._waiting and size + len(self._waiting[0]) <= FETCHED_BYTES:
            size += len(self._waiting[0])
            taken.append(self._waiting.popleft())
        self._bytes -= size
        dropped, self._dropped = self._dropped, 0
        return {"spans": taken, "dropped": dropped}

    def _admit(self, encoded):
        with self._lock:
            now_s = self._now_s()
            gained = max(0.0, now_s - self._at_s) * LIMITS["saidSpansPerSecond"]
            self._left = min(float(LIMITS["saidSpansWaiting"]), self._left + gained)
            self._at_s = now_s
            has_room = len(self._waiting) < LIMITS["saidSpansWaiting"] and self._bytes + len(encoded) <= LIMITS["saidBytesWaiting"]
            if self._left < 1 or not has_room:
                self._dropped += 1
                return False
            self._left -= 1
            self._waiting.append(encoded)
            self._bytes += len(encoded)
            return True


def spans_in(document):
    """The spans of an OTLP document, each in our own words, or None for what is none. Raises ValueError for another document."""
    for resource in listed(document, "resourceSpans"):
        of_resource = pairs(mapping(resource, "resource"))
        service = of_resource.get("service.name")
        for scope in [*listed(resource, "scopeSpans"), *listed(resource, "instrumentationLibrarySpans")]:
            name = mapping(scope, "scope").get("name")
            for span in listed(scope, "spans"):
                yield span_of(span, service, name)


def span_of(span, service, scope):
    try:
        trace_id, span_id = span["traceId"].lower(), span["spanId"].lower()
        parent = (span.get("parentSpanId") or "").lower()
        if not (TRACE_ID.fullmatch(trace_id) and SPAN_ID.fullmatch(span_id)) or (parent and not SPAN_ID.fullmatch(parent)):
            return None
        start_ns, end_ns = int(span["startTimeUnixNano"]), int(span.get("endTimeUnixNano") or span["startTimeUnixNano"])
        attributes = pairs(span)
        status = span.get("status") or {}
        said = {
            "traceId": trace_id,
            "spanId": span_id,
            "name": text_of(span.get("name") or "span", NAME_CHARS),
            "startMs": bounded_ms(start_ns),
            "durationMs": bounded_ms(max(0, end_ns - start_ns)),
            "status": STATUS.get(int(status.get("code") or 0), "unknown"),
        }
        if isinstance(service, str):
            attributes.setdefault("service.name", service)
        if isinstance(scope, str) and scope:
            attributes.setdefault("otel.scope.name", text_of(scope, VALUE_CHARS))
        events, links = span.get("events"), span.get("links")
        for name, several in (("otel.events", events), ("otel.links", links)):
            if isinstance(several, list) and several:
                attributes.setdefault(name, len(several))
        if parent:
            said["parentSpanId"] = parent
        if isinstance(status.get("message"), str) and status["message"]:
            said["statusMessage"] = text_of(status["message"], VALUE_CHARS)
        return {**said, "attributes": dict(list(attributes.items())[:ATTRIBUTES])}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def bounded_ms(nanoseconds):
    """Milliseconds with their fractions; a time that no clock has is none."""
    milliseconds = nanoseconds / 1_000_000
    if not 0 <= milliseconds < 2**53:
        raise ValueError("no time")
    return milliseconds


def pairs(holder):
    found = {}
    for one in listed(holder, "attributes")[: 2 * ATTRIBUTES]:
        if isinstance(one, dict) and isinstance(one.get("key"), str):
            value = value_of(one.get("value"))
            if value is not None:
                found[text_of(one["key"], KEY_CHARS)] = value
    return found


def value_of(value):
    """A value as text, number or truth; what is made of several is JSON."""
    if not isinstance(value, dict):
        return None
    for kind, said in value.items():
        if kind == "boolValue" and isinstance(said, bool):
            return said
        if kind == "intValue" and isinstance(said, (int, str)):
            number = int(said)
            return number if abs(number) < 2**53 else str(number)[:VALUE_CHARS]
        if kind == "doubleValue" and isinstance(said, (int, float)):
            return said if math.isfinite(said) else str(said)
        if kind in ("stringValue", "bytesValue") and isinstance(said, str):
            return text_of(said, VALUE_CHARS)
        if kind in ("arrayValue", "kvlistValue"):
            return text_of(json.dumps(said), VALUE_CHARS)
    return None


def text_of(text, most):
    """At most so many characters; half of a character is none."""
    return str(text)[:most].encode("utf-8", "replace").decode()


def listed(holder, name):
    return of_kind(holder, name, list, [])


def mapping(holder, name):
    return of_kind(holder, name, dict, {})


def of_kind(holder, name, kind, nothing):
    if not isinstance(holder, dict):
        raise ValueError(f"what should hold `{name}` is no object")
    found = holder.get(name)
    if found is None:
        return nothing
    if not isinstance(found, kind):
        raise ValueError(f"`{name}` is not as OTLP has it")
    return found
