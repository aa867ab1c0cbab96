"""The table of the contract: providers with exactly the abstract methods get every call, in order, as often as they should."""

from __future__ import annotations

import itertools

import pytest

from dotflow import Config, DotFlow, action
from dotflow.names import logs
from dotflow.testing import (
    Calls,
    FakeClock,
    RecordingLog,
    RecordingMetrics,
    RecordingNotify,
    RecordingScheduler,
    RecordingServer,
    RecordingStorage,
    RecordingTracer,
    SequentialIds,
)

RUN_1 = f"{1:032x}"
EXECUTORS = [
    *({"mode": mode} for mode in ("sequential", "background", "sequential_group")),
    *({"mode": "sequential", "executor": executor} for executor in ("thread", "process")),
    {"mode": "background", "executor": "process"},
]


@action
def good():
    return "value"


def flaky():
    calls = itertools.count(1)

    @action(retry=3, retry_delay=2, backoff=True, name="flaky")
    def step(previous_context):
        if next(calls) < 3:
            raise ConnectionError("not yet")
        return previous_context.storage

    return step


@action(name="bad")
def bad():
    raise ValueError("no good")


class Recorded:
    """A workflow of a success, a success after two retries and a failure, with a recording provider for each contract."""

    def __init__(self, how: dict) -> None:
        self.how = how
        self.calls = Calls()
        self.clock = FakeClock(tick_seconds=0.001)
        self.storage = RecordingStorage(self.calls)
        self.scheduler = RecordingScheduler(self.calls, ticks=3)
        self.workflow = DotFlow(
            Config(
                storage=self.storage,
                notify=RecordingNotify(self.calls),
                log=RecordingLog(self.calls),
                server=RecordingServer(self.calls),
                scheduler=self.scheduler,
                tracer=RecordingTracer(self.calls),
                metrics=RecordingMetrics(self.calls),
                clock=self.clock,
                ids=SequentialIds(),
            ),
            name="nightly",
            workflow_id="w-1",
        )
        self.workflow.task.add(step=[good, flaky(), bad])
        self.run = self.workflow.start(**how).wait(10)

    def inline(self, task: str | None = None) -> list[str]:
        """The calls made in line, in order; those about one task, or all."""
        return [name for name in self.calls.names(of_task=task) if not name.startswith(("notify", "server"))]

    def network(self, task: str | None = None) -> list[str]:
        return [name for name in self.calls.names(of_task=task) if name.startswith(("notify", "server"))]


@pytest.fixture(params=EXECUTORS, ids=lambda how: "-".join(how.values()))
def recorded(request):
    found = Recorded(request.param)
    yield found
    found.workflow.close()


def test_every_call_in_line_in_order(recorded):
    start = ["tracer.start_task", "log.info"]
    assert recorded.inline() == [
        *("tracer.start_workflow", "metrics.workflow_started", "log.info"),
        *(*start, "storage.post", "log.info", "metrics.task_completed", "tracer.end_task"),
        *(*start, *["log.warning", "metrics.task_retried"] * 2),
        *("storage.post", "log.info", "metrics.task_completed", "tracer.end_task"),
        *(*start, "log.error", "metrics.task_failed", "tracer.end_task"),
        *("log.error", "metrics.workflow_failed", "tracer.end_workflow"),
    ]


def test_every_call_over_the_network_in_order(recorded):
    before, after = ["notify.hook_status_task", "server.update_task"], ["server.update_task", "notify.hook_status_task"]
    assert recorded.network() == [
        *("server.create_workflow", *["server.create_task"] * 3, "server.update_workflow"),
        *(*before, *after),
        *(*before, *after * 2, *after),
        *(*before, *after),
        "server.update_workflow",
    ]


def test_network_providers_see_the_task_as_it_was_at_the_event(recorded):
    seen = [call.task for call in recorded.calls.named("notify.hook_status_task") if call.task.task_id == "flaky"]
    assert [(task.status, task.attempt, task.retry_count, len(task.errors)) for task in seen] == [
        ("In progress", 1, 0, 0),
        ("Retry", 1, 1, 1),
        ("Retry", 2, 2, 2),
        ("Completed", 3, 2, 2),
    ]
    statuses = [call.arguments["status"] for call in recorded.calls.named("server.update_workflow")]
    assert statuses == ["In progress", "Failed"]
    assert recorded.calls.named("server.create_workflow")[0].arguments["workflow"] is recorded.workflow


def test_network_providers_are_called_from_one_other_thread(recorded):
    inline = {call.thread for call in recorded.calls if call.provider in ("tracer", "metrics", "log", "storage")}
    network = {call.thread for call in recorded.calls if call.provider in ("notify", "server")}
    assert network == {"dotflow-background-queue"}
    assert len(inline) == 1
    assert not inline & network


