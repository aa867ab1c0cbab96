"""Which series there are, for every Metrics provider alike: a bounded number of label sets, and the runs that go on."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from dotflow.errors import InvalidOption
from dotflow.model.text import storable
from dotflow.names.metrics import DURATION_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OVERFLOW", "ActiveRuns", "LabelSets", "check_max_series", "checked_buckets"]

OVERFLOW: Final = "_overflow"
"""The label value that stands for all beyond `max_series`."""

_Child = TypeVar("_Child")
_Labels = tuple[str, ...]


class LabelSets(Generic[_Child]):
    """Makes a child for each new set of labels, `limit` of them; what comes later shares a spare one.

    Only the first look-up of a child takes a lock. Children are never removed: a counter that vanishes and comes back
    looks to Prometheus like a restart.

    Args:
        make: makes the child of some labels.
        limit: how many children are made for labels that ask for one.
        on_overflow: called with the labels, every time they get the spare child instead of their own. No lock is held.
    """

    def __init__(self, make: Callable[[_Labels], _Child], limit: int, on_overflow: Callable[[_Labels], None]) -> None:
        self._make = make
        self._limit = limit
        self._on_overflow = on_overflow
        self._children: dict[_Labels, _Child] = {}
        self._own = 0
        self._lock = threading.Lock()

    def get(self, labels: _Labels, spare: _Labels) -> _Child:
        """The child of these labels; the one of `spare` if there are too many already."""
        return self._children.get(labels) or self._find_or_make(labels, spare)

    def find(self, labels: _Labels) -> _Child | None:
        """The child of these labels if there is one."""
        return self._children.get(labels)

    def preset(self, labels: _Labels) -> _Child:
        """The child of these labels, made beyond the limit if need be: for the few that are known beforehand."""
        with self._lock:
            return self._child(labels)

    def __iter__(self) -> Iterator[_Child]:
        with self._lock:
            return iter(list(self._children.values()))

    def _find_or_make(self, labels: _Labels, spare: _Labels) -> _Child:
        labels = tuple(storable(str(label)) for label in labels)
        with self._lock:
            if labels in self._children or self._own < self._limit:
                self._own += labels not in self._children
                return self._child(labels)
            child = self._child(spare)
        self._on_overflow(labels)
        return child

    def _child(self, labels: _Labels) -> _Child:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._make(labels)
        return child


class ActiveRuns:
    """Finds the run that ends, also for a caller who tells no more of it than its workflow's id."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[object, str]] = {}
        self._lock = threading.Lock()

    def open(self, workflow_id: str, run_id: str | None, name: str) -> object:
        """A run of the workflow called `name` starts; returns what tells it from others."""
        key: object = run_id or object()
        with self._lock:
            self._runs.setdefault(workflow_id, {})[key] = name
        return key

    def close(self, workflow_id: str, run_id: str | None) -> tuple[object, str | None]:
        """A run ends: the one named, else the one that started first. Its key, and its workflow's name if known."""
        with self._lock:
            runs = self._runs.get(workflow_id, {})
            key: object = run_id or next(iter(runs), None)
            name = runs.pop(key, None)
            if not runs:
                self._runs.pop(workflow_id, None)
        return key, name


def check_max_series(max_series: object) -> None:
    """Raise unless it is a whole number, 1 or more."""
    if isinstance(max_series, bool) or not isinstance(max_series, int) or max_series < 1:
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


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 and math.isfinite(value)
