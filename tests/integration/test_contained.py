"""Telemetry never harms the work: providers that raise at every call, and what the run looks like then."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from dotflow import Config, DotFlow, action
from dotflow.testing import (
    Calls,
    RecordingLog,
    RecordingMetrics,
    RecordingNotify,
    RecordingServer,
    RecordingStorage,
    RecordingTracer,
)

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
MODES = ["sequential", "background"]
HOOKS = {
    "tracer": "start_attempt end_attempt restore_task workflow_carrier carrier attach",
    "metrics": "declare task_started task_restored task_skipped expected_interval schedule_skipped provider_failed telemetry_dropped",
    "log": "attach",
    "notify": "",
    "server": "",
}
SHARED = "flush take_dropped close"
RECORDING = {
    "tracer": RecordingTracer,
    "metrics": RecordingMetrics,
    "log": RecordingLog,
    "notify": RecordingNotify,
    "server": RecordingServer,
}


class Broken(Exception):
    """What a broken provider raises."""


class Tally:
    """Counts the calls of the broken providers, by provider and method."""

    def __init__(self):
        self.raised = Counter()

    def breaking(self, kind, error=Broken, *, but=()):
        """A provider of a contract that raises in every method there is, the optional ones included."""
        methods = {*RECORDING[kind].__abstractmethods__, *RECORDING[kind].__mro__[2].__abstractmethods__}
        methods |= {*HOOKS[kind].split(), *SHARED.split()}
        methods -= {*but}
        return type(f"Broken{kind}", (RECORDING[kind],), {name: self._raiser(kind, name, error) for name in methods})()

    def listener(self, event):
        self.raised["listener", "Tally.listener"] += 1
        raise Broken(event)

    def _raiser(self, kind, method, error):
        def raise_it(*_, **__):
            self.raised[kind, method] += 1
            raise error(f"{kind}.{method}")

        return raise_it


def steps():
    failures = [ConnectionError("not yet")]

    @action
    def good():
        return 1

    @action(retry=2)
    def flaky(previous_context):
        if failures:
            raise failures.pop()
        return previous_context.storage + 1

    @action
    async def concurrent(previous_context):
        return previous_context.storage + 1

    @action(timeout=LIMIT)
    def bad():
        raise ValueError("no good")

    return [good, flaky, concurrent, bad]


class Ran:
    """A run of a success, a retry, an async step and a failure, beside the broken providers of the given kinds."""

    def __init__(self, mode, *broken, error=Broken):
        self.tally, self.calls, self.seen = Tally(), Calls(), []
        providers = {
            kind: self.tally.breaking(kind, error) if kind in broken else RECORDING[kind](self.calls)
            for kind in RECORDING
        }
        listeners = [self.tally.listener] if "listener" in broken else []
        self.events = []
        config = Config(
            storage=RecordingStorage(self.calls),
            listeners=[*listeners, lambda event: self.events.append(type(event).__name__)],
            **providers,
        )
        self.workflow = DotFlow(config, name="w", workflow_id="w-1")
        self.workflow.task.add(step=steps(), callback=lambda task: self.seen.append((task.task_id, task.status)))
        self.run = self.workflow.start(
            mode=mode,
            on_success=lambda tasks: self.seen.append("success"),
            on_failure=lambda tasks: self.seen.append(("failure", len(tasks))),
        ).wait(LIMIT)
        self.counted_in_the_run = self.tally.raised.copy()
        self.workflow.close()

    @property
    def what_happened(self):
        tasks = [(t.task_id, t.status, t.result, t.attempt, t.retry_count) for t in self.run.tasks]
        errors = [[(e.attempt, e.exception, e.message) for e in task.errors] for task in self.run.tasks]
        return self.run.status, self.run.result, self.workflow.result_storage(), tasks, errors, self.seen, self.events

    def calls_of(self, *kinds):
        return [call.name for call in self.calls if call.provider in kinds]


KINDS = ["tracer", "metrics", "log", "notify", "server", "listener"]
EVERYTHING = tuple(KINDS)


@pytest.mark.contained
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("broken", [*[(kind,) for kind in KINDS], EVERYTHING], ids="+".join)
def test_a_provider_that_raises_at_every_call_changes_nothing(mode, broken):
    clean, ran = Ran(mode), Ran(mode, *broken)
    assert ran.what_happened == clean.what_happened
    assert set(broken) <= {kind for kind, _ in ran.tally.raised}
    for kind in ("tracer", "metrics", "log", "storage"):
        if kind not in broken:
            assert ran.calls_of(kind) == clean.calls_of(kind)
    network = [kind for kind in ("notify", "server") if kind not in broken]
    assert ran.calls_of(*network) == clean.calls_of(*network)


@pytest.mark.contained
@pytest.mark.parametrize("broken", [*[(kind,) for kind in KINDS], EVERYTHING], ids="+".join)
def test_every_error_is_counted(broken):
    ran = Ran("sequential", *broken)
    uncounted = {
        ("metrics", "declare"),  # there is no run yet
        ("metrics", "provider_failed"),  # it would never end
        ("metrics", "telemetry_dropped"),
    }
    expected = {key: count for key, count in ran.counted_in_the_run.items() if key not in uncounted}
    assert ran.run.provider_errors == expected
    assert ran.run.dropped == {}


def test_a_clean_run_counts_nothing():
    ran = Ran("sequential")
    assert ran.run.provider_errors == ran.run.dropped == {}


@pytest.mark.contained
def test_the_counts_are_those_of_the_calls_in_the_contract():
    ran = Ran("sequential", "tracer", "notify")
    assert ran.run.provider_errors == {
        ("tracer", "start_workflow"): 1,
        ("tracer", "workflow_carrier"): 1,
        ("tracer", "start_task"): 4,
        ("tracer", "carrier"): 4 + 5,
        ("tracer", "start_attempt"): 5,
        ("tracer", "end_attempt"): 5,
        ("tracer", "end_task"): 4,
        ("tracer", "end_workflow"): 1,
        ("tracer", "flush"): 1,
        ("tracer", "take_dropped"): 1,
        ("notify", "hook_status_task"): 9,
        ("notify", "flush"): 1,
        ("notify", "take_dropped"): 1,
    }


@pytest.mark.contained
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_told_once_however_often_and_in_however_many_runs(contained, kind):
    ran = Ran("sequential", kind)
    assert len(contained) == 1
    assert contained[0].startswith(f"{kind}.")
    assert "raised Broken" in contained[0]
    assert sum(ran.tally.raised.values()) > 5
    again = DotFlow(ran.workflow.config, name="w")
    again.task.add(step=steps())
    again.start()
    again.start()
    assert len(contained) == 2


@pytest.mark.contained
def test_another_kind_of_error_is_told_too(contained):
    errors = [KeyError, KeyError, OSError, Broken, OSError]

    class Changing(RecordingMetrics):
        def task_completed(self, task):
            raise errors.pop(0)

    workflow = DotFlow(Config(metrics=Changing()), name="w")
    workflow.task.add(step=[action(name="step")(lambda: 1)] * 5)
    run = workflow.start()
    assert run.provider_errors == {("metrics", "task_completed"): 5}
    assert [line.split(";")[0] for line in contained] == [
        f"metrics.task_completed raised {name}" for name in ("KeyError", "OSError", "Broken")
    ]


@pytest.mark.contained
def test_metrics_hear_of_every_error_of_the_others():
    heard = Counter()

    class Listening(RecordingMetrics):
        def provider_failed(self, provider, method):
            heard[provider, method] += 1

    tally = Tally()
    config = {kind: tally.breaking(kind) for kind in ("tracer", "log", "notify", "server")}
    workflow = DotFlow(Config(metrics=Listening(), **config), name="w")
    workflow.task.add(step=steps())
    run = workflow.start()
    assert heard == run.provider_errors == tally.raised


class _RaisingFilter(logging.Filter):
    def filter(self, record):
        raise RuntimeError("a filter of the application's")


def test_logging_that_raises_harms_nothing_either():
    logger, harmful = logging.getLogger("dotflow"), _RaisingFilter()
    logger.addFilter(harmful)
    try:
        workflow = DotFlow(name="w")
        workflow.task.add(step=steps())
        run = workflow.start()
    finally:
        logger.removeFilter(harmful)
    assert [str(task.status) for task in run.tasks] == ["Completed", "Completed", "Completed", "Failed"]
    assert run.provider_errors["log", "error"] == 2


# --- callbacks


@pytest.mark.contained
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step", [lambda: 1, lambda: 1 / 0])
def test_a_callback_that_raises_changes_nothing(contained, mode, step):
    def raising(**_):
        raise Broken("in the callback")

    workflow = DotFlow(name="w")
    workflow.task.add(step=action(name="step")(step), callback=raising)
    run = workflow.start(mode=mode, on_success=raising, on_failure=raising).wait(LIMIT)
    clean = DotFlow(name="w")
    clean.task.add(step=action(name="step")(step))
    expected = clean.start()
    assert (run.status, run.result) == (expected.status, expected.result)
    name = "on_failure" if run.failed else "on_success"
    assert run.provider_errors == {("callback", "step"): 1, ("callback", name): 1}
    told = ["callback.step raised Broken", f"callback.{name} raised Broken"]  # two functions, two mistakes
    assert [line.split(";")[0] for line in contained] == told


@pytest.mark.contained
def test_a_callback_of_many_tasks_is_told_of_once(contained):
    def wrong():
        """Takes no task."""

    workflow = DotFlow(name="w")
    for _ in range(5):
        workflow.task.add(step=action(name="step")(lambda: 1), callback=wrong)
    run = workflow.start()
    assert sum(run.provider_errors.values()) == 5
    assert [line.split(";")[0] for line in contained] == ["callback.step raised TypeError"]


@pytest.mark.contained
def test_each_method_with_a_wrong_signature_is_told(contained):
    class Wrong(RecordingMetrics):
        def workflow_started(self, workflow_id):
            """Takes no keywords."""

        def task_completed(self):
            """Takes no task."""

    workflow = DotFlow(Config(metrics=Wrong()), name="w")
    workflow.task.add([action(name="step")(lambda: 1)] * 3)
    run = workflow.start()
    assert run.provider_errors == {("metrics", "workflow_started"): 1, ("metrics", "task_completed"): 3}
    assert [line.split(";")[0] for line in contained] == [
        "metrics.workflow_started raised TypeError",
        "metrics.task_completed raised TypeError",
    ]


# --- a carrier or a context manager that makes no sense


@pytest.mark.contained
@pytest.mark.parametrize("carrier", [None, 5, {"traceparent": "00-a-b-zz"}, {"traceparent": None}, "text"])
def test_a_carrier_that_makes_no_sense_names_no_span(carrier):
    class Odd(RecordingTracer):
        def carrier(self, task):
            return carrier

        def workflow_carrier(self, run):
            return carrier

        def attach(self, given):
            return given

    class Attaching(RecordingLog):
        def attach(self, ids):
            return ids

    workflow = DotFlow(Config(tracer=Odd(), log=Attaching()), name="w")
    workflow.task.add(step=steps())
    run = workflow.start()
    assert workflow.result_storage() == [1, 2, 3, None]
    assert run.provider_errors["log", "attach"] == 5
    assert run.span is run.tasks[0].span is None
    assert run.trace_id == run.run_id


# --- what ends the program


@pytest.mark.contained  # flush is called in a thread of the engine's, where there is no program to end
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["tracer", "metrics", "log"])
def test_a_provider_that_exits_ends_the_run_and_leaves_nothing_open(mode, kind):
    ran_in = []
    tally, calls = Tally(), Calls()
    others = {other: RECORDING[other](calls) for other in RECORDING if other != kind}
    workflow = DotFlow(Config(**others, **{kind: tally.breaking(kind, SystemExit, but=["declare"])}), name="w")
    workflow.task.add(step=action(name="step")(lambda: ran_in.append(1)))
    if mode == "sequential":
        with pytest.raises(SystemExit):
            workflow.start()
    else:
        workflow.start(mode=mode).wait(LIMIT)
    run = workflow.task.latest
    assert (run.status, run.result) == ("Failed", "cancellation")
    names = Counter(calls.names())
    assert names["tracer.start_task"] == names["tracer.end_task"]
    assert names["tracer.start_workflow"] == names["tracer.end_workflow"]
    assert names["server.update_workflow"] == 2
    assert ran_in == []


@pytest.mark.contained
@pytest.mark.parametrize("kind", ["notify", "server"])
def test_a_network_provider_that_exits_does_not_end_the_background_queue(kind):
    other = "server" if kind == "notify" else "notify"
    clean, ran = Ran("sequential"), Ran("sequential", kind, error=SystemExit)
    assert ran.calls_of(other) == clean.calls_of(other)
    assert ran.what_happened == clean.what_happened
    assert ran.run.provider_errors == dict(ran.counted_in_the_run)


# --- storage is different


def test_a_storage_that_fails_fails_the_task_loudly_and_without_a_retry(caplog):
    class Full(RecordingStorage):
        def post(self, key, context):
            super().post(key, context)
            raise OSError(28, "No space left on device")

    storage, made = Full(), []
    workflow = DotFlow(Config(storage=storage), name="w", workflow_id="w-1")
    workflow.task.add(step=[action(retry=3, name="made")(lambda: made.append(1)), *steps()])
    run = workflow.start()
    assert len(made) == len(storage.calls) == 1
    assert [str(task.status) for task in run.tasks] == ["Failed", *["Not started"] * 4]
    (error,) = run.tasks[0].errors
    assert (error.exception, error.message) == ("OSError", "[Errno 28] No space left on device")
    assert "in post" in error.traceback
    assert run.tasks[0].current_context.is_empty
    assert (run.status, run.provider_errors) == ("Failed", {})
    assert "task.failed" in caplog.text


def test_a_storage_whose_key_fails_fails_the_task_too():
    class Keyless(RecordingStorage):
        def key(self, task):
            raise Broken("no key")

    workflow = DotFlow(Config(storage=Keyless()), name="w")
    workflow.task.add(step=steps())
    run = workflow.start(keep_going=True)
    assert [str(task.result) for task in run.tasks] == ["failure", "upstream_failed", "upstream_failed", "failure"]
    assert [task.error.exception for task in run.tasks if task.error] == ["Broken", "ValueError"]
