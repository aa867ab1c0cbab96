"""Spans that were given up are counted at once and exactly, whatever becomes of the batch that is being sent."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from dotflow_otel.tracing.outbox import Outbox

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
LOST = "not delivered to http://there"


class Gate(SpanExporter):
    """Takes a batch in, and is done with it when the gate is opened."""

    def __init__(self, result: SpanExportResult) -> None:
        self.result = result
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.closed = threading.Event()
        self.batches: list[list[str]] = []

    def export(self, spans):
        self.batches.append([span.name for span in spans])
        self.entered.set()
        assert self.opened.wait(LIMIT)
        return self.result

    def shutdown(self) -> None:
        self.closed.set()


class Hung:
    """An outbox with six spans, of which the first four are being sent and do not get through."""

    def __init__(self, result: SpanExportResult) -> None:
        self.gate = Gate(result)
        self.outbox = Outbox(self.gate, "http://there")
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.outbox)
        self.end_spans("abcd")
        assert self.gate.entered.wait(LIMIT)
        self.end_spans("ef")

    def end_spans(self, names: str) -> None:
        for name in names:
            self.provider.get_tracer("test").start_span(name).end()

    def lost(self) -> list[tuple[int, str]]:
        return list(self.outbox.take_lost())


@pytest.fixture(params=[SpanExportResult.SUCCESS, SpanExportResult.FAILURE])
def hung(request, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    hung = Hung(request.param)
    yield hung
    hung.gate.opened.set()
    hung.provider.shutdown()


def test_they_are_counted_once_and_not_tried_again(hung):
    hung.outbox.give_up(hung.outbox.taken)
    assert hung.lost() == [(6, LOST)]
    hung.gate.opened.set()
    hung.provider.force_flush()
    hung.outbox.give_up(hung.outbox.taken)
    hung.provider.shutdown()
    assert hung.gate.batches == [["a", "b", "c", "d"]]
    assert hung.lost() == []


def test_those_that_ended_since_are_sent_without_those_before(hung):
    before = hung.outbox.taken
    hung.end_spans("g")
    hung.outbox.give_up(before)
    assert hung.outbox.is_waiting
    assert hung.lost() == [(6, LOST)]
    hung.gate.opened.set()
    hung.provider.force_flush()
    assert hung.gate.batches == [["a", "b", "c", "d"], ["g"]]
    assert not hung.outbox.is_waiting
    assert hung.lost() == ([(1, LOST)] if hung.gate.result is SpanExportResult.FAILURE else [])


def test_a_part_of_the_batch_that_is_being_sent_can_be_given_up(hung):
    hung.outbox.give_up(3)
    assert hung.lost() == [(3, LOST)]
    hung.gate.opened.set()
    hung.provider.force_flush()
    assert hung.gate.batches == [["a", "b", "c", "d"], ["e", "f"]]
    assert hung.lost() == ([(3, LOST)] if hung.gate.result is SpanExportResult.FAILURE else [])


def test_nobody_waits_for_them(hung):
    hung.outbox.give_up(hung.outbox.taken)
    assert not hung.outbox.is_waiting
    hung.provider.force_flush()
    hung.provider.shutdown()
    assert not hung.gate.closed.is_set()
    hung.gate.opened.set()
    assert hung.gate.closed.wait(LIMIT)
