"""What steps tell from worker processes: their spans, their log lines, and what goes wrong with either."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import pytest
import structlog
from distributed import Client
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dotflow import Config, DotFlow, action
from dotflow.abc.provider import Dropped
from dotflow.abc.worker import WorkerSide
from dotflow.errors import InvalidOption
from dotflow.providers import LogStructlog, TracerOpenTelemetry
from dotflow.testing import RecordingLog, RecordingTracer
from support.otlp import OtlpEndpoint


@pytest.fixture
def endpoint():
    with OtlpEndpoint() as listening:
        yield listening


@action
def opens_a_span():
    with trace.get_tracer("the step's").start_as_current_span("of the step"):
        return type(trace.get_tracer_provider()).__name__


def start(*steps, max_workers=2, **config):
    """Run the steps in worker processes, to their good end; the run and what they returned."""
    with DotFlow(Config(**config), name="workers") as workflow:
        workflow.task.add(list(steps))
        run = workflow.start("parallel", max_workers=max_workers).raise_for_status()
        return run, workflow.result_storage()


def test_spans_of_a_step_are_children_of_its_attempt_with_the_same_resource(endpoint):
    run, _ = start(opens_a_span, opens_a_span, tracer=TracerOpenTelemetry("nightly", endpoint=endpoint.url))
    attempts = {span.span_id: span for span in endpoint.named("task opens_a_span")}
    inner = endpoint.named("of the step")
    assert {span.parent_id for span in inner} == set(attempts)
    assert {span.trace_id for span in inner} == {run.trace_id}
    for span in inner:
        assert span.resource == attempts[span.parent_id].resource
        assert attempts[span.parent_id].start_ns <= span.start_ns <= span.end_ns <= attempts[span.parent_id].end_ns
    assert run.dropped == {}


def test_the_endpoint_of_the_environment_is_that_of_the_workers_too(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    start(opens_a_span, tracer=TracerOpenTelemetry())
    assert endpoint.one("of the step").parent_id == endpoint.one("task opens_a_span").span_id


def test_spans_of_workers_go_to_the_file_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start(opens_a_span, opens_a_span, tracer=TracerOpenTelemetry(file="traces.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "traces.jsonl").read_text().splitlines()]
    spans = [s for line in lines for r in line["resourceSpans"] for sc in r["scopeSpans"] for s in sc["spans"]]
    tasks = {span["spanId"] for span in spans if span["name"] == "task opens_a_span"}
    assert {span["parentSpanId"] for span in spans if span["name"] == "of the step"} == tasks
    assert len(tasks) == 2


class Wrapped(Executor):
    """Somebody's own executor; nothing shows that what it is given runs in threads of this process."""

    def __init__(self):
        self.threads = ThreadPoolExecutor(2)

    def submit(self, function, /, *args, **kwargs):
        return self.threads.submit(function, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.threads.shutdown(wait, cancel_futures=cancel_futures)


@contextmanager
def dask_threads():
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as client:
        yield client.get_executor()


@pytest.mark.parametrize("make", [Wrapped, dask_threads], ids=["wrapper", "dask"])
def test_an_executor_whose_workers_are_threads_of_this_process_sets_up_nothing_beside_the_providers(
    make, endpoint, tmp_path
):
    @action
    def step():
        logging.getLogger("app").warning("from the step")
        current = trace.get_current_span().get_span_context()
        return type(trace.get_tracer_provider()).__name__, os.getpid(), f"{current.span_id:016x}"

    log = LogStructlog(output=tmp_path / "log", format="json", capture=True)
    tracer = TracerOpenTelemetry(endpoint=endpoint.url)
    with make() as executor, DotFlow(Config(tracer=tracer, log=log), name="threads") as workflow:
        workflow.task.add([step, step])
        run = workflow.start("parallel", executor=executor).raise_for_status()
    attempts = sorted(span.span_id for span in endpoint.named("task step"))
    assert sorted(workflow.result_storage()) == [("ProxyTracerProvider", os.getpid(), span_id) for span_id in attempts]
    assert len(set(attempts)) == 2
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["run_id"] for line in lines if line["event"] == "from the step"] == [run.run_id] * 2
    assert (run.provider_errors, run.dropped) == ({}, {})


