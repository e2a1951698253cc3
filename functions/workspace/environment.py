"""The variables that user code is started with, over and above the fixed ones."""

import re

TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def trace_variables(call):
    """What tells a program its place in a trace, as OpenTelemetry's tools read it (W3C Trace Context)."""
    given = call.headers.get("traceparent", "")
    return {"TRACEPARENT": given} if TRACEPARENT.fullmatch(given) else {}


class SandboxEnvironment:
    """Set by the gateway; what starts afterwards has them."""

    def __init__(self):
        self._variables = {}

    def set(self, variables):
        self._variables = dict(variables)

    def with_own(self, own=None):
        """The sandbox's variables, overridden by a request's own."""
        return {**self._variables, **(own or {})}
