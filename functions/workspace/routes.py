"""Which handler answers which request."""

from contract import OPERATIONS
from intake import decode_segment
from problem import Problem


class Route:
    """An operation of the contract and the function that answers it."""

    def __init__(self, name, handler):
        self.name, self.handler = name, handler
        self.operation = OPERATIONS[name]
        self.method = self.operation["method"].upper()
        self.segments = _segments(self.operation["path"])
        # Whether it takes every method, and whatever follows its path.
        self.rest = self.operation.get("rest", False)

    def match(self, segments):
        """The path's parameters; None for a path of another route."""
        if len(segments) != len(self.segments) and not (self.rest and len(segments) > len(self.segments)):
            return None
        params = {}
        for part, segment in zip(self.segments, segments):
            if part.startswith(":"):
                params[part[1:]] = decode_segment(segment)
            elif part != segment:
                return None
        return params


class Routes:
    """The routes of a workspace, in the order of the contract."""

    def __init__(self, handlers):
        unknown = set(handlers) - set(OPERATIONS)
        if unknown:
            raise ValueError(f"no operations of the contract: {sorted(unknown)}")
        self._routes = [Route(name, handlers[name]) for name in OPERATIONS if name in handlers]

    def of(self, call):
        """The route of a request, and its path's parameters."""
        return self.find(call.method, call.path)

    def find(self, method, path):
        """The route that answers, and its path's parameters; a Problem when there is none."""
        segments = _segments(path)
        there = [(route, params) for route in self._routes if (params := route.match(segments)) is not None]
        for route, params in there:
            if route.method == method or route.rest:
                return route, params
        if there:
            raise Problem("method_not_allowed", method=method, allowed=[route.method for route, _ in there])
        raise Problem("route_not_found", path=path)


def _segments(path):
    return [segment for segment in path.split("/") if segment]
