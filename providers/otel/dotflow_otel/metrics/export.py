"""The way out for metrics: an exporter that is watched, and a reader that sends zeros before the first values."""

from __future__ import annotations

import inspect
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from dotflow.names.spans import SCOPE
from dotflow_otel.export.deliveries import hush, hushed, told_why
from dotflow_otel.metrics.histograms import OwnHistograms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

__all__ = ["Reader", "WatchedExporter"]

_SHARE: Final = 0.75  # of its time that an export waits for its turn, so that it can tell that it never came
_TRIES: Final = (
    5  # of half a millisecond, until the clock says another one; a clock that stands still is not waited for
)


class WatchedExporter(MetricExporter):
    """Passes on what was collected, and knows how many data points did not get through.

    A cumulative point that fails is not lost, because the next one says all that it said: it counts only as long as
    nothing later was delivered. A delta that fails is lost.
    """

    def __init__(self, exporter: MetricExporter) -> None:
        # The contract between a reader and its exporter, though the SDK spells it with underscores.
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001
        self._exporter = exporter
        self.why = ""
        self._failed_at = 0.0
        self._in_hand: MetricsData | None = None
        self._lost = 0
        self._undelivered = 0
        self._lock = threading.Lock()
        hush(exporter)

    @property
    def begins_at_zero(self) -> bool:
        """Whether a series has to be seen at 0 for its first increase to be seen; not so if increases are sent."""
        preferred = self._preferred_temporality or {}
        return preferred.get(ObservableCounter) is not AggregationTemporality.DELTA

    def own_histograms(self, bounds: Sequence[float]) -> OwnHistograms | None:
        """Histograms of our own, for the reader of this exporter; None if exponential ones are wanted.

        https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp/#additional-environment-variable-configuration
        """
        if isinstance((self._preferred_aggregation or {}).get(Histogram), ExponentialBucketHistogramAggregation):
            return None
        preferred = self._preferred_temporality or {}
        return OwnHistograms(bounds, preferred.get(Histogram, AggregationTemporality.CUMULATIVE))

    def has_failed_since(self, moment: float) -> bool:
        """Whether an export has failed since this time of the monotonic clock."""
        return self._failed_at > moment

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Pass it on, and note if it fails. Called by one thread at a time."""
        self._in_hand = metrics_data
        result = self._pass_on(metrics_data, timeout_millis, **kwargs)
        with self._lock:
            in_hand, self._in_hand = self._in_hand, None
            if result is MetricExportResult.SUCCESS:
                self._undelivered = 0
            else:
                self._failed_at = time.monotonic()
                self.why = told_why()
                self._note(in_hand)
        return result

    def refuse(self, metrics_data: MetricsData) -> None:
        """Count this as not delivered, without an attempt."""
        with self._lock:
            self._note(metrics_data)

    def give_up(self) -> bool:
        """Count what is being sent as not delivered, whatever becomes of it; False if nothing is being sent."""
        with self._lock:
            in_hand, self._in_hand = self._in_hand, None
            self._note(in_hand)
        return in_hand is not None

    def take_lost(self) -> int:
        """How many data points did not get through since this was last asked."""
        with self._lock:
            lost, self._lost, self._undelivered = self._lost + self._undelivered, 0, 0
            return lost

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the exporter; `timeout_millis` is milliseconds."""
        return self._exporter.force_flush(timeout_millis)

    def _pass_on(self, data: MetricsData, timeout_millis: float | None, **kwargs: Any) -> MetricExportResult:
        millis = 10_000 if timeout_millis is None else timeout_millis
        try:
            return hushed(lambda: self._exporter.export(data, millis, **kwargs))
        except Exception:  # noqa: BLE001 - counted, and told of by the engine
            return MetricExportResult.FAILURE

    def _note(self, data: MetricsData | None) -> None:
        if data is not None:  # not counted yet
            deltas, others = _points(data)
            self._lost += deltas
            self._undelivered = others


