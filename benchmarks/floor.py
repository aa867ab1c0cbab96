"""What a task costs: bare, with all three signals, and the same written by hand around the same call.

All in one run, in turn, because a machine's speed drifts; the ratios are what to quote. The spans go through the
same queue to an exporter that drops them, the lines to the null device: what is measured is the work in
the program's own thread, not a collector or a disk.

    python benchmarks/floor.py [--rounds 5] [--tasks 10000] [--flat]
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from dotflow import Config, DotFlow, action
from dotflow.names import logs, spans
from dotflow.providers import LogStructlog, MetricsPrometheus, TracerOpenTelemetry
from dotflow.providers.logs.render import JsonLine
from dotflow_otel.tracing.ids import RunIdGenerator
from dotflow_otel.tracing.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Case = Callable[[int], Callable[[], float]]
    """For so many tasks, a function that does it all and returns the seconds that it took."""

RUN_ID = "5e41b7a2127e31da90c7d385250f8bf6"


class Null(SpanExporter):
    """Takes spans and drops them."""

    def export(self, spans: Any) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    made = TracerProvider(id_generator=RunIdGenerator(), shutdown_on_exit=False)
    made.add_span_processor(Outbox(Null(), "nowhere"))
    return made


@action
def noop() -> None:
    """The work, which is none: what is left is the engine."""


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def no_telemetry(tasks: int) -> Callable[[], float]:
    return engine(tasks, Config())


def listening(tasks: int) -> Callable[[], float]:
    return engine(tasks, Config(listeners=[lambda _: None]))


def all_three_signals(tasks: int) -> Callable[[], float]:
    config = Config(
        log=LogStructlog(format="json", output=Path(os.devnull), capture=False),
        tracer=TracerOpenTelemetry(tracer_provider=provider()),
        metrics=MetricsPrometheus(),
    )
    return engine(tasks, config)


def one_signal(name: str) -> Callable[[int], Callable[[], float]]:
    def make(tasks: int) -> Callable[[], float]:
        made: dict[str, Callable[[], Any]] = {
            "log": lambda: LogStructlog(format="json", output=Path(os.devnull), capture=False),
            "tracer": lambda: TracerOpenTelemetry(tracer_provider=provider()),
            "metrics": MetricsPrometheus,
        }
        return engine(tasks, Config(**{name: made[name]()}))

    return make


def engine(
    tasks: int, config: Config, step: Any = noop, timed: Callable[[Callable[[], object]], float] = timed
) -> Callable[[], float]:
    """One run of the engine, in seconds; the tasks are added beforehand."""

    def measure() -> float:
        workflow = DotFlow(config, name="bench")
        for _ in range(tasks):
            workflow.task.add(step, name="noop")
        return timed(workflow.start)

    return measure


def adding(tasks: int) -> Callable[[], float]:
    def measure() -> float:
        workflow = DotFlow(name="bench")

        def add() -> None:
            for _ in range(tasks):
                workflow.task.add(noop, name="noop")

        return timed(add)

    return measure


def by_hand_small(tasks: int) -> Callable[[], float]:
    """One span with six attributes, two counters, a histogram and two JSON lines around the call."""
    tracer, registry, log = provider().get_tracer("hand"), CollectorRegistry(), by_hand_logger()
    started = Counter("hand_started", "Started.", ["task"], registry=registry).labels("noop")
    completed = Counter("hand_completed", "Completed.", ["task"], registry=registry).labels("noop")
    duration = Histogram("hand_duration_seconds", "Duration.", ["task"], registry=registry).labels("noop")
    attributes = {spans.RUN_ID: RUN_ID, spans.TASK_NAME: "noop", spans.TASK_ID: "noop", spans.TASK_GROUP: "default"}

    def work() -> None:
        for _ in range(tasks):
            span = tracer.start_span("task noop", attributes=attributes)
            started.inc()
            log.info(logs.TASK_STARTED, run_id=RUN_ID, task="noop", status="In progress")
            begin = time.perf_counter()
            noop()
            took = time.perf_counter() - begin
            duration.observe(took)
            completed.inc()
            log.info(logs.TASK_COMPLETED, run_id=RUN_ID, task="noop", status="Completed", duration=took)
            span.set_attribute(spans.RESULT, "success")
            span.set_attribute(spans.TASK_STATUS, "Completed")
            span.end()

    return lambda: timed(work)


def by_hand_same(tasks: int) -> Callable[[], float]:
    """The very signals that dotflow makes, as a person would write them.

    A span with the same thirteen attributes, a child of the run's and current while the step runs, so that the step's
    own spans nest; the same six series, with an exemplar; the same two lines, and the ids bound for the step's own.
    """
    tracer, registry, log = provider().get_tracer("hand"), CollectorRegistry(), by_hand_logger()
    labels = ["workflow", "task"]
    started = Counter("hand_started", "Started.", labels, registry=registry).labels("bench", "noop")
    completed = Counter("hand_completed", "Completed.", labels, registry=registry).labels("bench", "noop")
    active = Gauge("hand_active", "Active.", labels, registry=registry).labels("bench", "noop")
    queue = Histogram("hand_queue_seconds", "Queue.", labels, registry=registry).labels("bench", "noop")
    duration = Histogram("hand_duration_seconds", "Duration.", [*labels, "status"], registry=registry)
    child = duration.labels("bench", "noop", "completed")
    same = {
        logs.WORKFLOW: "bench",
        logs.WORKFLOW_ID: RUN_ID,
        logs.RUN_ID: RUN_ID,
        logs.TASK: "noop",
        logs.TASK_ID: "noop",
        logs.ATTEMPT: 1,
    }

    before: list[SpanContext] = []

    def one() -> None:
        queued = time.perf_counter()
        attributes = {**identity(), spans.TASK_PARENTS: ("noop",)} if before else identity()
        links = [Link(context) for context in before]
        with tracer.start_as_current_span("task noop", attributes=attributes, links=links) as span:
            context = span.get_span_context()
            before[:] = [context]
            ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
            started.inc()
            active.inc()
            begin = time.perf_counter()
            queue.observe(begin - queued)
            log.info(logs.TASK_STARTED, **same, status="In progress", **ids)
            with structlog.contextvars.bound_contextvars(**same, **ids):
                noop()
            took = time.perf_counter() - begin
            log.info(logs.TASK_COMPLETED, **same, status="Completed", duration=round(took, 6), **ids)
            completed.inc()
            active.dec()
            child.observe(took, ids)
            span.set_attributes(
                {
                    spans.TASK_STATUS: "Completed",
                    spans.RESULT: "success",
                    spans.PROCESS_PID: os.getpid(),
                    spans.HOST_NAME: "host",
                }
            )

    def work() -> None:
        with tracer.start_as_current_span("workflow bench"):
            for _ in range(tasks):
                one()

    return lambda: timed(work)


def identity() -> dict[str, str | int]:
    return {
        spans.WORKFLOW_NAME: "bench",
        spans.WORKFLOW_ID: RUN_ID,
        spans.RUN_ID: RUN_ID,
        spans.TASK_NAME: "noop",
        spans.TASK_ID: "noop",
        spans.TASK_GROUP: "default",
        spans.ATTEMPT: 1,
        spans.CODE_FUNCTION_NAME: "bench.noop",
    }


def by_hand_logger() -> Any:
    return structlog.wrap_logger(
        structlog.BytesLogger(Path(os.devnull).open("ab")),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            JsonLine(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
    ).bind()


CASES: dict[str, Case] = {
    "adding a task": adding,
    "bare": no_telemetry,
    "a listener that does nothing": listening,
    "log": one_signal("log"),
    "tracer": one_signal("tracer"),
    "metrics": one_signal("metrics"),
    "all three signals": all_three_signals,
    "floor: by hand, 6 attributes, 3 series, 2 lines": by_hand_small,
    "floor: by hand, the same signals as dotflow": by_hand_same,
}


def medians(cases: Mapping[str, Case], tasks: int, rounds: int) -> dict[str, float]:
    """Microseconds a task: of each case the median over the rounds, the cases taken in turn."""
    measures = {name: make(tasks) for name, make in cases.items()}
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for measure in measures.values():
        measure()  # a warm-up, not counted
    for _ in range(rounds):
        for name, measure in measures.items():
            seen[name].append(measure() / tasks * 1e6)
    return {name: statistics.median(times) for name, times in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--flat", action="store_true", help="also 1,000, 10,000 and 100,000 tasks in one run")
    options = parser.parse_args()

    found = medians(CASES, options.tasks, options.rounds)
    print(f"µs a no-op task, median of {options.rounds} rounds of {options.tasks:,} tasks")
    for name, value in found.items():
        print(f"  {name:<50} {value:7.1f}")
    every = found["all three signals"]
    for name in CASES:
        if name.startswith("floor"):
            print(f"  all three signals / {name:<50} {every / found[name]:5.2f}")
    if options.flat:
        for name in ("bare", "all three signals"):
            sizes = {size: medians({name: CASES[name]}, size, 3)[name] for size in (1_000, 10_000, 100_000)}
            print(f"  {name}: " + ", ".join(f"{size:,} tasks {value:.1f} µs" for size, value in sizes.items()))


if __name__ == "__main__":
    main()
