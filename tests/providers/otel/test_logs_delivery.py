"""How log records leave: without feedback, counted where they are lost, from workers, and over gRPC."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time

import pytest
from opentelemetry import _logs as api
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource

from dotflow import Config, DotFlow, action
from dotflow.names import logs
from dotflow_otel.logs import pipeline
from dotflow_otel.logs.outbox import LogOutbox
from dotflow_otel.logs.provider import LogOpenTelemetry
from support.otlp import OtlpEndpoint
from support.otlp_logs import (
    InMemory,
    Kept,
    LogsEndpoint,
    grpc_endpoint,
    in_memory,
    logging_with,
    mine,
    quiet,
    run,
    talk,
)

LIMIT = 60  # seconds after which a run that hangs fails its test; none waits that long to pass

pytestmark = pytest.mark.usefixtures("no_otel_variables")


@pytest.fixture
def endpoint():
    with LogsEndpoint() as listening:
        yield listening


EXECUTORS = [
    pytest.param({}, id="inline"),
    pytest.param({"executor": "thread"}, id="threads"),
    pytest.param({"mode": "parallel"}, id="processes"),
]


# --- no feedback


@action(name="exports")
def speaks_and_exports():
    mine.debug("one")
    mine.debug("two")
    logging.getLogger("urllib3.connectionpool").debug("of the step itself")


@pytest.mark.parametrize("processor", [SimpleLogRecordProcessor, BatchLogRecordProcessor])
def test_what_exporting_logs_does_not_become_records(endpoint, processor):
    kept, provider = Kept(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor(OTLPLogExporter(endpoint=f"{endpoint.url}/v1/logs")))
    log = LogOpenTelemetry(logger_provider=provider, level="DEBUG")
    run(log, speaks_and_exports, handlers=[kept], level=logging.DEBUG)
    provider.shutdown()
    assert any(record.name.startswith("urllib3") and "POST" in str(record.args) for record in kept.records)
    assert [r.body for r in endpoint.lines] == ["one", "two", "of the step itself"]


@pytest.mark.parametrize("start", EXECUTORS)
def test_what_our_own_exporter_logs_does_not_become_records(endpoint, start):
    @action
    def speak():
        logging.getLogger().setLevel(logging.DEBUG)
        mine.debug("one")
        time.sleep(0.05)

    kept = Kept()
    log = LogOpenTelemetry(endpoint=endpoint.url, level="DEBUG")
    run(log, speak, speak, handlers=[kept], level=logging.DEBUG, start=start)
    assert [r.body for r in endpoint.lines] == ["one", "one"]


def test_an_exporter_that_logs_in_a_span_processor_of_the_steps(endpoint):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    with OtlpEndpoint() as spans:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{spans.url}/v1/traces")))

        @action
        def speak():
            with provider.get_tracer("x").start_as_current_span("own"):
                mine.debug("one")

        log = LogOpenTelemetry(endpoint=endpoint.url, level="DEBUG")
        run(log, speak, handlers=[Kept()], level=logging.DEBUG)
        provider.shutdown()
        assert endpoint.line("one").span_id == spans.one("own").span_id
    assert [r.body for r in endpoint.lines] == ["one"]


# --- collectors that are down


def nobody_listens():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.contained
@pytest.mark.parametrize("kind", ["refuses", "503", "stalls"])
@pytest.mark.parametrize("start", [pytest.param({}, id="inline"), pytest.param({"mode": "parallel"}, id="processes")])
def test_a_collector_that_is_down_costs_one_line_and_is_counted_exactly(kind, start, contained):
    kept = Kept()
    with LogsEndpoint(503) as endpoint:
        url = endpoint.url
        if kind == "refuses":
            url = nobody_listens()
        elif kind == "stalls":
            endpoint.gate.clear()
        log = LogOpenTelemetry(endpoint=url, shutdown_timeout=0.8)
        began = time.monotonic()
        done = run(log, talk, talk, handlers=[kept], start=start)
        assert time.monotonic() - began < 8
    assert done.status == "Completed"
    assert done.dropped == {"logs": 8}
    assert done.provider_errors == {}
    told = [record.getMessage() for record in kept.records if record.levelno >= logging.WARNING]
    assert told == contained
    (line,) = told
    assert f"lost in run {done.run_id}, not delivered to {url}/v1/logs" in line


class InAHurry(LogOpenTelemetry):
    """Is told of a deadline that comes long before the engine's, which leaves the engine time enough to be slow in."""

    def flush(self, timeout):
        assert timeout > LIMIT / 2
        super().flush(0.5)

    def close(self, timeout):
        super().close(0.5)