class Reader(PeriodicExportingMetricReader):
    """Collects and exports at every interval, when it is flushed and when it is shut down: one at a time.

    It is the SDK's periodic reader with a thread of our own, because of what a backend refuses. Whoever exports has
    waited for its turn before it collects, so nothing older is sent after something newer; and no two collections fall
    into one millisecond, which is all that Prometheus tells apart (it refuses the second one as a duplicate).

    An export that had to wait for another which failed, or which does not come to its end, is not even tried: a
    collector that does not answer is waited for once, and not once for each of them.

    Only the process that made it exports: a forked child would send what its parent sends as well.
    """

    def __init__(self, exporter: WatchedExporter, histograms: OwnHistograms | None, max_series: int) -> None:
        self._watched = exporter
        self._histograms = histograms
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._taking = threading.local()
        self._collected_at = 0
        self._interval_seconds = _seconds("OTEL_METRIC_EXPORT_INTERVAL", 60.0)
        self._timeout_seconds = _seconds("OTEL_METRIC_EXPORT_TIMEOUT", 30.0)
        self._thread = threading.Thread(target=self._tick, name="dotflow-metrics", daemon=True)
        super().__init__(
            exporter, math.inf, **_limits(max_series)
        )  # for ever: it starts no thread, nor one after a fork

    def start(self) -> None:
        """Export every so often from now on: `OTEL_METRIC_EXPORT_INTERVAL`."""
        self._thread.start()

    def send_zeros(self) -> None:
        """Collect now, before anything has happened, and send it in a thread of its own.

        A script may end before the first interval does: its counters would be born at what the run has come to, which
        is invisible to `increase()`. Nothing is done while something else is being sent, because this must not wait.
        """
        if not self._watched.begins_at_zero or self.is_forked or not self._turn.acquire(blocking=False):
            return
        thread = None
        try:
            collected: list[MetricsData] = []
            self._collect_for(collected.append, self._timeout_seconds)
            if collected:
                thread = threading.Thread(target=self._send, args=collected, name="dotflow-metrics-zeros", daemon=True)
                thread.start()
        finally:
            if thread is None or not thread.ident:
                self._turn.release()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Export what there is; False if that could not be tried."""
        return self._export_all(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Export what there is, in the thread that does it all the time, and end that; not waiting longer than this."""
        self._ended.set()
        if self._thread.ident and not self.is_forked:
            self._thread.join(timeout_millis / 1000)
        super().shutdown(timeout_millis, **kwargs)

    @property
    def is_forked(self) -> bool:
        """Whether this is the copy that a forked child has."""
        return os.getpid() != self._pid

    def _tick(self) -> None:
        while not self._ended.wait(self._interval_seconds):
            self._export_all(self._timeout_seconds)
        self._export_all(self._timeout_seconds)

    def _export_all(self, seconds: float) -> bool:
        """Collect everything and pass it on, after waiting for the turn; what cannot even be tried is counted."""
        if self.is_forked:
            return False
        since = time.monotonic()
        has_turn = self._turn.acquire(timeout=_SHARE * seconds)
        try:
            is_tried = has_turn and not self._watched.has_failed_since(since)
            self._collect_for(self._pass_on if is_tried else self._watched.refuse, seconds)
        finally:
            if has_turn:
                self._turn.release()
        return is_tried

    def _collect_for(self, take: Callable[[MetricsData], None], seconds: float) -> None:
        for _ in range(_TRIES):
            if _millis() != self._collected_at:
                break
            time.sleep(0.0005)
        self._taking.by = take
        try:
            self.collect(seconds * 1000)
        finally:
            self._taking.by = None

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        """Called by `collect`."""
        del timeout_millis, kwargs
        if self._histograms is not None:
            metrics_data = self._histograms.add_to(metrics_data, SCOPE)
        self._collected_at = _millis()
        take: Callable[[MetricsData], None] = getattr(self._taking, "by", None) or self._pass_on
        take(metrics_data)

    def _send(self, data: MetricsData) -> None:
        try:
            self._pass_on(data)
        finally:
            self._turn.release()

    def _pass_on(self, data: MetricsData) -> None:
        # The SDK's way, with instrumentation suppressed: the exporter's own requests are no spans of the application.
        super()._receive_metrics(data)


def _points(data: MetricsData) -> tuple[int, int]:
    """How many data points are deltas, and how many are not."""
    deltas = others = 0
    for of_resource in data.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                temporality = getattr(metric.data, "aggregation_temporality", None)
                count = len(metric.data.data_points)
                if temporality is AggregationTemporality.DELTA:
                    deltas += count
                else:
                    others += count
    return deltas, others


def _seconds(variable: str, default: float) -> float:
    """The milliseconds of a variable, as seconds; the default of the specification for what makes no sense.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#periodic-exporting-metricreader
    """
    try:
        given = float(os.environ.get(variable, ""))
    except ValueError:
        return default
    return given / 1000 if 0 < given < math.inf else default


def _millis() -> int:
    return time.time_ns() // 1_000_000


def _limits(max_series: int) -> dict[str, Any]:
    """The SDK's own limit, where it has one, out of the way of ours: as many series, each with two statuses."""
    if "cardinality_limits" not in inspect.signature(PeriodicExportingMetricReader).parameters:
        return {}
    limit = 2 * (2 * max_series + 1)  # max_series of them, and `_overflow` of each of their parents
    kinds = (Counter, Histogram, ObservableCounter, ObservableGauge)
    return {"cardinality_limits": dict.fromkeys(kinds, limit)}
