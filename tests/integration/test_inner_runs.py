"""A run that a step starts belongs to the attempt of that step: it takes over the config, ends with it, and is seen."""

from __future__ import annotations

import gc
import json
import logging
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dotflow import Config, DotFlow, action
from dotflow.errors import AttemptCancelled
from dotflow.events import AttemptEnded, AttemptStarted, WorkflowEnded
from dotflow.providers import LogStructlog, MetricsPrometheus, StorageFile, TracerOpenTelemetry
from dotflow.testing import (
    Calls,
    RecordingLog,
    RecordingMetrics,
    RecordingNotify,
    RecordingServer,
    RecordingStorage,
    RecordingTracer,
)
from support.inner_steps import hang
from support.programs import LIMIT, program
from support.watched import until

EXECUTORS = ("inline", "thread", "process")
IN_PROCESS = ("inline", "thread")
INNER = ({"executor": "inline"}, {"executor": "thread", "max_workers": 1}, {"executor": "process", "max_workers": 1})
INNER_IDS = [keywords["executor"] for keywords in INNER]


@action
def good():
    return "good"


@action
def bad():
    raise ValueError("no table")


def workflow_of(*steps, config=None, workflow_id="w", name="outer", **keywords):
    workflow = DotFlow(config, workflow_id=workflow_id, name=name)
    for step in steps:
        workflow.task.add(step, **keywords)
    return workflow


# --- what it takes over


@pytest.mark.parametrize("executor", IN_PROCESS)
def test_without_a_config_it_uses_that_of_the_run_around_it(executor, monkeypatch):
    monkeypatch.setenv("WORKFLOW_ID", "of the program")
    found = []

    @action
    def fan():
        for given in ({}, {}, {"workflow_id": "mine"}, {"config": Config()}):
            with DotFlow(name="parts", **given) as parts:
                found.append((parts.config, parts.workflow_id))

    outer = workflow_of(fan)
    outer.start(executor=executor).raise_for_status()
    assert [workflow_id for _, workflow_id in found] == [
        "w/fan/parts",
        "w/fan/parts-2",
        "mine",
        "w/fan/parts-3",
    ]
    assert [config is outer.config for config, _ in found] == [True, True, True, False]


