"""What a task's span costs by TracerOpenTelemetry, and by the same calls of the SDK written by hand.

Both are what they add to a task of the same engine without telemetry. By hand, the step itself makes the same span: with
explicit parent and times, the same attributes, current while it works. The spans go through the same queue to an exporter
that drops them. Measured is the processor time of the program's own thread, in turn and in one run.

    python benchmarks/tracing.py [--rounds 9] [--tasks 5000]
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from typing import TYPE_CHECKING

from floor import engine, identity, medians, provider
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from dotflow import Config, action
from dotflow.names import spans
from dotflow.providers import TracerOpenTelemetry
from dotflow_otel.tracing.ids import RunIdGenerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from floor import Case

END = {spans.TASK_STATUS: "Completed", spans.RESULT: "success", spans.PROCESS_PID: os.getpid(), spans.HOST_NAME: "host"}


def processor_time(work: Callable[[], object]) -> float:
    gc.collect()
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def off() -> TracerProvider:
    return TracerProvider(id_generator=RunIdGenerator(), sampler=ALWAYS_OFF, shutdown_on_exit=False)


def traced(make: Callable[[], TracerProvider]) -> Case:
    return lambda tasks: engine(tasks, Config(tracer=TracerOpenTelemetry(tracer_provider=make())), timed=processor_time)


def by_hand(make: Callable[[], TracerProvider]) -> Case:
    tracer = make().get_tracer("hand")
    root = tracer.start_span("workflow bench")
    parent = trace.set_span_in_context(root)

    before: list[trace.SpanContext] = []

    @action
    def step() -> None:
        attributes = {**identity(), spans.TASK_PARENTS: ("noop",)} if before else identity()
        links = [trace.Link(context) for context in before]
        span = tracer.start_span("task noop", parent, attributes=attributes, links=links, start_time=time.time_ns())
        if span.is_recording():
            before[:] = [span.get_span_context()]
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            pass
        finally:
            otel_context.detach(token)
        if span.is_recording():
            span.set_attributes(END)
        span.end(end_time=time.time_ns())

    return lambda tasks: engine(tasks, Config(), step, timed=processor_time)


CASES = {
    "without": lambda tasks: engine(tasks, Config(), timed=processor_time),
    "traced": traced(provider),
    "by hand": by_hand(provider),
    "traced, sampler off": traced(off),
    "by hand, sampler off": by_hand(off),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tasks", type=int, default=5_000)
    options = parser.parse_args()
    found = medians(CASES, options.tasks, options.rounds)
    print(f"µs of processor time a no-op task, median of {options.rounds} rounds of {options.tasks:,} tasks")
    for name, value in found.items():
        print(f"  {name:<24} {value:6.1f}")
    for suffix in ("", ", sampler off"):
        added, hand = (found[f"{how}{suffix}"] - found["without"] for how in ("traced", "by hand"))
        print(f"  a span{suffix}: by the tracer {added:.1f}, by hand {hand:.1f}: {added / hand:.2f}")


if __name__ == "__main__":
    main()
