"""A run that is kept, with its tasks, keeps no span alive."""

from __future__ import annotations

import gc
import weakref

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from dotflow import Config, DotFlow, action
from dotflow.providers import LogOpenTelemetry, TracerOpenTelemetry


class Watch(SpanProcessor):
    """Knows every span that was made, without keeping it."""

    def __init__(self) -> None:
        self.spans: list[weakref.ref] = []

    def on_start(self, span, parent_context=None):
        self.spans.append(weakref.ref(span))

    def names(self) -> list[str]:
        return [span.name for span in (found() for found in self.spans) if span is not None]


@action(name="plain")
def plain():
    return 1


@action(name="fails", retry=2)
def fails():
    raise ValueError("no good")


@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_of_a_thousand_tasks_no_span_is_left(executor, caplog):
    watch, provider = Watch(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(watch)
    tracer = TracerOpenTelemetry(tracer_provider=provider)
    with DotFlow(Config(tracer=tracer, log=LogOpenTelemetry()), name="kept") as workflow:
        workflow.task.add([plain] * 1_000)
        workflow.task.add([fails] * 10)
        run = workflow.start(keep_going=True, executor=executor)
    caplog.clear()  # it keeps the records, and they the tasks
    gc.collect()
    assert len(watch.spans) == 1 + 1_010 + 2 * 10
    assert watch.names() == []
    assert run.span is not None
    assert {task.span.trace_id for task in run.tasks} == {run.trace_id}
    assert run.tasks[-1].carrier["traceparent"].startswith(f"00-{run.trace_id}-")
