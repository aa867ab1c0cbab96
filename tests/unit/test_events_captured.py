"""The task of an event is made when somebody looks, and is the task as it was at the event."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading

import pytest

from dotflow import Config, DotFlow, Task, action, events
from dotflow.model.events import maker
from dotflow.testing import FakeClock, RecordingNotify

_ATTEMPTS = []


@action(retry=3)
def third_time(initial_context):
    _ATTEMPTS.append(1)
    if len(_ATTEMPTS) % 3:
        raise ValueError(len(_ATTEMPTS))
    return initial_context.storage * 2


def state(task):
    """All that can be read of a task, as values."""
    return {
        **{name: getattr(task, name) for name in Task.__slots__ if not name.startswith("_")},
        "parents": [(parent.task_id, parent.status) for parent in task.parents],  # each is a copy of its own
        "contexts": (task.initial_context, task.previous_context, task.current_context),
        "errors": list(task.errors),
        "error": task.error,
        "span": (task.span, task.innermost_span),
    }


def run_with(*listeners, **config):
    _ATTEMPTS.clear()
    workflow = DotFlow(Config(listeners=listeners, clock=FakeClock(tick_seconds=0.001), **config), name="captured")
    workflow.task.add([third_time, third_time], initial_context=21)
    return workflow.start().raise_for_status()


def task_events(seen):
    return [event for event in seen if isinstance(event, events.TaskEvent)]


def test_what_is_looked_at_after_the_run_is_what_was_seen_at_the_event():
    at_once, late = [], []
    run = run_with(
        lambda event: at_once.append(state(event.task) if isinstance(event, events.TaskEvent) else None), late.append
    )
    afterwards = [state(event.task) if isinstance(event, events.TaskEvent) else None for event in late]
    assert afterwards == at_once
    statuses = [str(event.task.status) for event in task_events(late) if event.task.task_id == run.tasks[0].task_id]
    first, retrying = ["Not started"], ["In progress", "In progress", "Retry"]
    assert statuses == [*first, "In progress", *retrying, *retrying, "In progress", "In progress", "Completed"]


def test_the_live_task_is_read_where_it_differs_from_its_event():
    seen = []
    run = run_with(seen.append)
    queued = seen[1]
    assert isinstance(queued, events.TaskQueued)
    assert (queued.task.attempt, queued.task.errors, queued.task.outcome) == (0, [], None)
    assert queued.task.current_context.storage is None
    assert (run.tasks[0].attempt, len(run.tasks[0].errors)) == (3, 2)
    assert run.tasks[0].current_context.storage == 42


def test_errors_that_come_later_are_not_those_of_the_event():
    live = Task(third_time)
    make, run = maker(events.AttemptEnded), type("Run", (), {"now_ns": 1})()
    assert live.errors == []
    before = make(run, live)
    live.errors.append("first")
    between = make(run, live)
    live.errors.append("second")
    assert (before.task.errors, between.task.errors, live.errors) == ([], ["first"], ["first", "second"])


def test_an_event_has_one_task_whoever_looks_first():
    seen = []
    run_with(seen.append)
    event, barrier, found = task_events(seen)[0], threading.Barrier(8), []

    def look():
        barrier.wait(10)
        found.append(event.task)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(task is event.task for task in found)


@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda event: pickle.loads(pickle.dumps(event)), dataclasses.replace],
    ids=["copy", "deepcopy", "pickle", "replace"],
)
def test_a_copy_of_an_event_has_the_task_as_it_was(again, looked_at):
    seen = []
    run = run_with(seen.append)
    for event in task_events(seen):
        expected = state(event.task) if looked_at else None
        other = again(event)
        assert type(other) is type(event)
        assert state(other.task) == (expected or state(event.task))
        assert other.time_ns == event.time_ns
        assert other.run.run_id == run.run_id


def test_a_copy_of_a_run_tells_how_it_went():
    run = run_with()
    other = pickle.loads(pickle.dumps(run))
    assert other.wait(0).status == "Completed"
    assert other.tree() == run.tree()
    assert not other.cancelled.is_set()
    other.cancel()
    assert not run.cancelled.is_set()


def test_events_made_by_hand_are_as_those_of_a_run():
    task, run = Task(third_time), run_with()
    event = events.TaskQueued(time_ns=1, run=run, task=task)
    assert event.task is task
    assert event == events.TaskQueued(time_ns=1, run=run, task=task)
    assert {field.name for field in dataclasses.fields(event)} == {"time_ns", "run", "task"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.task = task
    made = maker(events.TaskQueued)(run, task)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.task = task
    assert not hasattr(made, "__dict__")
    assert repr(made) == repr(events.TaskQueued(time_ns=run.now_ns, run=run, task=made.task))


def test_a_notifier_gets_the_task_as_it_was():
    notify, at_once = RecordingNotify(), []
    moments = (events.TaskStarted, events.TaskRetrying, events.TaskEnded)
    run_with(lambda event: at_once.append(state(event.task)) if isinstance(event, moments) else None, notify=notify)
    assert [state(call.task) for call in notify.calls] == at_once