def test_outside_of_steps_there_is_nothing_to_take_over():
    @action
    def step():
        return DotFlow

    outer = workflow_of(step)
    outer.start().raise_for_status()
    later = DotFlow(name="parts")
    assert later.config is not outer.config
    assert "/" not in later.workflow_id


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_item_has_inner_workflows_of_its_own(executor):
    @action
    def ids():
        return [1, 2]

    @action
    def each(item):
        return DotFlow(name=f"of {item}").workflow_id

    outer = workflow_of(ids)
    outer.task.add(each, after="ids", each=True)
    outer.start(executor=executor).raise_for_status()
    assert outer.result_storage()[1] == ["w/each[0]/of 1", "w/each[1]/of 2"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_resumes_when_the_run_around_it_does(executor, tmp_path):
    @action
    def count():
        with (tmp_path / "counted").open("a") as file:
            file.write("x")

    @action
    def fails_once():
        if not (tmp_path / "mended").exists():
            raise ConnectionError("not yet")

    @action
    def fan():
        with DotFlow(name="parts") as parts:
            parts.task.add([count, fails_once])
            parts.start().raise_for_status()
        return [str(task.result) for task in parts.result_task()]

    def run(resume):
        with workflow_of(fan, config=Config(storage=StorageFile(tmp_path / "kept"))) as outer:
            return outer.start(executor=executor, resume=resume), outer.result_storage()

    first, _ = run(resume=False)
    (tmp_path / "mended").touch()
    second, values = run(resume=True)
    assert (first.failed, second.failed) == (True, False)
    assert values == [["restored", "success"]]
    assert (tmp_path / "counted").read_text() == "x"
    third, values = run(resume=False)
    assert values == [["success", "success"]]
    assert third.tasks[0].inner_runs[0].trigger == "manual"


# --- its end


class Steps:
    """Inner steps that hang until they are let go, and what has happened, in order, by the listeners of the config."""

    def __init__(self):
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.raised = []
        self.happened = []
        self.outer = None

    def listen(self, event):
        task = getattr(event, "task", None)
        if isinstance(event, (AttemptStarted, AttemptEnded)) and event.run.workflow_name == "outer":
            self.happened.append((type(event).__name__, task.attempt))
        if isinstance(event, AttemptStarted) and event.run.workflow_name == "parts":
            self.begun.set()
        if isinstance(event, WorkflowEnded):
            self.happened.append((event.run.workflow_name, str(event.run.result)))

    def hang(self):
        @action(name="hang")
        def step():
            self.let_go.wait(LIMIT)

        return step

    def fan(self, inner, **options):
        hangs = hang if inner["executor"] == "process" else self.hang()

        @action(name="fan", **options)
        def step():
            with DotFlow(name="parts") as parts:
                parts.task.add([hangs, good])
                try:
                    parts.start(**inner)
                except BaseException as error:
                    self.raised.append(type(error))
                    raise

        return step

    def config(self):
        return Config(listeners=[self.listen])


@pytest.fixture
def steps():
    made = Steps()
    yield made
    made.let_go.set()


@pytest.mark.parametrize("executor", IN_PROCESS)
@pytest.mark.parametrize("inner", INNER, ids=INNER_IDS)
def test_it_ends_when_its_attempt_has_timed_out_and_before_the_next_begins(executor, inner, steps):
    outer = workflow_of(steps.fan(inner, timeout=0.5, retry=2), config=steps.config())
    run = outer.start(executor=executor)
    assert [error.exception for error in run.tasks[0].errors] == ["AttemptTimeout", "AttemptTimeout"]
    assert steps.happened == [
        *(("AttemptStarted", 1), ("parts", "cancellation"), ("AttemptEnded", 1)),
        *(("AttemptStarted", 2), ("parts", "cancellation"), ("AttemptEnded", 2)),
        ("outer", "failure"),
    ]
    assert [[str(task.status) for task in inner.tasks] for inner in run.tasks[0].inner_runs] == [
        ["Failed", "Not started"],
        ["Failed", "Not started"],
    ]
    outer.close()


@pytest.mark.parametrize("executor", IN_PROCESS)
def test_an_async_step_that_is_given_up_takes_the_run_along_that_it_awaits(executor, steps):
    @action(timeout=0.5, retry=2)
    async def fan():
        await workflow_of(steps.hang(), workflow_id=None, name="parts").start_async()

    workflow_of(fan, config=steps.config()).start(executor=executor)
    assert steps.happened == [
        *(("AttemptStarted", 1), ("parts", "cancellation"), ("AttemptEnded", 1)),
        *(("AttemptStarted", 2), ("parts", "cancellation"), ("AttemptEnded", 2)),
        ("outer", "failure"),
    ]


@action(timeout=1.5, retry=2)
def fan_that_hangs(initial_context):
    with DotFlow(name="parts") as parts:
        parts.task.add(hang)
        parts.start(executor=initial_context.storage)


@pytest.mark.parametrize("inner", ["inline", "process"])
def test_with_a_worker_that_is_killed_everything_ends_that_it_has_started(inner, mine):
    """`mine` finds the processes of the test, and sees to it that none is left."""
    with workflow_of(fan_that_hangs, initial_context=inner) as outer:
        run = outer.start(executor="process")
        assert [error.exception for error in run.tasks[0].errors] == ["AttemptTimeout", "AttemptTimeout"]
        assert run.tasks[0].inner_runs == []
    until(lambda: mine() == set())


@pytest.mark.parametrize("executor", IN_PROCESS)
@pytest.mark.parametrize("inner", INNER, ids=INNER_IDS)
def test_it_ends_when_the_run_around_it_is_cancelled(executor, inner, steps):
    outer = workflow_of(steps.fan(inner), good, config=steps.config())
    run = outer.start("background", executor=executor)
    assert steps.begun.wait(LIMIT)
    run.cancel()
    run.wait(LIMIT)
    assert steps.happened == [
        ("AttemptStarted", 1),
        ("parts", "cancellation"),
        ("AttemptEnded", 1),
        ("outer", "cancellation"),
    ]
    assert str(run.tasks[0].result) == "cancellation"
    outer.close()


def test_a_step_in_the_thread_of_start_goes_on_but_the_run_inside_it_is_cancelled(steps):
    outer = workflow_of(steps.fan({"executor": "thread"}), good, config=steps.config())

    def cancel():
        steps.begun.wait(LIMIT)
        outer.task.latest.cancel()

    threading.Thread(target=cancel, daemon=True).start()
    run = outer.start()
    assert steps.raised == [AttemptCancelled]
    assert str(run.tasks[0].result) == "cancellation"
    assert str(run.tasks[1].status) == "Not started"
    assert steps.happened[1:3] == [("parts", "cancellation"), ("AttemptEnded", 1)]


def test_a_step_that_was_given_up_starts_no_further_run(steps):
    refused, outcome = threading.Event(), []

    @action(timeout=0.3)
    def fan():
        parts = workflow_of(steps.hang(), config=None, workflow_id=None, name="parts")
        for _ in range(2):
            try:
                parts.start()
            except AttemptCancelled as error:
                outcome.append(str(error))
        refused.set()

    workflow_of(fan).start(executor="thread")
    assert refused.wait(LIMIT)
    assert len(outcome) == 2
    assert all("'parts' was given up" in text for text in outcome)


def test_a_run_that_cannot_be_started_is_not_waited_for(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    @action
    def fan():
        parts = workflow_of(good, workflow_id=None, name="parts")
        with monkeypatch.context() as patch:
            patch.setattr("dotflow.workflow.threading.Thread", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                parts.start("background")

    assert not workflow_of(fan).start().failed


@pytest.mark.parametrize("executor", IN_PROCESS)
def test_runs_that_a_step_leaves_behind_in_the_background_are_waited_for(executor, steps):
    returned, done = threading.Event(), []

    @action
    def slow():
        returned.wait(LIMIT)
        done.append("slow")

    @action
    def fan():
        workflow_of(slow, workflow_id=None, name="parts").start("background")
        returned.set()
        return "returned"

    outer = workflow_of(fan, config=steps.config())
    run = outer.start(executor=executor)
    assert done == ["slow"]
    assert steps.happened == [("AttemptStarted", 1), ("parts", "success"), ("AttemptEnded", 1), ("outer", "success")]
    assert outer.result_storage() == ["returned"]
    assert not run.failed


def test_in_a_worker_too_what_is_left_behind_is_waited_for():
    @action
    def fan():
        workflow_of(good, workflow_id=None, name="parts").start("background")

    with workflow_of(fan) as outer:
        run = outer.start(executor="process")
    assert [(inner.workflow_name, str(inner.status)) for inner in run.tasks[0].inner_runs] == [("parts", "Completed")]


@pytest.mark.parametrize("executor", IN_PROCESS)
def test_runs_nested_twice_end_from_the_inside_out(executor, steps):
    @action
    def middle():
        workflow_of(steps.fan({"executor": "thread"}), workflow_id=None, name="middle").start()

    @action(timeout=0.5)
    def fan():
        workflow_of(middle, workflow_id=None, name="upper").start()

    run = workflow_of(fan, config=steps.config()).start(executor=executor)
    ends = [name for name, _ in steps.happened if name not in ("AttemptStarted", "AttemptEnded")]
    assert ends == ["parts", "middle", "upper", "outer"]
    upper = run.tasks[0].inner_runs[0]
    assert upper.workflow_id == "w/fan/upper"
    assert upper.tasks[0].inner_runs[0].tasks[0].inner_runs[0].workflow_name == "parts"


PROGRAM = """
    @action
    def hang():
        ready()
        threading.Event().wait(60)

    @action
    def fan():
        parts = DotFlow(name="parts")
        parts.task.add(hang)
        {start}

    def listen(event):
        if isinstance(event, events.WorkflowEnded):
            print(event.run.workflow_name, event.run.result, flush=True)

    outer = DotFlow(Config(listeners=[listen]), name="outer")
    outer.task.add(fan)
    outer.start(executor={executor!r})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("start", ["parts.start()", "parts.start('background').wait()", "parts.start('background')"])
@pytest.mark.parametrize("executor", IN_PROCESS)
def test_ctrl_c_ends_both(start, executor):
    with program(PROGRAM.format(start=start, executor=executor)) as process:
        for line in process.stdout:
            if line == "ready\n":
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert out.split("\n")[:2] == ["parts cancellation", "outer cancellation"], err
    assert process.returncode == -signal.SIGINT


# --- what is seen


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_tree_shows_it_below_its_task_with_the_cause_of_its_failure(executor):
    @action
    def lower():
        workflow_of(good, bad, workflow_id=None, name="lower").start().raise_for_status()

    @action
    def fan():
        workflow_of(lower, workflow_id=None, name="parts").start().raise_for_status()

    with workflow_of(fan) as outer:
        run = outer.start(executor=executor)
    lines = [line.strip("├└─│ ✗✓|`-+x") for line in run.tree().splitlines()]
    shown = [line.split("  ")[0] for line in lines]
    assert [line for line in shown if not line.startswith("attempt")][:-1] == [
        *("workflow outer", "fan", "workflow parts", "lower", "workflow lower", "good", "bad"),
    ]
    assert lines[-2] == "attempt 1: ValueError: no table"
    error = run.tasks[0].error
    assert error.exception == "RunFailed"
    assert error.message.splitlines()[0].endswith("failed (failure): bad: ValueError: no table")
    assert "ValueError: no table" in error.traceback
    assert 'raise ValueError("no table")' in error.traceback


def test_of_many_runs_inside_a_task_the_last_are_shown_and_those_that_failed():
    @action
    def fan():
        for number in range(20):
            workflow_of(bad if number in (3, 7) else good, workflow_id=None, name=f"part {number}").start()

    tree = workflow_of(fan).start().tree()
    assert [number for number in range(20) if f"workflow part {number} " in tree] == [3, 7, 17, 18, 19]
    assert "15 more runs before" in tree


def test_runs_of_items_are_shown_below_the_mapped_task():
    @action
    def numbers():
        return [0, 1]

    @action
    def fan(number):
        workflow_of(bad if number else good, workflow_id=None, name="parts").start().raise_for_status()

    outer = workflow_of(numbers)
    outer.task.add(fan, after="numbers", each=True)
    lines = [line.strip("├└─│ ") for line in outer.start().tree().splitlines()]
    assert [line.split()[-1] for line in lines if line.startswith("workflow parts")] == ["fan[0]", "fan[1]"]
    assert any(line.endswith("ValueError: no table") for line in lines)


def test_what_is_kept_of_a_run_has_no_values():
    @action
    def fan():
        workflow_of(good, workflow_id=None, name="parts", initial_context="large").start()

    run = workflow_of(fan).start()
    (inner,) = run.tasks[0].inner_runs
    (task,) = inner.tasks
    assert (task.current_context.storage, task.initial_context.storage) == (None, None)
    assert (task.task_id, str(task.status), inner.wait(0)) == ("good", "Completed", inner)
    with pytest.raises(TypeError, match="a record of one that has run"):
        task.step()


def told_everywhere(run_inside):
    """What all providers are told, by the executor of the outer run, as counts: calls of one kind have no order of their own."""
    found = {}
    for executor in EXECUTORS:
        calls, heard = Calls(), Counter()
        config = Config(
            **{
                kind: recording(calls)
                for kind, recording in (
                    ("tracer", RecordingTracer),
                    ("metrics", RecordingMetrics),
                    ("log", RecordingLog),
                    ("notify", RecordingNotify),
                    ("server", RecordingServer),
                )
            },
            listeners=[lambda event, heard=heard: heard.update([_seen(event)])],
        )
        with workflow_of(run_inside, config=config) as outer:
            outer.start(executor=executor)
        found[executor] = Counter(_told(call) for call in calls), heard
    return found


def _told(call):
    """What a call was about. A run has no name in the calls that get only its id."""
    workflow = call.arguments.get("workflow")
    of = call.arguments.get("workflow_id") or (call.task.workflow_name if call.task else getattr(workflow, "name", ""))
    task = (call.task.task_id, str(call.task.status), str(call.task.result), call.task.attempt) if call.task else ()
    return call.name, of, task, call.arguments.get("event", ""), call.arguments.get("status", "")


def _seen(event):
    task = getattr(event, "task", None)
    return type(event).__name__, event.run.workflow_name, task.task_id if task else ""


@action(retry=2)
def flaky(initial_context):
    raise ConnectionError("again")


@action
def fan_of_all():
    with DotFlow(name="parts") as parts:
        parts.task.add([good, flaky])
        parts.start(keep_going=True)
    with DotFlow(name="more") as more:
        more.task.add(good)
        more.start()
    raise KeyError("the attempt around them fails")


@action
def fan_of_workers():
    with DotFlow(name="upper") as upper:
        upper.task.add(fan_of_all)
        upper.start(executor="process", max_workers=1)


@pytest.mark.parametrize("step", [fan_of_all, fan_of_workers], ids=["once", "twice"])
def test_every_provider_is_told_the_same_wherever_the_step_runs(step):
    found = told_everywhere(step)
    calls, heard = found["inline"]
    names = Counter(name for name, *_ in calls.elements())
    assert names["metrics.task_retried"] == 1
    assert names["metrics.workflow_started"] == (3 if step is fan_of_all else 4)
    assert heard["WorkflowEnded", "parts", ""] == 1
    assert found["thread"] == (calls, heard)
    assert found["process"] == (calls, heard)


def test_in_a_process_pool_of_somebody_elses_too():
    metrics = RecordingMetrics()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outer = workflow_of(fan_of_all, config=Config(metrics=metrics))
        run = outer.start(executor=pool)
    assert len(metrics.calls.named("metrics.workflow_started")) == 3
    assert [inner.workflow_name for inner in run.tasks[0].inner_runs] == ["parts", "more"]


@pytest.mark.contained
def test_a_provider_that_raises_when_it_is_told_harms_nobody():
    class Broken(RecordingMetrics):
        def task_retried(self, task):
            raise ValueError("no metrics today")

    metrics = Broken()
    with workflow_of(fan_of_all, config=Config(metrics=metrics)) as outer:
        run = outer.start(executor="process")
    assert run.provider_errors == {("metrics", "task_retried"): 1}
    assert len(metrics.calls.named("metrics.workflow_completed")) == 1


# --- the config that a step holds


class Closable(RecordingMetrics):
    """A provider that cannot travel, and that knows whether it was closed."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.closed = 0

    def close(self, timeout):
        self.closed += 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_may_hold_the_config_of_its_run_and_closes_nothing_of_it(executor):
    metrics = Closable()
    config = Config(metrics=metrics)

    @action
    def fan():
        with DotFlow(config, name="parts") as parts:
            parts.task.add(good)
            parts.start().raise_for_status()
        with DotFlow(name="more") as more:
            more.task.add(good)
            more.start().raise_for_status()

    with workflow_of(fan, config=config) as outer:
        outer.start(executor=executor).raise_for_status()
        outer.start(executor=executor).raise_for_status()
        assert metrics.closed == 0
    assert metrics.closed == 1
    assert len(metrics.calls.named("metrics.workflow_completed")) == 6


def test_the_last_of_the_workflows_that_use_a_provider_closes_it():
    metrics, storage = Closable(), RecordingStorage()
    first = DotFlow(Config(metrics=metrics, storage=storage))
    second = DotFlow(Config(metrics=metrics))
    first.close()
    first.close()
    assert metrics.closed == 0
    second.close()
    assert metrics.closed == 1


def test_a_workflow_that_became_garbage_uses_nothing():
    metrics = Closable()
    first, second = (workflow_of(good, config=Config(metrics=metrics)) for _ in range(2))
    first.start()
    del first
    gc.collect()
    second.close()
    assert metrics.closed == 1


def test_without_a_storage_that_travels_an_inner_run_in_a_worker_keeps_nothing():
    @action
    def fan():
        with DotFlow(name="parts") as parts:
            parts.task.add(good)
            parts.start().raise_for_status()
        return type(parts.config.storage).__name__

    storage = RecordingStorage()
    with workflow_of(fan, config=Config(storage=storage)) as outer:
        outer.start(executor="process").raise_for_status()
        assert outer.result_storage() == ["StorageDefault"]
    assert list(storage.kept) == ["w:fan"]


# --- the reference providers


@action(retry=2)
def fan_with_telemetry():
    with DotFlow(name="parts") as parts:
        parts.task.add(speak)
        parts.task.add(bad)
        parts.start().raise_for_status()


@action
def speak():
    logging.getLogger("of.the.step").warning("hello")


@pytest.mark.parametrize("where", ["file", "provider"])
def test_spans_lines_and_counts_are_the_same_wherever_the_step_runs(where, tmp_path):
    """`provider`: spans go to a provider of the application's, which no worker has: the coordinator makes them."""
    found = {}
    for executor in EXECUTORS:
        lines, spans = tmp_path / f"{executor}.log", tmp_path / f"{executor}.jsonl"
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = TracerOpenTelemetry(file=spans) if where == "file" else TracerOpenTelemetry(tracer_provider=provider)
        metrics = MetricsPrometheus()
        config = Config(tracer=tracer, log=LogStructlog(output=lines, format="json", capture=True), metrics=metrics)
        with workflow_of(fan_with_telemetry, config=config) as outer:
            run = outer.start(executor=executor)
            assert not run.provider_errors
            assert not run.dropped
            counts = Counter(
                {
                    (sample.name, *sample.labels.values()): sample.value
                    for family in metrics.registry.collect()
                    for sample in family.samples
                    if sample.name.startswith("dotflow_") and sample.name.endswith(("_total", "_count"))
                }
            )
        written = [json.loads(line) for line in lines.read_text().splitlines()]
        seen = Counter((line["event"], line.get("workflow"), line.get("task_id")) for line in written)
        tree = _spans_in(spans) if where == "file" else _spans_of(exporter)
        assert {trace for _, _, trace in tree} == {run.trace_id}
        if where == "file":
            assert {line["trace_id"] for line in written} == {run.trace_id}
        found[executor] = Counter((name, parent) for name, parent, _ in tree), seen, counts
    spans, lines, counts = found["inline"]
    assert spans["workflow parts", "attempt"] == 2
    assert spans["task bad", "workflow parts"] == 2
    assert lines["hello", "parts", "speak"] == 2
    assert counts["dotflow_task_failed_total", "parts", "bad"] == 2
    assert found["thread"] == found["inline"]
    assert found["process"] == found["inline"]


def _spans_in(file):
    found = [
        span
        for line in file.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    names = {span["spanId"]: span["name"] for span in found}
    return [(span["name"], names.get(span.get("parentSpanId")), span["traceId"]) for span in found]


def _spans_of(exporter):
    found = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in found}
    return [
        (span.name, names.get(span.parent.span_id) if span.parent else None, format(span.context.trace_id, "032x"))
        for span in found
    ]
