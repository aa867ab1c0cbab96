"""The collector: readings in, families of prometheus_client out."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from dotflow.names import metrics as names
from dotflow_prometheus.reading import HistogramReading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dotflow.names.metrics import Metric
    from dotflow_prometheus.reading import Mark, Reading
    from dotflow_prometheus.series import Series

__all__ = ["SeriesCollector", "exemplar_of"]

_Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values
_TRACE_ID = re.compile("[0-9a-f]{32}")
_SPAN_ID = re.compile("[0-9a-f]{16}")


class SeriesCollector(Collector):
    """Gives a registry every metric of the table `dotflow.names.metrics`, and nothing else.

    The values are dotflow's own, not objects of prometheus_client, so there are no `_created` series, whatever the
    process-wide switch for them says, and none of them is switched off for others.
    """

    def __init__(self, series: Series, bounds: tuple[float, ...]) -> None:
        self._series = series
        self._bucket_labels = [_go_float(bound) for bound in (*bounds, float("inf"))]

    def describe(self) -> Iterable[_Family]:
        """The families without samples: the registry looks here whether names collide."""
        return [_family(metric) for metric in names.METRICS]

    def collect(self) -> Iterable[_Family]:
        """The families with what they hold now, in the order of the table."""
        families = {metric.name: _family(metric) for metric in names.METRICS}
        for reading in self._series.read():
            self._add(families[reading.metric.name], reading)
        return list(families.values())

    def _add(self, family: Any, reading: Reading) -> None:
        metric, labels, value, mark = reading
        if isinstance(value, HistogramReading):
            family.add_metric(labels, self._buckets(value), value.sum)
        elif metric.kind == "counter":
            family.add_metric(labels, value, exemplar=exemplar_of(mark))
        elif metric.kind == "gauge":
            family.add_metric(labels, value)
        else:
            family.add_metric((), dict(zip(metric.labels, labels, strict=True)))

    def _buckets(self, value: HistogramReading) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for label, total, mark in zip(self._bucket_labels, accumulate(value.counts), value.marks, strict=True):
            exemplar = exemplar_of(mark)
            buckets.append((label, total) if exemplar is None else (label, total, exemplar))
        return buckets


def _go_float(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _family(metric: Metric) -> _Family:
    name, labels = metric.prometheus, metric.labels
    unit = name[len(metric.name) :].lstrip("_")  # what the table appended to the dotted name
    if metric.kind == "counter":
        return CounterMetricFamily(name, metric.help, labels=labels, unit=unit)
    if metric.kind == "gauge":
        return GaugeMetricFamily(name, metric.help, labels=labels, unit=unit)
    if metric.kind == "histogram":
        return HistogramMetricFamily(name, metric.help, labels=labels, unit=unit)
    return InfoMetricFamily(name, metric.help, labels=())


def exemplar_of(mark: Mark | None) -> Exemplar | None:
    """The mark as an exemplar, or None if its ids are none: a scrape with one bad exemplar is refused as a whole."""
    if mark is None:
        return None
    span, value, time = mark
    if not (_TRACE_ID.fullmatch(str(span.trace_id)) and _SPAN_ID.fullmatch(str(span.span_id))):
        return None
    return Exemplar({"trace_id": span.trace_id, "span_id": span.span_id}, value, time)
