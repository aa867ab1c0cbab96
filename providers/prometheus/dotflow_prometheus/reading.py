"""A reading: what one series holds at the moment of a scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from dotflow.model.task import SpanContext
    from dotflow.names.metrics import Metric

__all__ = ["HistogramReading", "Mark", "Reading"]

Mark: TypeAlias = "tuple[SpanContext, float, float]"
"""Raw material of an exemplar: the span, the value, and the Unix time (seconds). A plain tuple, as most are never read."""


class HistogramReading(NamedTuple):
    """Observations by bucket (not cumulative; the last one is +Inf), their sum, and the latest mark of each bucket."""

    counts: tuple[int, ...]
    sum: float
    marks: tuple[Mark | None, ...]


class Reading(NamedTuple):
    """The value of one metric under one set of labels, in the order of `metric.labels`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | HistogramReading
    mark: Mark | None = None
