"""Large text is cut short: one error of many megabytes would cost the batch, and so the spans and lines of others."""

from __future__ import annotations

import logging

import pytest

from dotflow import Config, DotFlow, action
from dotflow.providers import LogOpenTelemetry, TracerOpenTelemetry
from dotflow_otel.shortened import LINE, MESSAGE, STACKTRACE, shortened
from support.otlp import OtlpEndpoint
from support.otlp_logs import LogsEndpoint

mine = logging.getLogger("steps.of.mine")

_HUGE = 10_000_000
_NOTE = 60  # characters that say how many are left out


@action(name="plain")
def plain():
    return 1


@action(name="huge")
def huge():
    mine.warning("W" * _HUGE, extra={"payload": "P" * _HUGE, "parts": ["Q" * _HUGE]})
    try:
        raise ValueError("first " + "A" * _HUGE + " last")
    except ValueError:
        mine.exception("caught")
        raise


def run_of_megabytes(caplog, **config):
    """Run both steps with one provider, which loses nothing; their tasks."""
    with DotFlow(Config(**config), name="large") as workflow:
        workflow.task.add([plain, huge])
        run = workflow.start()
        tasks = workflow.result_task()
    caplog.clear()
    assert run.dropped == {}
    return tasks


def test_an_error_of_megabytes_leaves_its_span_and_those_of_others(caplog):
    with OtlpEndpoint() as endpoint:
        tasks = run_of_megabytes(caplog, tracer=TracerOpenTelemetry(endpoint=endpoint.url))
    assert len(endpoint.spans) == 3
    span = endpoint.one("task huge")
    ((_, _, event),) = span.events
    assert span.status_message == f"ValueError: {event['exception.message']}"
    assert event["exception.message"].startswith("first AAA")
    assert event["exception.message"].endswith("AAA last")
    assert f"({_HUGE + 11 - MESSAGE} characters left out)" in event["exception.message"]
    assert len(event["exception.message"]) < MESSAGE + _NOTE
    assert "in huge" in event["exception.stacktrace"]
    assert len(event["exception.stacktrace"]) < STACKTRACE + _NOTE
    assert len(tasks[1].errors[0].message) == _HUGE + 11


def test_lines_of_megabytes_too(caplog):
    with LogsEndpoint() as endpoint:
        run_of_megabytes(caplog, log=LogOpenTelemetry(endpoint=endpoint.url))
    line, caught = endpoint.lines
    assert len(line.body) < LINE + _NOTE
    assert len(line.attributes["payload"]) < LINE + _NOTE
    for record in (caught, endpoint.of("task.failed")):
        assert len(record.attributes["exception.message"]) < MESSAGE + _NOTE
        assert "in huge" in record.attributes["exception.stacktrace"]
        assert len(record.attributes["exception.stacktrace"]) < STACKTRACE + _NOTE


@pytest.mark.parametrize("length", [0, 1, 9, 10])
def test_what_is_short_enough_is_left_as_it_is(length):
    assert shortened("0123456789"[:length], 10) == "0123456789"[:length]


def test_the_ends_are_kept_and_what_is_left_out_is_counted():
    assert shortened("begin" + "-" * 90 + "close", 10) == "begin … (90 characters left out) … close"
