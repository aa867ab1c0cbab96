"""Exemplars lead to the spans of the run."""

from __future__ import annotations

import random

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from dotflow.model.task import SpanContext
from dotflow.providers import TracerOpenTelemetry
from support.metrics_runs import NAME, Headers, bad, exemplars, good, run, task_of
from support.otlp import OtlpEndpoint


def test_exemplars_are_the_ids_of_spans_of_the_same_run(endpoint, metrics):
    with OtlpEndpoint() as traces:
        tracer = TracerOpenTelemetry(endpoint=traces.url)
        run_ = run(metrics, good, bad, tracer=tracer)
        tracer.close(5.0)
    of_run, of_good, of_bad = (
        (traces.one(name).trace_id, traces.one(name).span_id) for name in ("workflow nightly", "task good", "task bad")
    )
    assert of_run[0] == of_good[0] == of_bad[0] == run_.run_id
    assert exemplars(endpoint) == {
        ("dotflow.task.duration", *of_good),
        ("dotflow.task.duration", *of_bad),
        ("dotflow.task.errors", *of_bad),
        ("dotflow.task.retried", *of_bad),
        ("dotflow.task.failed", *of_bad),
        ("dotflow.workflow.failed", *of_run),
        ("dotflow.workflow.duration", *of_run),
    }


def test_an_exemplar_holds_what_was_observed_and_is_the_latest_of_its_bucket(endpoint, metrics):
    for digit, duration in (("1", 7.0), ("2", 7.5), ("3", 50.0)):
        metrics.task_completed(task_of(span=SpanContext(digit * 32, digit * 16, True), duration=duration))
    metrics.flush(60.0)
    point = endpoint.latest("dotflow.task.duration", workflow=NAME, task="good", status="completed")
    assert [tuple(e) for e in point.exemplars] == [("2" * 32, "2" * 16, 7.5), ("3" * 32, "3" * 16, 50.0)]
    metrics.flush(60.0)
    point = endpoint.latest("dotflow.task.duration", workflow=NAME, task="good", status="completed")
    assert (point.count, point.exemplars) == (3, ())  # each is sent once


@pytest.mark.parametrize("tracer", [None, Headers(flags="00")])
def test_the_callers_own_span_is_never_an_exemplar(endpoint, metrics, tracer):
    application = TracerProvider(shutdown_on_exit=False).get_tracer("app")
    with application.start_as_current_span("theirs"):
        assert trace.get_current_span().get_span_context().trace_flags.sampled
        run(metrics, good, bad, tracer=tracer)
    assert exemplars(endpoint) == set()


@pytest.mark.parametrize("trace_id", ["", "x" * 32, "0" * 32, "-" + "1" * 31, "1" * 31, "\ud800" * 32])
def test_ids_that_are_none_lose_only_the_exemplar(endpoint, metrics, trace_id):
    run(metrics, bad, tracer=Headers(trace_id=trace_id))
    assert exemplars(endpoint) == set()
    assert endpoint.total("dotflow.task.failed", workflow=NAME, task="bad") == 1
    assert endpoint.total("dotflow.task.duration", workflow=NAME, task="bad", status="failed") == 1


@pytest.mark.parametrize(("chosen", "expected"), [("always_off", set()), ("always_on", {""}), ("trace_based", set())])
def test_the_exemplar_filter_of_the_environment(endpoint, make, monkeypatch, chosen, expected):
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", chosen)
    metrics = make()
    run(metrics, bad)
    assert {trace_id for _, trace_id, _ in exemplars(endpoint)} == expected
    run(metrics, bad, tracer=Headers())
    assert ("ab" * 16 in {trace_id for _, trace_id, _ in exemplars(endpoint)}) is (chosen != "always_off")


def test_exemplars_leave_the_random_numbers_of_the_program_alone(metrics):
    random.seed(42)
    expected = random.getstate()
    for _ in range(20):
        metrics.task_failed(task_of(span=SpanContext("1" * 32, "2" * 16, True)))
    assert random.getstate() == expected
