"""A histogram of seconds that remembers, for each bucket, the span of the latest observation."""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from dotflow_prometheus.reading import HistogramReading

if TYPE_CHECKING:
    from dotflow.model.task import SpanContext
    from dotflow_prometheus.reading import Mark

__all__ = ["Histogram"]


class Histogram:
    """Observations by bucket. Has no lock of its own: whoever owns it holds one.

    `bounds` are the upper bounds in seconds, inclusive, without +Inf.
    """

    __slots__ = ("_bounds", "_counts", "_marks", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._marks: list[Mark | None] = [None] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, span: SpanContext | None = None) -> None:
        """Count a duration. A negative one or NaN counts as 0: it would spoil the sum, which must not go down."""
        seconds = max(0.0, seconds)
        bucket = bisect_left(self._bounds, seconds)
        self._counts[bucket] += 1
        self._sum += seconds
        if span is not None:
            self._marks[bucket] = (span, seconds, time.time())

    def read(self) -> HistogramReading:
        """The state now."""
        return HistogramReading(tuple(self._counts), self._sum, tuple(self._marks))
