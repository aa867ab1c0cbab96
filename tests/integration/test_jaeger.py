"""Runs read back from a real Jaeger, span by span."""

from __future__ import annotations

import os
import platform
import signal

import pytest
from opentelemetry import trace

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.providers import SchedulerInterval, StorageFile, TracerOpenTelemetry
from support import jaeger as real
from support import missing

pytestmark = pytest.mark.built

SERVICE = "jaeger-tests"


@pytest.fixture(scope="module")
def jaeger():
    binary = real.find()
    if binary is None:
        missing.skip_unbuilt("jaeger", "what Jaeger makes of a run")
    with real.Jaeger(binary) as running:
        yield running


@pytest.fixture
def config(jaeger):
    tracer = TracerOpenTelemetry(SERVICE, endpoint=jaeger.endpoint)
    yield {"tracer": tracer}
    tracer.close(5.0)


def tree(spans) -> dict:
    """Names as a tree: each span's name and task id, over those of its children, in the order they started."""
    by_parent: dict[str, list] = {}
    for span in spans:
        by_parent.setdefault(span.parent_id, []).append(span)

    def below(parent_id: str) -> list:
        children = by_parent.get(parent_id, [])
        return [
            (span.name, span.tags.get("dotflow.task.id"), span.tags.get("dotflow.attempt"), below(span.span_id))
            for span in children
        ]

    return below("")


def check_times(spans) -> None:
    """Every span lies inside its parent, also those that other processes have made."""
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        parent = by_id.get(span.parent_id)
        if parent is not None:
            # Jaeger keeps microseconds, cut off: one is lost at each end.
            assert parent.start_us <= span.start_us <= span.end_us <= parent.end_us + 2, (parent.name, span.name)


def check_statuses(spans) -> None:
    """An error has a type and a description; a failed attempt has exactly one exception, and nothing else has any."""
    for span in spans:
        failed = span.tags.get("error") is True
        assert failed == ("error.type" in span.tags), span.name
        exceptions = [event for event in span.events if event.get("event") == "exception"]
        holds_attempt = span.name == "attempt" or (span.name.startswith("task ") and not has_children(span, spans))
        assert len(exceptions) == (1 if failed and holds_attempt else 0), span.name
        for event in exceptions:
            assert event["exception.type"] == span.tags["error.type"]
            assert span.tags["error.type"] in event["exception.stacktrace"]


def has_children(span, spans) -> bool:
    return any(other.parent_id == span.span_id and other.name == "attempt" for other in spans)


@action
def extract():
    return 3


def flaky(tmp_path):
    @action(retry=3, name="flaky")
    def step():
        mark = len(list(tmp_path.glob("mark-*")))
        (tmp_path / f"mark-{mark}").touch()
        if mark < 2:
            raise ConnectionError("not yet")

    return step


@action(name="broken")
def broken():
    raise ValueError("no good")


def test_a_sequential_run(jaeger, config, tmp_path):
    with DotFlow(Config(**config), name="nightly", workflow_id="w-1") as workflow:
        workflow.task.add([extract, flaky(tmp_path), broken])
        run = workflow.start()
    spans = jaeger.trace(run.run_id)
    assert tree(spans) == [
        ("workflow nightly", None, None, [
            ("task extract", "extract", 1, []),
            ("task flaky", "flaky", 3, [("attempt", "flaky", n, []) for n in (1, 2, 3)]),
            ("task broken", "broken", 1, []),
        ]),
    ]  # fmt: skip
    check_times(spans)
    check_statuses(spans)
    root, task = spans[0], spans[1]
    assert {key: value for key, value in root.tags.items() if key.startswith(("dotflow.", "error", "otel."))} == {
        "dotflow.workflow.name": "nightly",
        "dotflow.workflow.id": "w-1",
        "dotflow.run.id": run.run_id,
        "dotflow.run.mode": "sequential",
        "dotflow.run.trigger": "manual",
        "dotflow.result": "failure",
        "error": True,
        "error.type": "ValueError",
        "otel.scope.name": "dotflow",
        "otel.scope.version": dotflow.__version__,
        "otel.status_code": "ERROR",
        "otel.status_description": "failed: broken",
    }
    assert {key: value for key, value in task.tags.items() if not key.startswith("otel.")} == {
        "span.kind": "internal",
        "dotflow.workflow.name": "nightly",
        "dotflow.workflow.id": "w-1",
        "dotflow.run.id": run.run_id,
        "dotflow.task.name": "extract",
        "dotflow.task.id": "extract",
        "dotflow.task.group": "default",
        "dotflow.task.status": "Completed",
        "dotflow.attempt": 1,
        "dotflow.result": "success",
        "code.function.name": f"{__name__}.extract",
        "process.pid": os.getpid(),
        "host.name": platform.node(),
    }
    errors = [span.name for span in spans if span.tags.get("error")]
    assert errors == ["workflow nightly", "attempt", "attempt", "task broken"]


