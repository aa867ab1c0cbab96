"""What the metrics of a task cost over OpenTelemetry: MetricsOpenTelemetry, and the same series by hand with the SDK.

All in one run, in turn, because a machine's speed drifts; the ratios are what to quote. Nothing is collected or sent while
it is measured: this is the work in the program's own thread. MetricsPrometheus stands beside it for comparison.

    python benchmarks/otel_metrics.py [--rounds 7] [--tasks 5000]
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from typing import TYPE_CHECKING

# Before the SDK reads them: nothing is collected by itself, and nobody listens where it would be sent at the end.
os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "86400000"
os.environ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = "delta"  # no zeros are sent first

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NonRecordingSpan, TraceFlags, set_span_in_context
from opentelemetry.trace import SpanContext as OtelSpanContext

from dotflow import action
from dotflow.model.task import SpanContext, Task
from dotflow.names import metrics as names
from dotflow.providers import MetricsOpenTelemetry, MetricsPrometheus

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.abc import Metrics

NOBODY = "http://127.0.0.1:9"
TRACE_ID, SPAN_ID = "5e41b7a2127e31da90c7d385250f8bf6", "c1d2e3f405162738"


@action
def noop() -> None:
    """The work, which is none."""


def made_task() -> Task:
    task = Task(noop, name="noop", workflow_name="bench")
    task.queued_ns = time.time_ns()
    task.started_ns = task.queued_ns + 20_000
    task.duration = 0.0123
    task.span = SpanContext(TRACE_ID, SPAN_ID, sampled=True)
    return task


def of_provider(metrics: Metrics) -> Callable[[int], None]:
    task = made_task()
    metrics.declare("bench", ["noop"])

    def work(tasks: int) -> None:
        for _ in range(tasks):
            metrics.task_started(task)
            metrics.task_completed(task)

    return work


def by_hand(tasks_name: str = "noop") -> Callable[[int], None]:
    """The same series: two counters, a gauge that goes up and down, two histograms with our bounds, one exemplar."""
    meter = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("hand")
    started, completed = (meter.create_counter(f"hand.{name}") for name in ("started", "completed"))
    active = meter.create_up_down_counter("hand.active")
    queue, duration = (
        meter.create_histogram(f"hand.{name}", "s", explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS)
        for name in ("queue", "duration")
    )
    labels = {names.WORKFLOW: "bench", names.TASK: tasks_name}
    ended = {**labels, names.STATUS: names.STATUS_COMPLETED}
    task = made_task()

    def work(tasks: int) -> None:
        for _ in range(tasks):
            started.add(1, labels)
            active.add(1, labels)
            queue.record((task.started_ns - task.queued_ns) / 1e9, labels)
            span = OtelSpanContext(
                int(TRACE_ID, 16), int(SPAN_ID, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
            context = set_span_in_context(NonRecordingSpan(span))
            active.add(-1, labels)
            completed.add(1, labels)
            duration.record(task.duration, ended, context)

    return work


def medians(cases: dict[str, Callable[[int], None]], tasks: int, rounds: int) -> dict[str, float]:
    """Microseconds a task: of each case the median over the rounds, the cases taken in turn."""
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for work in cases.values():
        work(tasks)  # a warm-up, not counted
    for _ in range(rounds):
        for name, work in cases.items():
            gc.collect()
            begin = time.perf_counter()
            work(tasks)
            seen[name].append((time.perf_counter() - begin) / tasks * 1e6)
    return {name: statistics.median(times) for name, times in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=5_000)
    options = parser.parse_args()

    private = MetricsOpenTelemetry(endpoint=NOBODY, shutdown_timeout=0.1)
    theirs = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    cases = {
        "MetricsPrometheus": of_provider(MetricsPrometheus()),
        "MetricsOpenTelemetry, nowhere to send to": of_provider(MetricsOpenTelemetry()),
        "MetricsOpenTelemetry, its own provider": of_provider(private),
        "MetricsOpenTelemetry, the application's": of_provider(MetricsOpenTelemetry(meter_provider=theirs)),
        "by hand with the SDK, the same series": by_hand(),
    }
    found = medians(cases, options.tasks, options.rounds)
    floor = found["by hand with the SDK, the same series"]
    print(
        f"µs a task, median of {options.rounds} rounds of {options.tasks:,} tasks; and as a share of the SDK's by hand"
    )
    for name, value in found.items():
        print(f"  {name:<44} {value:6.1f}  {value / floor:5.2f}")


if __name__ == "__main__":
    main()
