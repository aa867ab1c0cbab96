"""A counter that remembers the span of its latest increment."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dotflow_prometheus.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dotflow.model.task import SpanContext
    from dotflow.names.metrics import Metric
    from dotflow_prometheus.reading import Mark

__all__ = ["Counter", "CounterSeries"]


class Counter:
    """A count and a mark. Has no lock of its own: whoever owns it holds one."""

    __slots__ = ("mark", "value")

    def __init__(self) -> None:
        self.value = 0
        self.mark: Mark | None = None

    def add(self, amount: int = 1, span: SpanContext | None = None) -> None:
        """Count up; `span`, if there is one, replaces the mark."""
        self.value += amount
        if span is not None:
            self.mark = (span, float(amount), time.time())


class CounterSeries:
    """A counter with labels and a lock, for the metrics whose labels are not known before they happen."""

    __slots__ = ("_counter", "_lock", "_metric", "labels")

    def __init__(self, metric: Metric, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._metric = metric
        self._counter = Counter()
        self._lock = threading.Lock()

    def add(self, amount: int = 1, span: SpanContext | None = None) -> None:
        """Count up."""
        with self._lock:
            self._counter.add(amount, span)

    def read(self) -> Iterable[Reading]:
        """The value now."""
        with self._lock:
            value, mark = self._counter.value, self._counter.mark
        return (Reading(self._metric, self.labels, value, mark),)