def test_a_parallel_run_with_spans_of_its_steps_a_timeout_and_a_lost_worker(jaeger, config, tmp_path):
    @action(name="works")
    def works():
        with trace.get_tracer("the step's").start_as_current_span("inside"):
            return os.getpid()

    @action(name="dies", retry=2)
    def dies():
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    @action(name="hangs", timeout=0.2)
    def hangs():
        signal.pause()

    with DotFlow(Config(**config), name="parallel") as workflow:
        workflow.task.add([dies, hangs, works, works])  # a worker that dies takes along what it had not sent
        run = workflow.start("parallel", keep_going=True, max_workers=2)
        pids = workflow.result_storage()[2:]
    spans = jaeger.trace(run.run_id)
    root = next(span for span in spans if span.name == "workflow parallel")
    tasks = {span.tags["dotflow.task.id"]: span for span in spans if span.name.startswith("task ")}
    assert {span.parent_id for span in tasks.values()} == {root.span_id}
    assert [tasks[task_id].tags["process.pid"] for task_id in ("works", "works-2")] == pids
    inner = {span.parent_id: span for span in spans if span.name == "inside"}
    assert set(inner) == {tasks["works"].span_id, tasks["works-2"].span_id}
    check_times(spans)
    check_statuses(spans)
    attempts = sorted((s for s in spans if s.name == "attempt"), key=lambda s: s.tags["dotflow.attempt"])
    assert [(s.parent_id, s.tags["dotflow.result"], s.tags.get("error.type")) for s in attempts] == [
        (tasks["dies"].span_id, "failure", "WorkerDied"),
        (tasks["dies"].span_id, "success", None),
    ]
    assert tasks["hangs"].tags["dotflow.result"] == "timeout"
    assert tasks["hangs"].tags["error.type"] == "AttemptTimeout"
    assert {span.service for span in spans} == {SERVICE}


def test_a_resumed_run_is_linked_to_the_one_that_it_continues(jaeger, config, tmp_path):
    def workflow():
        made = DotFlow(Config(storage=StorageFile(tmp_path / "kept"), **config), name="resumed", workflow_id="w-2")
        made.task.add([extract, flaky_once(tmp_path)])
        return made

    first = workflow().start()
    second = workflow().start(resume=True).raise_for_status()
    before, after = jaeger.trace(first.run_id), jaeger.trace(second.run_id)
    assert first.failed
    assert after[0].links == [(first.run_id, before[0].span_id)]
    assert after[0].tags["dotflow.run.trigger"] == "resume"
    restored = next(span for span in after if span.name == "task extract")
    assert (restored.tags["dotflow.result"], restored.duration_us) == ("restored", 0)
    check_times(after)
    check_statuses(after)


def flaky_once(tmp_path):
    @action(name="second")
    def step():
        if not (tmp_path / "failed").exists():
            (tmp_path / "failed").touch()
            raise ConnectionError("not yet")

    return step


def test_every_tick_of_a_schedule_is_a_trace_of_its_own(jaeger, config):
    scheduler, runs = SchedulerInterval(seconds=0.01), []

    def count(tasks):
        runs.append(tasks[0].run_id)
        if len(runs) == 3:
            scheduler.stop()

    with DotFlow(Config(scheduler=scheduler, **config), name="scheduled") as workflow:
        workflow.task.add(extract)
        workflow.schedule(on_success=count)
    for run_id in runs:
        spans = jaeger.trace(run_id)
        check_times(spans)
        check_statuses(spans)
        root, task = spans
        assert (root.name, root.tags["dotflow.run.trigger"]) == ("workflow scheduled", "schedule")
        assert task.parent_id == root.span_id
    assert len(set(runs)) == 3


def test_a_run_is_found_by_its_id_and_by_its_workflow(jaeger, config):
    with DotFlow(Config(**config), name="needle", workflow_id="w-3") as workflow:
        workflow.task.add(extract)
        run = workflow.start()
    assert jaeger.find(SERVICE, tags=f'{{"dotflow.run.id":"{run.run_id}"}}') == {run.run_id}
    assert jaeger.find(SERVICE, operation="workflow needle") == {run.run_id}
    assert jaeger.find(SERVICE, tags='{"dotflow.workflow.id":"w-3","dotflow.result":"failure"}') == set()


def test_over_grpc_it_is_the_same(jaeger):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="SKIPPED: install dotflow-sdk[otel-grpc]")
    tracer = TracerOpenTelemetry(SERVICE, endpoint=jaeger.grpc_endpoint, protocol="grpc")
    with DotFlow(Config(tracer=tracer), name="grpc") as workflow:
        workflow.task.add([extract, extract])
        run = workflow.start("parallel", max_workers=2).raise_for_status()
    assert run.dropped == {}
    assert [span.name for span in jaeger.trace(run.run_id)] == ["workflow grpc", "task extract", "task extract"]
