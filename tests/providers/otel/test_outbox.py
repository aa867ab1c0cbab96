"""The way out for spans: bounded, and what does not get through is counted exactly."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, StaticSampler

from dotflow import Config, DotFlow, action
from dotflow.providers import TracerOpenTelemetry
from dotflow_otel.tracing.outbox import Outbox


class Gate(SpanExporter):
    """Takes a batch in, and lets it through when the gate is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.names: list[str] = []

    def export(self, spans):
        self.entered.set()
        assert self.opened.wait(20)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture
def gate(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    return Gate()


def test_what_does_not_fit_is_refused_and_counted_and_the_rest_arrives(gate, caplog):
    outbox = Outbox(gate, "http://there")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    tracer = provider.get_tracer("test")
    for number in range(4):
        tracer.start_span(str(number)).end()
    assert gate.entered.wait(20)
    for number in range(4, 20):
        tracer.start_span(str(number)).end()
    assert list(outbox.take_lost()) == [(12, "8 others were waiting to be sent to http://there")]
    assert list(outbox.take_lost()) == []
    gate.opened.set()
    provider.force_flush()
    assert gate.names == [str(number) for number in range(8)]
    assert "Queue full" not in caplog.text
    tracer.start_span("later").end()
    provider.shutdown()
    assert gate.names[-1] == "later"
    assert list(outbox.take_lost()) == []


def test_an_exporter_that_raises_loses_its_batch_and_says_so(gate):
    class Broken(Gate):
        def export(self, spans):
            raise OSError("no space left on device")

    outbox = Outbox(Broken(), "a/file")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    for number in range(3):
        provider.get_tracer("test").start_span(str(number)).end()
    provider.force_flush()
    assert list(outbox.take_lost()) == [(3, "not delivered to a/file (OSError)")]
    provider.shutdown()


@pytest.mark.contained  # the flush at the end of the run, which is not let through
def test_the_span_of_a_run_ends_last_and_finds_room_all_the_same(gate):
    outbox = Outbox(gate, "http://there")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)

    @action(name="plain")
    def plain():
        return 1

    with DotFlow(
        Config(tracer=TracerOpenTelemetry(tracer_provider=provider), drain_timeout=0.1), name="full"
    ) as workflow:
        workflow.task.add([plain] * 20)
        run = workflow.start()
    assert list(outbox.take_lost()) == [(12, "8 others were waiting to be sent to http://there")]
    gate.opened.set()
    provider.force_flush()
    assert gate.names == ["task plain"] * 8 + ["workflow full"]
    assert run.status == "Completed"
    provider.shutdown()


def test_spans_that_are_recorded_but_not_sampled_are_neither_sent_nor_waited_for_nor_lost(gate):
    gate.opened.set()
    outbox = Outbox(gate, "http://there")
    provider = TracerProvider(sampler=StaticSampler(Decision.RECORD_ONLY), shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    for number in range(20):
        provider.get_tracer("test").start_span(str(number)).end()
    assert (outbox.taken, outbox.is_waiting, list(outbox.take_lost())) == (0, False, [])
    provider.shutdown()
    assert gate.names == []


@pytest.mark.parametrize("variable", ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"])
def test_a_step_waits_for_the_exporter_only_where_a_whole_batch_waits(monkeypatch, variable):
    monkeypatch.setenv(variable, "512")
    breaths = []
    monkeypatch.setattr("dotflow_otel.tracing.outbox.time.sleep", breaths.append)
    gate = Gate()
    gate.opened.set()
    outbox = Outbox(gate, "http://there", delay=60)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    for _ in range(500):
        provider.get_tracer("test").start_span("one").end()
    assert breaths == []
    provider.shutdown()
    assert len(gate.names) == 500