@pytest.mark.contained
def test_the_engines_deadline_may_be_shorter_than_ours(endpoint, contained):
    endpoint.gate.clear()
    done = run(InAHurry(endpoint=endpoint.url, shutdown_timeout=3000), talk, drain_timeout=LIMIT)
    assert (done.dropped, done.provider_errors, len(contained)) == ({"logs": 5}, {}, 1)


@pytest.mark.parametrize(("timeout", "own", "most"), [(0.5, 2.0, 0.45), (10.0, 2.0, 2.0), (0.0, 2.0, 0.0)])
def test_a_flush_ends_before_the_engine_gives_it_up(endpoint, monkeypatch, timeout, own, most):
    given = []

    def note(seconds, _, call):
        given.append(seconds)
        call()

    monkeypatch.setattr(pipeline, "within", note)
    log = LogOpenTelemetry(endpoint=endpoint.url, shutdown_timeout=own)
    log.info(event="late")
    log.flush(timeout)
    log.close(timeout)
    assert given == [most, most]


@pytest.mark.contained
def test_a_log_that_cannot_be_closed_in_time_says_so_if_something_is_lost_by_that(endpoint):
    endpoint.gate.clear()
    log = LogOpenTelemetry(endpoint=endpoint.url, level="DEBUG")
    log.debug(event="late")
    with pytest.raises(TimeoutError, match="shutdown of logs"):
        log.close(0.2)
    log.close(0.2)


@pytest.mark.contained
def test_what_a_flush_gives_up_is_not_sent_later(endpoint):
    endpoint.gate.clear()
    log = LogOpenTelemetry(endpoint=endpoint.url, shutdown_timeout=0.4)
    with logging_with(Kept()), DotFlow(Config(log=log), name="etl") as flow:
        flow.task.add(quiet)
        first = flow.start()
        endpoint.gate.set()
        deadline = time.monotonic() + 20
        while log._pipeline.is_buffering and time.monotonic() < deadline:
            time.sleep(0.01)
        second = flow.start()
    assert (first.dropped, second.dropped) == ({"logs": 4}, {})
    late = [r for r in endpoint.records if r.trace_id == first.run_id]
    assert len(late) in (0, 4)  # the server has read the first request, and may take it when the client is gone
    assert len([r for r in endpoint.records if r.trace_id == second.run_id]) == 4