def test_without_a_destination_nothing_is_set_up(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)

    @action
    def looks():
        current = trace.get_current_span().get_span_context()
        return type(trace.get_tracer_provider()).__name__, "opentelemetry.sdk" in sys.modules, current.is_remote

    _, (found,) = start(looks, tracer=TracerOpenTelemetry())
    assert found == ("ProxyTracerProvider", False, True)


def test_the_sdk_is_not_loaded_by_steps_that_open_no_span(endpoint):
    @action
    def looks():
        return "opentelemetry.sdk" in sys.modules

    _, (found,) = start(looks, tracer=TracerOpenTelemetry(endpoint=endpoint.url))
    assert found is False


def test_a_provider_of_the_applications_needs_a_word_on_workers(endpoint):
    ours, url = TracerProvider(), f"{endpoint.url}/v1/traces"
    kept = InMemorySpanExporter()
    ours.add_span_processor(SimpleSpanProcessor(kept))

    def set_up():
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        trace.set_tracer_provider(provider)

    start(opens_a_span, tracer=TracerOpenTelemetry(tracer_provider=ours, worker_setup=set_up))
    (task,) = [span for span in kept.get_finished_spans() if span.name == "task opens_a_span"]
    assert endpoint.one("of the step").parent_id == f"{task.context.span_id:016x}"


def test_a_worker_setup_that_cannot_be_called():
    with pytest.raises(InvalidOption, match=r"worker_setup=3: a function without parameters"):
        TracerOpenTelemetry(worker_setup=3)


@pytest.mark.contained
def test_a_worker_setup_that_raises_is_counted_once_and_the_step_runs(endpoint):
    def set_up():
        raise OSError("no such collector")

    run, _ = start(
        opens_a_span,
        opens_a_span,
        tracer=TracerOpenTelemetry(endpoint=endpoint.url, worker_setup=set_up),
        max_workers=1,
    )
    assert run.provider_errors == {("tracer", "attach"): 1}
    assert len(endpoint.named("of the step")) == 2


def test_a_provider_that_a_step_has_set_is_left_alone(endpoint):
    @action
    def sets_its_own():
        trace.set_tracer_provider(TracerProvider())
        return type(trace.get_tracer_provider()).__module__

    with DotFlow(Config(tracer=TracerOpenTelemetry()), name="workers") as workflow:
        workflow.task.add(sets_its_own)
        workflow.start("parallel").raise_for_status()
        assert workflow.result_storage() == ["opentelemetry.sdk.trace"]
    assert endpoint.spans == []


def test_a_worker_that_is_killed_takes_only_its_own_spans_along(endpoint, tmp_path):
    @action(name="dies")
    def dies():
        while not (tmp_path / "other").exists():
            pass
        with trace.get_tracer("mine").start_as_current_span("lost"):
            os.kill(os.getpid(), signal.SIGKILL)

    @action(name="lives")
    def lives():
        with trace.get_tracer("mine").start_as_current_span("kept"):
            (tmp_path / "other").touch()

    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url)), name="workers") as workflow:
        workflow.task.add([dies, lives])
        run = workflow.start("parallel", max_workers=2)
    assert [str(task.status) for task in run.tasks] == ["Failed", "Completed"]
    assert endpoint.one("kept").parent_id == endpoint.one("task lives").span_id
    assert not endpoint.named("lost")
    assert endpoint.one("task dies").attributes["process.pid"] != os.getpid()


# --- lines


def lines_of_steps(path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line.get("logger") == "mine" or line["event"] == "by structlog"]