def test_the_keywords_are_those_of_the_contract(recorded):
    opening = {"run_id": RUN_1, "name": "nightly", "mode": recorded.run.mode, "tasks_count": 3, "trigger": "manual"}
    for method in ("tracer.start_workflow", "metrics.workflow_started"):
        assert recorded.calls.named(method)[0].arguments == {"workflow_id": "w-1", **opening}
    duration = recorded.run.duration
    assert recorded.calls.named("tracer.end_workflow")[0].arguments == {
        "workflow_id": "w-1",
        "run_id": RUN_1,
        "duration": duration,
        "failed": True,
    }
    assert recorded.calls.named("metrics.workflow_failed")[0].arguments == {"workflow_id": "w-1", "duration": duration}


def test_the_log_gets_the_event_and_the_task_or_the_run(recorded):
    lines = [call for call in recorded.calls if call.provider == "log"]
    assert [(call.method, call.arguments["event"], sorted(call.arguments)) for call in lines] == [
        ("info", logs.WORKFLOW_STARTED, ["event", "run"]),
        ("info", logs.TASK_STARTED, ["event", "task"]),
        ("info", logs.TASK_COMPLETED, ["event", "task"]),
        ("info", logs.TASK_STARTED, ["event", "task"]),
        ("warning", logs.TASK_RETRYING, ["event", "task"]),
        ("warning", logs.TASK_RETRYING, ["event", "task"]),
        ("info", logs.TASK_COMPLETED, ["event", "task"]),
        ("info", logs.TASK_STARTED, ["event", "task"]),
        ("error", logs.TASK_FAILED, ["event", "task"]),
        ("error", logs.WORKFLOW_FAILED, ["event", "run"]),
    ]


def test_the_storage_holds_what_succeeded_and_is_not_read(recorded):
    assert sorted(recorded.storage.kept) == ["w-1:flaky", "w-1:good"]
    assert recorded.storage.kept["w-1:flaky"].storage == "value"
    assert recorded.calls.named("storage.get") == []


def test_retries_wait_as_long_as_they_were_told(recorded):
    assert recorded.clock.waits == pytest.approx([2.0, 4.0], abs=0.1)


def test_a_second_run_creates_nothing_again(recorded):
    recorded.calls.clear()
    recorded.workflow.start(**recorded.how).wait(10)
    assert recorded.calls.named("server.create_workflow") == recorded.calls.named("server.create_task") == []
    assert len(recorded.calls.named("server.update_workflow")) == 2
    assert recorded.calls.named("tracer.start_workflow")[0].arguments["run_id"] == f"{2:032x}"


def test_every_tick_of_a_schedule_is_a_run_of_its_own(recorded):
    recorded.calls.clear()
    recorded.workflow.schedule(**recorded.how, keep_going=True)
    for run in recorded.scheduler.returned:
        run.wait(10)
    assert recorded.calls.named("scheduler.start")[0].arguments == {**recorded.how, "keep_going": True}
    started = [call.arguments for call in recorded.calls.named("tracer.start_workflow")]
    assert [kwargs["trigger"] for kwargs in started] == ["schedule"] * 3
    assert len({kwargs["run_id"] for kwargs in started}) == 3


def test_a_run_that_ends_well(recorded):
    recorded.calls.clear()
    recorded.workflow.task.clear().add(step=good)
    recorded.workflow.start(**recorded.how).wait(10)
    assert recorded.inline()[-3:] == ["log.info", "metrics.workflow_completed", "tracer.end_workflow"]
    assert recorded.calls.named("tracer.end_workflow")[0].arguments["failed"] is False
    assert recorded.calls.named("metrics.workflow_failed") == []


class AlsoStarted(RecordingMetrics):
    """Overrides an optional hook."""

    def task_started(self, task):
        self.calls.note("metrics", "task_started", task=task)


def test_optional_hooks_take_their_place_and_listeners_come_last():
    calls = Calls()

    def listen(event):
        calls.note("listener", type(event).__name__)

    workflow = DotFlow(
        Config(tracer=RecordingTracer(calls), metrics=AlsoStarted(calls), log=RecordingLog(calls), listeners=[listen])
    )
    workflow.task.add(good)
    workflow.start()
    names = calls.names()
    start = names.index("tracer.start_task")
    assert names[start : start + 4] == [
        *("tracer.start_task", "metrics.task_started", "log.info", "listener.TaskStarted")
    ]
    end = names.index("metrics.task_completed")
    assert names[end - 1 : end + 3] == [
        *("log.info", "metrics.task_completed", "tracer.end_task", "listener.TaskEnded")
    ]


def test_created_tasks_are_seen_as_they_were_before_they_ran(recorded):
    seen = [call.arguments["task"] for call in recorded.calls.named("server.create_task")]
    assert [(task.task_id, str(task.status)) for task in seen] == [
        *(("good", "Not started"), ("flaky", "Not started"), ("bad", "Not started"))
    ]
