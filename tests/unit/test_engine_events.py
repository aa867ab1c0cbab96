"""The events of a task, whatever becomes of it: in order, paired, and never back in time."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotflow import Config, DotFlow, action, events
from dotflow.testing import FakeClock, RecordingStorage


class JumpingClock(FakeClock):
    """Its wall clock jumps back and forth at every reading; its monotonic one does not."""

    def __init__(self, jumps):
        super().__init__(tick_seconds=0.001)
        self.jumps = list(jumps)

    def time_ns(self):
        return super().time_ns() + (self.jumps.pop() if self.jumps else 0)


class FullStorage(RecordingStorage):
    """Refuses the tasks whose name says so."""

    def post(self, key, context):
        if "unkept" in key:
            raise OSError("disk full")
        super().post(key, context)


def step_of(plan):
    """A step that fails so often, then succeeds, of so many attempts; `unkept` is a value that cannot be stored."""
    failures, retry, delay, unkept = plan
    made = []

    @action(retry=retry, retry_delay=delay, name="unkept" if unkept else "kept")
    def step():
        made.append(1)
        if len(made) <= failures:
            raise ValueError(len(made))

    return step


plans = st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from([0, 0, 1.5]), st.booleans())
tasks = st.lists(st.tuples(plans, st.sampled_from("abc")), max_size=6)
jumps = st.lists(st.integers(-(10**12), 10**12), max_size=40)


def events_of(tasks, jumps, **start):
    seen = []
    workflow = DotFlow(Config(listeners=[seen.append], clock=JumpingClock(jumps), storage=FullStorage()), name="w")
    for plan, group in tasks:
        workflow.task.add(step=step_of(plan), group_name=group)
    return workflow.start(executor="inline", **start), seen


@given(tasks, jumps, st.booleans())
@settings(deadline=None, max_examples=150)
def test_every_task_has_its_events_in_order(tasks, jumps, keep_going):
    run, seen = events_of(tasks, jumps, keep_going=keep_going)
    assert [type(seen[0]), type(seen[-1])] == [events.WorkflowStarted, events.WorkflowEnded]
    assert all(event.run is run for event in seen)
    times = [event.time_ns for event in seen]
    assert times == sorted(times)
    for task in run.tasks:
        of_task = [e for e in seen if isinstance(e, events.TaskEvent) and e.task.task_id == task.task_id]
        check_task(task, of_task)
    assert run.failed is any(task.status == "Failed" for task in run.tasks)


def check_task(task, seen):
    names = [type(event).__name__ for event in seen]
    if task.result in ("skip", "upstream_failed"):
        assert (task.status, names) == ("Not started", ["TaskSkipped"])
        assert task.started_at is None
        assert task.reason
        return
    if task.status == "Not started":
        assert names in ([], ["TaskQueued"])
        assert task.started_at is None
        return
    attempts = ["AttemptStarted", "AttemptEnded"]
    assert names == [
        *("TaskQueued", "TaskStarted"),
        *[*attempts, "TaskRetrying"] * task.retry_count,
        *(*attempts, "TaskEnded"),
    ]
    assert task.attempt == task.retry_count + 1
    failed = [event for event in seen if type(event) is events.AttemptEnded and event.task.outcome.error]
    assert len(task.errors) == len(failed) == task.retry_count + (task.status == "Failed")
    assert [error.attempt for error in task.errors] == list(range(1, len(task.errors) + 1))
    check_times(task, seen)
    check_snapshots(task, seen)


def check_times(task, seen):
    assert task.queued_ns <= task.started_ns <= task.finished_ns
    ends = [event.task.outcome for event in seen if type(event) is events.AttemptEnded]
    before = task.started_ns
    for outcome in ends:
        assert before <= outcome.started_ns
        before = outcome.started_ns + outcome.duration_ns
    assert before <= task.finished_ns
    assert task.duration >= sum(outcome.duration_ns for outcome in ends) / 1e9


def check_snapshots(task, seen):
    """An event's task stays as it was then."""
    retrying = [event.task for event in seen if type(event) is events.TaskRetrying]
    assert [(then.attempt, then.retry_count, len(then.errors), str(then.status)) for then in retrying] == [
        (number, number, number, "Retry") for number in range(1, task.retry_count + 1)
    ]
    assert {str(event.task.status) for event in seen[1:3]} == {"In progress"}
    assert (seen[-1].task.status, seen[-1].task.result) == (task.status, task.result)


def test_a_storage_that_fails_is_a_failed_attempt_without_a_retry():
    run, seen = events_of([((1, 4, 0, True), "a")], [])
    (task,) = run.tasks
    assert [(error.exception, error.message) for error in task.errors] == [
        ("ValueError", "1"),
        ("OSError", "disk full"),
    ]
    assert Counter(type(event).__name__ for event in seen)["AttemptStarted"] == 2
    assert run.failed


def test_events_are_frozen_and_take_keywords_only():
    run, seen = events_of([((0, 1, 0, False), "a")], [])
    with pytest.raises((FrozenInstanceError, AttributeError)):
        seen[0].time_ns = 0
    assert not hasattr(seen[0], "__dict__")
    with pytest.raises(TypeError):
        events.WorkflowStarted(1, run)