@pytest.mark.contained
def test_what_does_not_fit_is_refused_and_counted_and_the_rest_arrives(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4")
    endpoint.gate.clear()

    @action
    def floods():
        for number in range(100):
            mine.info("line %d", number)
        endpoint.gate.set()

    done = run(LogOpenTelemetry(endpoint=endpoint.url, shutdown_timeout=10), floods)
    assert done.dropped["logs"] + len(endpoint.records) == 104
    assert done.dropped["logs"] >= 92
    assert [r.body for r in endpoint.lines[:6]] == [f"line {number}" for number in range(6)]


class Slow(InMemory):
    """Takes a while over a batch; or for ever, until it is let go."""

    def __init__(self, seconds):
        super().__init__()
        self.let_go, self.entered = threading.Event(), threading.Event()
        self.seconds = seconds

    def export(self, batch):
        self.entered.set()
        self.let_go.wait(self.seconds)
        return super().export(batch)


def flood(outbox, count):
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(outbox)
    logger = provider.get_logger("x")
    for number in range(count):
        logger.emit(body=str(number), severity_number=api.SeverityNumber.INFO)
    return provider


def test_an_exporter_that_comes_on_is_waited_for():
    exporter = Slow(0.02)
    outbox = LogOutbox(exporter, "there")
    flood(outbox, 6000).shutdown()
    assert list(outbox.take_lost()) == []
    assert [record.body for record, _ in exporter.records] == [str(number) for number in range(6000)]


def test_one_that_does_not_is_not(caplog):
    exporter = Slow(20)
    outbox = LogOutbox(exporter, "there")
    provider = flood(outbox, 6000)
    assert list(outbox.take_lost()) == [(6000 - 2048, "2048 others were waiting to be sent to there")]
    exporter.let_go.set()
    provider.shutdown()
    assert [record.body for record, _ in exporter.records] == [str(number) for number in range(2048)]
    assert "Queue full" not in caplog.text


def test_what_is_given_up_in_the_middle_of_a_batch_is_counted_once(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4")

    class Failing(Slow):
        def export(self, batch):
            super().export(batch)
            raise OSError("no space left on device")

    exporter = Failing(20)
    outbox = LogOutbox(exporter, "a file")
    provider = flood(outbox, 10)
    assert exporter.entered.wait(20)
    outbox.give_up(2)
    outbox.give_up(6)
    outbox.give_up(3)
    assert (list(outbox.take_lost()), outbox.is_waiting) == ([(6, "not delivered to a file")], True)
    exporter.let_go.set()
    provider.force_flush()
    assert (list(outbox.take_lost()), outbox.is_waiting) == ([(4, "not delivered to a file (OSError)")], False)
    assert [record.body for record, _ in exporter.records] == ["0", "1", "2", "3", "6", "7", "8", "9"]
    provider.shutdown()
    assert caplog.text == ""


# --- worker processes


def test_the_endpoint_of_the_environment_is_that_of_the_workers_too(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    run(LogOpenTelemetry(), talk, start={"mode": "parallel"})
    assert endpoint.line("read 300 rows").attributes["rows"] == 300


def test_a_provider_of_the_applications_needs_a_word_on_workers(endpoint):
    provider, exporter = in_memory()
    url = f"{endpoint.url}/v1/logs"

    def make():
        made = LoggerProvider(resource=Resource({"service.name": "made there"}))
        made.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=url)))
        return made

    done = run(
        LogOpenTelemetry(logger_provider=provider, worker_provider=make), talk, start={"mode": "parallel"}
    ).raise_for_status()
    assert len(exporter.records) == 4
    (line,) = endpoint.records
    assert (line.trace_id, line.resource["service.name"]) == (done.run_id, "made there")
    assert LogOpenTelemetry(logger_provider=provider).for_worker() is None
    provider.shutdown()


def test_steps_that_log_nothing_do_not_load_the_sdk(endpoint):
    @action
    def looks():
        mine.debug("too quiet")
        return "opentelemetry.sdk" in sys.modules, len(logging.getLogger().handlers)

    with logging_with(), DotFlow(Config(log=LogOpenTelemetry(endpoint=endpoint.url)), name="etl") as flow:
        flow.task.add(looks)
        flow.start("parallel").raise_for_status()
        assert flow.result_storage() == [(False, 1)]


def test_a_worker_that_is_killed_takes_only_its_own_lines_along(endpoint, tmp_path):
    @action(name="dies")
    def dies():
        mine.info("sent in time")
        deadline = time.monotonic() + 20
        while not (tmp_path / "arrived").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        mine.info("lost")
        os.kill(os.getpid(), signal.SIGKILL)

    def watch():
        deadline = time.monotonic() + 20
        while not endpoint.lines and time.monotonic() < deadline:
            time.sleep(0.01)
        (tmp_path / "arrived").touch()

    watching = threading.Thread(target=watch)
    watching.start()
    done = run(LogOpenTelemetry(endpoint=endpoint.url), dies, start={"mode": "parallel"})
    watching.join()
    assert done.status == "Failed"
    assert [r.body for r in endpoint.lines] == ["sent in time"]
    assert endpoint.of(logs.TASK_FAILED).attributes["exception.type"] == "WorkerDied"


# --- gRPC


def test_records_over_grpc():
    with grpc_endpoint() as (url, received):
        done = run(LogOpenTelemetry(endpoint=url, protocol="grpc"), talk)
    assert done.dropped == {}
    assert [r.event or r.body for r in received if r.scope == "dotflow"] == [
        *(logs.WORKFLOW_STARTED, logs.TASK_STARTED, logs.TASK_COMPLETED, logs.WORKFLOW_COMPLETED)
    ]
    assert len(received) == 5


@pytest.mark.contained
def test_a_collector_for_grpc_that_is_down_costs_one_line(contained):
    kept = Kept()
    with grpc_endpoint() as (url, _):
        pass
    done = run(LogOpenTelemetry(endpoint=url, protocol="grpc", shutdown_timeout=0.8), quiet, handlers=[kept])
    assert done.dropped == {"logs": 4}
    assert [record.getMessage() for record in kept.records if record.levelno >= logging.WARNING] == contained
    assert len(contained) == 1
