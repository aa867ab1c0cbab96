"""Children of a metric by their labels: a bounded number of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OVERFLOW", "Bounded"]

OVERFLOW: Final = "_overflow"
"""The label value that stands for all beyond `max_series`."""

_Child = TypeVar("_Child")
_Labels = tuple[str, ...]


class Bounded(Generic[_Child]):
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
        labels = tuple(map(_clean, labels))
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


def _clean(value: str) -> str:
    """The value as valid UTF-8; one lone surrogate, from a file name for instance, would break the whole scrape."""
    return str(value).encode("utf-8", "replace").decode("utf-8")
