"""In which order the tasks of a graph run, and what a failure leaves out."""

from __future__ import annotations

import pytest

from dotflow import Config, DotFlow, action

ONE_AT_A_TIME = ("sequential", "background", "sequential_group")


@action
def numbers():
    return [0, 1, 2]


@action
def none():
    return []


@action
def double(number):
    return number * 2


@action
def fails():
    raise ValueError("no")


@action
def nothing():
    return None


@action
def not_one(number):
    if number == 1:
        raise ValueError("one")
    return number


def start(workflow: DotFlow, mode: str = "sequential", **keywords):
    return workflow.start(mode, executor=keywords.pop("executor", "inline"), **keywords).wait(60)


def graph() -> tuple[DotFlow, list[tuple[str, str]]]:
    events: list[tuple[str, str]] = []
    listeners = (lambda event: hasattr(event, "task") and events.append((type(event).__name__, event.task.task_id)),)
    return DotFlow(Config(listeners=listeners), name="order"), events


def results(run) -> dict[str, str]:
    return {task.task_id: str(task.result) for task in run.tasks}


@pytest.mark.parametrize("mode", ONE_AT_A_TIME)
def test_a_task_behind_one_that_is_left_out_keeps_its_place(mode):
    workflow, events = graph()
    workflow.task.add(fails, after=[])
    workflow.task.add(nothing, name="left_out", after=fails)
    workflow.task.add(nothing, name="clean_up", after="left_out", when="always")
    workflow.task.add(nothing, name="last", after=[])
    start(workflow, mode, keep_going=True)
    assert [task_id for kind, task_id in events if kind == "TaskStarted"] == ["fails", "clean_up", "last"]


@pytest.mark.parametrize("mode", ONE_AT_A_TIME)
def test_mapped_tasks_run_one_after_another(mode):
    workflow, events = graph()
    workflow.task.add(numbers)
    workflow.task.add(double, name="first", after=numbers, each=True)
    workflow.task.add(nothing, name="between", after=[])
    workflow.task.add(double, name="second", after="first", each=True)
    workflow.task.add(double, name="third", after=numbers, each=True)
    run = start(workflow, mode)
    seen = [task_id for kind, task_id in events if kind in ("TaskStarted", "TaskEnded") and "[" not in task_id]
    assert seen == [name for name in ("numbers", "first", "between", "second", "third") for _ in range(2)]
    assert [task.current_context.storage for task in run.tasks[3:]] == [[0, 4, 8], [0, 2, 4]]


def test_a_mapped_task_whose_turn_comes_after_a_failure_does_not_start():
    workflow, events = graph()
    workflow.task.add(numbers)
    workflow.task.add(fails, after=[])
    workflow.task.add(double, after=numbers, each=True)
    run = start(workflow)
    assert (str(run.tasks[2].status), run.tasks[2].result, run.tasks[2].items) == ("Not started", None, None)
    assert not [kind for kind, task_id in events if task_id == "double"]


def test_what_goes_item_by_item_over_a_failed_task_is_upstream_failed():
    workflow, events = graph()
    workflow.task.add(numbers)
    workflow.task.add(not_one, after=numbers, each=True)
    workflow.task.add(double, after=not_one, each=True)
    assert results(start(workflow)) == {"numbers": "success", "not_one": "failure", "double": "upstream_failed"}
    assert [kind for kind, task_id in events if task_id.startswith("double")] == ["TaskSkipped"]


def test_a_mapped_task_without_items_has_its_turn_too():
    workflow, events = graph()
    workflow.task.add(none, after=[])
    workflow.task.add(double, name="first", after="none", each=True)
    workflow.task.add(double, name="second", after="first", each=True)
    workflow.task.add(nothing, after=[])
    run = start(workflow)
    assert [task.current_context.storage for task in run.tasks] == [[], [], [], None]
    assert [i for kind, i in events if kind == "TaskEnded"] == ["none", "first", "second", "nothing"]


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_failed_item_stops_its_siblings_behind_a_handler_too(executor):
    """What follows only handlers starts after a failure, but a failed item stops the items that have not started."""
    workflow, _ = graph()
    workflow.task.add(nothing)
    workflow.task.add(numbers, after=nothing, when="always")
    workflow.task.add(not_one, after=numbers, each=True)
    run = start(workflow, executor=executor, max_workers=1)
    assert [str(item.status) for item in run.tasks[2].items] == ["Completed", "Failed", "Not started"]
    assert run.tasks[2].error.message == ("1 of 3 items failed, 1 did not run; first not_one[1]: ValueError: one")


def test_behind_all_tasks_of_a_group_values_come_by_task_id_also_behind_one():
    seen = []

    @action
    def clean_up(previous_context):
        seen.append(previous_context.storage)

    for count in (1, 2):
        workflow = DotFlow(name="order")
        workflow.task.add([numbers] * count)
        workflow.task.add(clean_up, when="always")
        start(workflow)
    assert seen == [{"numbers": [0, 1, 2]}, {"numbers": [0, 1, 2], "numbers-2": [0, 1, 2]}]


def test_what_follows_a_handler_that_did_not_run_is_stopped_as_any_other():
    workflow, events = graph()
    workflow.task.add(fails, after=[])
    workflow.task.add(nothing, name="clean_up", after="fails", when="always")
    workflow.task.add(nothing, name="after_clean_up", after="clean_up")
    workflow.task.add(nothing, name="other", after=[], group_name="other")
    workflow.task.add(nothing, name="alert", after="other", when="failure")
    workflow.task.add(nothing, name="after_alert", after="alert")
    assert results(start(workflow)) == {
        "fails": "failure",
        "clean_up": "success",
        "after_clean_up": "success",
        "other": "success",
        "alert": "skip",
        "after_alert": "None",
    }
    assert not [kind for kind, task_id in events if task_id == "after_alert"]
