"""Histograms of our own, which a reader of our own adds to what the SDK collects.

The SDK's cannot exist without a value. A script records the duration of its run once: a histogram that is born with it
never increases, so there would be no rates and no quantiles. These exist at 0, like the counters. And a value costs a
task 1 microsecond in place of 10, because its attributes are looked at once and not every time.
"""

from __future__ import annotations

import math
import os
import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.trace import get_current_span

from dotflow_otel.metrics.exemplars import NO_SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context

    from dotflow.names import metrics as names

__all__ = ["OwnHistogram", "OwnHistograms"]

_NONE: Final[Any] = None  # what the smallest and the greatest value are while there is none: left out of the message


class OwnHistograms:
    """All of them. `temporality` is what is sent: the increase since the last time, or the sum of all."""

    def __init__(self, bounds: Sequence[float], temporality: AggregationTemporality) -> None:
        self._bounds = tuple(bounds)
        self._temporality = temporality
        self._made: list[OwnHistogram] = []

    def make(self, metric: names.Metric) -> OwnHistogram:
        """One of them."""
        made = OwnHistogram(metric, self._bounds)
        self._made.append(made)
        return made

    def add_to(self, data: MetricsData, scope: str) -> MetricsData:
        """What was collected, with these histograms as of now in the scope of this name."""
        now = time.time_ns()
        ours = [metric for made in self._made if (metric := made.collect(self._temporality, now)) is not None]
        return MetricsData([_with(ours, of_resource, scope) for of_resource in data.resource_metrics])


class OwnHistogram:
    """One histogram, with one cell for each set of attributes."""

    def __init__(self, metric: names.Metric, bounds: tuple[float, ...]) -> None:
        self._metric = metric
        self._bounds = bounds
        self._cells: list[_Cell] = []
        self._keeps = _exemplar_filter()

    def bind(self, attributes: Mapping[str, str]) -> Callable[[float, Context], None]:
        """What records a value with these attributes, which nobody may have been given before."""
        cell = _Cell(attributes, self._bounds, self._keeps)
        self._cells.append(cell)
        return cell.record

    def collect(self, temporality: AggregationTemporality, now: int) -> Metric | None:
        """All of it, as of `now`; None if there is nothing to send."""
        points = [point for cell in list(self._cells) if (point := cell.collect(temporality, now)) is not None]
        metric = self._metric
        return Metric(metric.name, metric.help, metric.unit, Histogram(points, temporality)) if points else None


class _Cell:
    """The values with one set of attributes."""

    __slots__ = ("_attributes", "_bounds", "_counts", "_exemplars", "_keeps", "_lock", "_max", "_min", "_since", "_sum")

    def __init__(
        self, attributes: Mapping[str, str], bounds: tuple[float, ...], keeps: Callable[[Context], bool]
    ) -> None:
        self._attributes = attributes
        self._bounds = bounds
        self._keeps = keeps
        self._lock = threading.Lock()
        self._exemplars: dict[int, tuple[float, int, Context]] = {}
        self._min: float
        self._max: float
        self._begin(time.time_ns())

    def record(self, value: float, context: Context) -> None:
        """Add a value; a negative one, or NaN, counts as 0. Of each bucket, the latest exemplar is kept until it is collected."""
        value = max(0.0, value)
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += 1
            self._sum += value
            self._min = min(self._min, value)
            self._max = max(self._max, value)
            if self._keeps(context):
                self._exemplars[bucket] = value, time.time_ns(), context

    def collect(self, temporality: AggregationTemporality, now: int) -> HistogramDataPoint | None:
        """What is to be sent; None if that is nothing."""
        is_delta = temporality is AggregationTemporality.DELTA
        with self._lock:
            exemplars, self._exemplars = self._exemplars, {}
            count, start, counts = sum(self._counts), self._since, tuple(self._counts)
            total, least, most = self._sum, self._min, self._max
            if is_delta:
                self._begin(now)
        if is_delta and not count:
            return None
        return HistogramDataPoint(
            attributes=dict(self._attributes),
            start_time_unix_nano=start,
            time_unix_nano=now,
            count=count,
            sum=total,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            min=least if count else _NONE,
            max=most if count else _NONE,
            exemplars=[_exemplar(*exemplars[bucket]) for bucket in sorted(exemplars)],
        )

    def _begin(self, now: int) -> None:
        self._since = now
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._min = math.inf
        self._max = -math.inf


def _with(ours: list[Metric], of_resource: ResourceMetrics, name: str) -> ResourceMetrics:
    scopes = [
        ScopeMetrics(of.scope, [*of.metrics, *ours], of.schema_url) if of.scope.name == name else of
        for of in of_resource.scope_metrics
    ]
    return ResourceMetrics(of_resource.resource, scopes, of_resource.schema_url)


def _exemplar(value: float, time_ns: int, context: Context) -> Exemplar:
    span = get_current_span(context).get_span_context()
    ids = (span.span_id, span.trace_id) if span.is_valid else (None, None)
    return Exemplar({}, value, time_ns, *ids)


def _exemplar_filter() -> Callable[[Context], bool]:
    """What the SDK's filter of this name says; a context with a span has a sampled one.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#exemplar
    """
    chosen = os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "").strip()
    if chosen in ("always_on", "always_off"):
        return lambda _: chosen == "always_on"
    return lambda context: context is not NO_SPAN
