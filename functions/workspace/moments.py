"""Moments as they are written on the wire."""

import time

# What a year of four digits can say: a file may claim to be of any time.
FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799


def iso_moment(ns):
    """ISO 8601 in UTC, to the millisecond."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", _parts(seconds)) + f".{rest // 1_000_000:03d}Z"


def http_moment(ns):
    """As HTTP's headers have it."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", _parts(ns // 1_000_000_000))


def _parts(seconds):
    return time.gmtime(min(max(seconds, FIRST_S), LAST_S))
