"""Executors of the user's own: the headers and the baggage go along, and the spans of steps come back."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.providers import TracerOpenTelemetry
from support.otlp import OtlpEndpoint


@action(name="opens")
def opens():
    with trace.get_tracer("the step's").start_as_current_span("inside"):
        return dotflow.carrier(), baggage.get_baggage("tenant"), trace.get_current_span().get_span_context().is_remote


def pool(kind):
    if kind == "thread":
        return ThreadPoolExecutor(2)
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # fork, in newer Pythons
@pytest.mark.parametrize("kind", ["thread", "fork", "forkserver", "spawn"])
def test_spans_of_steps_in_a_pool_of_the_users(kind):
    token = otel_context.attach(baggage.set_baggage("tenant", "éclair & co"))
    try:
        with OtlpEndpoint() as endpoint, pool(kind) as executor:
            tracer = TracerOpenTelemetry("pooled", endpoint=endpoint.url)
            with DotFlow(Config(tracer=tracer), name="pool") as workflow:
                workflow.task.add([opens] * 6)
                runs = [workflow.start("parallel", executor=executor).raise_for_status() for _ in range(2)]
    finally:
        otel_context.detach(token)
    assert [run.dropped for run in runs] == [{}, {}]
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)  # nothing is made global here
    tasks = {span.span_id: span for span in endpoint.named("task opens")}
    assert len(tasks) == 12
    assert len({span.span_id for span in endpoint.spans}) == len(endpoint.spans)
    assert {span.trace_id for span in endpoint.spans} == {run.run_id for run in runs}
    for carrier, tenant, _ in workflow.result_storage():
        assert carrier["TRACEPARENT"].split("-")[1] == runs[-1].run_id
        assert tenant == "éclair & co"
    inner = endpoint.named("inside")
    if kind == "thread":  # in this process it is the application that says where its own spans go
        assert inner == []
        return
    assert {span.parent_id for span in inner} == set(tasks)
    assert len(inner) == 12
    for span in inner:
        task = tasks[span.parent_id]
        assert task.start_ns <= span.start_ns <= span.end_ns <= task.end_ns
        assert span.resource == task.resource
