"""The options of the provider, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from prometheus_client import CollectorRegistry

from dotflow.errors import InvalidOption
from dotflow.names.metrics import DURATION_BUCKETS

__all__ = ["check_host", "check_max_series", "check_port", "checked_buckets", "checked_registry"]

_HIGHEST_PORT = 65535


def checked_registry(registry: object) -> CollectorRegistry:
    """The registry; a new one for None."""
    if registry is None:
        return CollectorRegistry()
    if not isinstance(registry, CollectorRegistry):
        raise InvalidOption(f"registry={registry!r}: a prometheus_client.CollectorRegistry, or None for one of its own")
    return registry


def check_port(port: object) -> None:
    """Raise unless it is None or the number of a port."""
    if port is not None and not (_is_int(port) and 0 <= port <= _HIGHEST_PORT):  # type: ignore[operator]
        raise InvalidOption(f"port={port!r}: a whole number from 0 (any free port) to {_HIGHEST_PORT}, or None")


def check_host(host: object) -> None:
    """Raise unless it is a text."""
    if not isinstance(host, str) or not host.strip():
        raise InvalidOption(f"host={host!r}: a name or an address of this machine, for instance '127.0.0.1'")


def check_max_series(max_series: object) -> None:
    """Raise unless it is a whole number, 1 or more."""
    if not (_is_int(max_series) and max_series >= 1):  # type: ignore[operator]
        raise InvalidOption(f"max_series={max_series!r}: a whole number, 1 or more")


def checked_buckets(buckets: object) -> tuple[float, ...]:
    """The upper bounds in seconds; those of `dotflow.names.metrics` for None."""
    if buckets is None:
        return DURATION_BUCKETS
    bounds = tuple(buckets) if isinstance(buckets, Iterable) and not isinstance(buckets, (str, bytes)) else ()
    if not bounds or not all(map(_is_duration, bounds)) or any(a >= b for a, b in pairwise(bounds)):
        raise InvalidOption(
            f"buckets={buckets!r}: the upper bounds in seconds, finite numbers above 0, each greater than the one before"
            " (the last bucket, +Inf, is implied)"
        )
    return tuple(map(float, bounds))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 and math.isfinite(value)