@action
def writes():
    logging.getLogger("mine").info("by logging")
    logging.getLogger("mine").debug("too quiet")
    structlog.get_logger().info("by structlog")
    return os.getpid()


@pytest.mark.parametrize(
    ("capture", "expected"), [(None, ["by logging"]), (True, ["by logging", "by structlog"]), (False, [])]
)
def test_lines_of_a_step_in_a_worker_carry_its_ids(tmp_path, capture, expected):
    run, (pid,) = start(writes, log=LogStructlog(format="json", output=tmp_path / "log", capture=capture))
    assert pid != os.getpid()
    found = lines_of_steps(tmp_path / "log")
    assert [line["event"] for line in found] == expected
    for line in found:
        assert (line["run_id"], line["task_id"], line["attempt"]) == (run.run_id, "writes", 1)


def test_a_relative_file_is_the_same_file_in_a_worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = LogStructlog(format="json", output="log")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    start(writes, log=log)
    assert not (tmp_path / "elsewhere" / "log").exists()
    assert [line["event"] for line in lines_of_steps(tmp_path / "log")] == ["by logging"]


# --- providers that misbehave there


class Side(WorkerSide):
    """Raises where it is told to, and has lost two things."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.dropped = [Dropped("spans", 2, "they fell off the lorry")]

    def attach(self, carried):
        if self.where == "attach":
            raise ValueError(carried["text"])
        return nullcontext()

    @property
    def is_buffering(self):
        return True

    def flush(self, timeout):
        if self.where == "flush":
            raise ConnectionError("nobody there")

    def take_dropped(self):
        if self.where == "take_dropped":
            raise KeyError("gone")
        dropped, self.dropped = self.dropped, []
        return dropped


class Tracing(RecordingTracer):
    """A tracer with a side for workers."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def carrier(self, task):
        return {"text": task.task_id}

    def attach(self, carrier):
        return nullcontext()

    def for_worker(self):
        if self.where == "for_worker":
            raise RuntimeError("no workers, please")
        side = Side(self.where)
        if self.where == "pickling":
            side.lock = (n for n in ())
        return side


@action
def works():
    return "done"


@pytest.mark.contained
@pytest.mark.parametrize(
    ("where", "method", "count"),
    [("attach", "attach", 3), ("flush", "flush", 1), ("for_worker", "for_worker", 1), ("pickling", "for_worker", 1)],
)
def test_what_a_side_raises_is_counted_here_and_harms_nothing(where, method, count, caplog):
    with DotFlow(Config(tracer=Tracing(where)), name="workers") as workflow:
        workflow.task.add([works] * 3)
        run = workflow.start("parallel", max_workers=1).raise_for_status()
    assert run.provider_errors == {("tracer", method): count}
    assert caplog.text.count("only counted") == 1 + (where in ("attach", "flush"))  # and the two that were dropped
    assert workflow.result_storage() == ["done"] * 3


@pytest.mark.contained
def test_what_a_side_has_lost_is_counted_here():
    with DotFlow(Config(tracer=Tracing("nowhere")), name="workers") as workflow:
        workflow.task.add([works] * 3)
        run = workflow.start("parallel", max_workers=1).raise_for_status()
    assert run.dropped == {"spans": 2}
    assert run.provider_errors == {}


@pytest.mark.contained
def test_a_side_that_cannot_be_unpickled_is_counted_and_the_others_work(tmp_path):
    class Broken(WorkerSide):
        def attach(self, carried):
            return nullcontext()

        def __reduce__(self):
            return _raise, ()

    def _raise():
        raise ImportError("not here")

    class Log(RecordingLog):
        def attach(self, ids):
            return nullcontext()

        def for_worker(self):
            return Broken()

    with OtlpEndpoint() as listening:
        tracer = TracerOpenTelemetry(endpoint=listening.url)
        run, _ = start(opens_a_span, log=Log(), tracer=tracer)
        assert run.provider_errors == {("log", "for_worker"): 1}
        assert listening.one("of the step")
