"""Exemplars: from a duration or a failure to its trace."""

from __future__ import annotations

import pytest

from dotflow import Config, DotFlow, action
from dotflow.model.task import SpanContext, Task
from dotflow.names import metrics as names
from support.metrics_runs import RUN_SPAN, TASK_SPAN, Headers

NAME = "nightly"


@action
def fine(): ...


@action(retry=2)
def broken():
    raise ValueError("no")


def run(metrics, tracer):
    flow = DotFlow(Config(metrics=metrics, tracer=tracer), name=NAME)
    flow.task.add(step=[fine, broken])
    flow.start()


def ids(exemplar):
    return exemplar and exemplar.labels


def test_durations_and_failures_carry_the_ids_of_their_span(metrics, scrape):
    run(metrics, Headers())
    seen = scrape(metrics)
    of_task = {"trace_id": "ab" * 16, "span_id": TASK_SPAN}
    of_run = {"trace_id": "ab" * 16, "span_id": RUN_SPAN}
    bad = {"workflow": NAME, "task": "broken"}
    assert ids(seen.exemplar(names.TASK_DURATION, workflow=NAME, task="fine", status="completed")) == of_task
    assert ids(seen.exemplar(names.TASK_DURATION, **bad, status="failed")) == of_task
    assert ids(seen.exemplar(names.TASK_FAILED, **bad)) == of_task
    assert ids(seen.exemplar(names.TASK_RETRIED, **bad)) == of_task
    assert ids(seen.exemplar(names.TASK_ERRORS, **bad, error_type="ValueError")) == of_task
    assert ids(seen.exemplar(names.WORKFLOW_FAILED, workflow=NAME)) == of_run
    assert ids(seen.exemplar(names.WORKFLOW_DURATION, workflow=NAME, status="failed")) == of_run
    assert seen.exemplar(names.TASK_COMPLETED, workflow=NAME, task="fine") is None


def test_an_exemplar_holds_what_was_observed(metrics, scrape):
    task = Task(fine, workflow_name=NAME)
    task.span, task.duration = SpanContext("1" * 32, "2" * 16, True), 7.5
    metrics.task_completed(task)
    exemplar = scrape(metrics).exemplar(names.TASK_DURATION, workflow=NAME, task="fine", status="completed")
    assert exemplar.value == 7.5
    assert float(exemplar.timestamp) > 1_700_000_000


@pytest.mark.parametrize("tracer", [None, Headers(flags="00")])
def test_without_a_sampled_span_there_are_none(metrics, scrape, tracer):
    run(metrics, tracer)
    assert "# {" not in scrape(metrics).text


def test_they_can_be_switched_off(make, scrape):
    metrics = make(port=0, exemplars=False)
    run(metrics, Headers())
    assert "# {" not in scrape(metrics).text


@pytest.mark.parametrize("trace_id", ["", "x" * 200, "A" * 32, "1" * 31, '"\n', "\ud800"])
def test_ids_that_are_none_lose_only_the_exemplar(metrics, scrape, trace_id):
    run(metrics, Headers(trace_id=trace_id))
    seen = scrape(metrics)
    assert "# {" not in seen.text
    assert seen.value(names.TASK_FAILED, workflow=NAME, task="broken") == 1
    assert seen.value(names.TASK_DURATION, workflow=NAME, task="broken", status="failed") == 1


def test_a_span_that_is_none_loses_only_the_exemplar(metrics, scrape):
    task = Task(fine, workflow_name=NAME)
    task.span, task.duration = "not a span", 1.0
    metrics.task_failed(task)
    assert scrape(metrics).value(names.TASK_FAILED, workflow=NAME, task="fine") == 1
