"""The instruments: what `dotflow.names.metrics` lists, as OpenTelemetry's counters, gauges and histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from opentelemetry.context import Context

from dotflow.names import metrics as names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.metrics import Counter, Meter, Observation

    from dotflow.names.metrics import Metric

__all__ = ["Histogram", "Instruments", "Recorder", "SdkHistogram", "observe"]


Recorder = Callable[[float, Context], None]
"""Records a value, in the context of the span that it came from."""


class Histogram(Protocol):
    """A histogram, of the SDK's or of our own."""

    def bind(self, attributes: Mapping[str, str]) -> Recorder:
        """What records a value with these attributes."""


class Instruments:
    """The instruments that are told of a measurement when it is made.

    These are the ones that carry exemplars. All others are read when they are collected (`observe`), which costs a task
    nothing but the addition itself; the SDK takes 6 to 12 microseconds to be told of a measurement.
    """

    def __init__(self, meter: Meter, make_histogram: Callable[[Metric], Histogram]) -> None:
        self.workflow_failed = _counter(meter, names.WORKFLOW_FAILED)
        self.task_failed = _counter(meter, names.TASK_FAILED)
        self.task_retried = _counter(meter, names.TASK_RETRIED)
        self.task_errors = _counter(meter, names.TASK_ERRORS)
        self.schedule_skipped = _counter(meter, names.SCHEDULE_SKIPPED)
        self.provider_errors = _counter(meter, names.PROVIDER_ERRORS)
        self.telemetry_dropped = _counter(meter, names.TELEMETRY_DROPPED)
        self.workflow_duration = make_histogram(names.WORKFLOW_DURATION)
        self.task_duration = make_histogram(names.TASK_DURATION)
        self.task_queue = make_histogram(names.TASK_QUEUE)
        self.schedule_lateness = make_histogram(names.SCHEDULE_LATENESS)


class SdkHistogram:
    """A histogram of the meter's, which comes into being with its first value. A negative one counts as 0."""

    def __init__(self, meter: Meter, metric: Metric, bounds: Sequence[float]) -> None:
        # The bounds go along with the instrument, so they hold with the application's provider as well.
        self._histogram = meter.create_histogram(
            metric.name, metric.unit, metric.help, explicit_bucket_boundaries_advisory=bounds
        )

    def bind(self, attributes: Mapping[str, str]) -> Recorder:
        """What records a value with these attributes."""
        record = self._histogram.record
        return lambda value, context: record(max(0.0, value), attributes, context)


def observe(meter: Meter, metric: Metric, read: Callable[[], Iterable[Observation]]) -> None:
    """Have a counter or a gauge read whenever the meter is collected."""
    if metric.kind == "counter":
        meter.create_observable_counter(metric.name, [lambda _: read()], metric.unit, metric.help)
    else:
        # What is an info in OpenMetrics is a gauge in OTLP, whose value is 1. Never the unit "1": it becomes `_ratio`.
        name = f"{metric.name}.info" if metric.kind == "info" else metric.name
        meter.create_observable_gauge(name, [lambda _: read()], metric.unit, metric.help)


def _counter(meter: Meter, metric: Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.help)
