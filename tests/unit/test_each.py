"""`each`: a step that runs once for each item of a value."""

from __future__ import annotations

import re
import sys
import threading
from collections import OrderedDict, UserDict, UserList, deque
from types import MappingProxyType
from typing import Any

import pytest

from dotflow import Config, DotFlow, Skip, action, current
from dotflow.events import TaskEnded, TaskStarted
from dotflow.providers import MetricsDefault

EVERYWHERE = [
    ("sequential", "inline"),
    ("sequential", "thread"),
    ("sequential_group", "thread"),
    ("background", "inline"),
    ("parallel", "inline"),
    ("parallel", "thread"),
]


@action
def double(item):
    return item * 2


@action
def is_itself(item):
    return item


@action
def odd_fails(item):
    if item % 2:
        raise ValueError(f"{item} is odd\nand more")
    return item


@action
def odd_skips(item):
    if item % 2:
        raise Skip(f"{item} is odd")
    return item


class Recorded(MetricsDefault):
    """What is counted of tasks, in order."""

    def __init__(self):
        self.seen: list[tuple[str, str]] = []

    def task_started(self, task):
        self.seen.append(("started", task.task_id))

    def task_completed(self, task):
        self.seen.append(("completed", task.task_id))

    def task_failed(self, task):
        self.seen.append(("failed", task.task_id))


def noted(ran: list[Any]) -> Any:
    """A step that notes its items."""

    @action
    def note(item):
        ran.append(item)

    return note


@action(retry=3)
def second_time(item):
    if current().attempt < 2:
        raise ValueError("the first time")
    return item, current().task_id, current().attempt


def over(value: Any, step: Any = is_itself, **options: Any) -> DotFlow:
    """A task that gives the value, `items`, and the step for each item of it, `mapped`."""
    workflow = DotFlow(name="each")
    workflow.task.add(action(lambda: value), name="items", after=[])
    workflow.task.add(step, **{"name": "mapped", "after": "items", "each": True, **options})
    return workflow


def mapped(workflow: DotFlow, mode: str = "sequential", **keywords: Any) -> Any:
    """The mapped task of a run."""
    run = workflow.start(mode, executor=keywords.pop("executor", "inline"), max_workers=2, **keywords).wait(60)
    return next(task for task in run.tasks if task.name == "mapped")


def ids(task: Any) -> list[str]:
    return [item.task_id for item in task.items]


# --- what there are items of


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ((1, 2), [1, 2]),
        (range(5, 8), [5, 6, 7]),
        (range(0), []),
        ([], []),
        ((), []),
        ({}, []),
        ({"a": 1}, [("a", 1)]),
        (OrderedDict(b=1, a=2), [("b", 1), ("a", 2)]),
        (MappingProxyType({"a": 1}), [("a", 1)]),
        (UserDict({"a": 1}), [("a", 1)]),
        (UserList([1, 2]), [1, 2]),
        (deque([1, 2]), None),
        ([[1], [2]], [[1], [2]]),
        ([None, None], [None, None]),
        ("text", None),
        (b"bytes", None),
        (bytearray(b"bytes"), None),
        (memoryview(b"bytes"), None),
        ({1, 2}, None),
        (frozenset((1,)), None),
        (7, None),
        (None, None),
        (iter([1]), None),
        (object(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_items_come_from_sequences_and_mappings(value, items):
    task = mapped(over(value))
    if items is None and not isinstance(value, deque):
        assert str(task.status) == "Failed"
        assert task.error.exception == "ItemsError"
        assert task.error.message == (
            "each='items' runs over the items of a list, a tuple, a range or a dict, and 'items' is of type "
            f"{type(value).__name__}: let step '<lambda>' return a list"
        )
        assert not task.items
        return
    assert task.current_context.storage == ([1, 2] if items is None else items)
    assert str(task.result) == "success"


def test_no_items_end_well():
    workflow = over([])
    workflow.task.add(is_itself, name="behind", after="mapped")
    run = workflow.start()
    assert [(str(task.result), task.current_context.storage) for task in run.tasks[1:]] == [("success", [])] * 2


def test_at_most_100_000_items():
    assert (
        mapped(over(range(100_000), key=lambda item: 1)).error.message == "two items have the key '1': keys must differ"
    )
    ran = []
    task = mapped(over(range(100_001), noted(ran)))
    assert task.error.message == "each= over 100,001 items: at most 100,000; let each task work on a batch of them"
    assert (str(task.status), task.items, ran) == ("Failed", None, [])


# --- keys


def test_positions_are_keys():
    assert ids(mapped(over(["x", "y"]))) == ["mapped[0]", "mapped[1]"]


def test_the_keys_of_a_mapping_are_keys():
    assert ids(mapped(over({"eu": 1, 7: 2, None: 3}))) == ["mapped[eu]", "mapped[7]", "mapped[None]"]


def test_a_function_makes_keys_of_items():
    task = mapped(over([{"name": "a"}, {"name": 2}], key=lambda item: item["name"]))
    assert ids(task) == ["mapped[a]", "mapped[2]"]
    assert {item.name for item in task.items} == {"mapped"}


def test_a_function_makes_keys_of_the_items_side_by_side():
    workflow = over([1, 2])
    workflow.task.add(action(lambda: ["a", "b"]), name="names", after=[])
    workflow.task.add(
        action(lambda items, names: (items, names)),
        name="both",
        after=["items", "names"],
        each=["items", "names"],
        key=lambda number, name: f"{name}{number}",
    )
    run = workflow.start()
    assert ids(run.tasks[-1]) == ["both[a1]", "both[b2]"]
    assert run.tasks[-1].current_context.storage == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (lambda item: item % 2, "two items have the key '1': keys must differ"),
        (lambda item: "", "key '' of an item: a key becomes a non-empty text that UTF-8 can hold"),
        (lambda item: "\ud800", "key '\\ud800' of an item: a key becomes a non-empty text that UTF-8 can hold"),
        (
            lambda item: 1 // (item - 3),
            "key= raised ZeroDivisionError for item 2: integer division or modulo by zero. It is called with the item, and returns its key",
        ),
    ],
)
def test_keys_that_are_none_fail_the_task_before_an_item_runs(key, message):
    ran = []
    task = mapped(over([1, 2, 3], noted(ran), key=key))
    assert (str(task.status), task.error.message, task.items, ran) == ("Failed", message, None, [])


def test_a_task_that_fails_before_it_has_items_is_counted():
    recorded = Recorded()
    workflow = DotFlow(Config(metrics=recorded), name="each")
    workflow.task.add(action(lambda: 7), name="items").add(is_itself, name="mapped", each=True)
    workflow.start()
    assert recorded.seen == [
        *[("started", "items"), ("completed", "items")],
        *[("started", "mapped"), ("failed", "mapped")],
    ]


def test_a_key_that_ends_the_program_leaves_no_task_that_looks_well():
    workflow = over([1], key=lambda _: sys.exit(3))
    with pytest.raises(SystemExit):
        workflow.start()
    task = workflow.result_task()[-1]
    assert (str(task.status), str(task.result), task.error.exception) == ("Failed", "cancellation", "SystemExit")


def test_keys_of_a_mapping_that_are_alike_as_text_are_refused():
    assert mapped(over({1: "a", "1": "b"})).error.message == "two items have the key '1': keys must differ"


def test_a_key_that_is_as_long_as_a_novel_is_not_told_in_full():
    assert len(mapped(over([1, 2], key=lambda item: "k" * 100_000)).error.message) < 200


def test_a_key_that_raises_says_that_it_was_the_key_and_for_which_item():
    task = mapped(over([{"id": 1}, {"name": 2}], key=lambda item: item["id"]))
    (error,) = task.errors
    assert (error.exception, error.message) == (
        "ItemsError",
        "key= raised KeyError for item 1: 'id'. It is called with the item, and returns its key",
    )
    assert 'key=lambda item: item["id"]' in error.traceback
    assert not task.items


# --- side by side


def test_side_by_side_must_be_equally_long():
    workflow = over([1, 2, 3])
    workflow.task.add(action(lambda: range(2_000)), name="more", after=[])
    step = action(lambda items, more: None)
    workflow.task.add(step, name="both", after=["items", "more"], each=["items", "more"])
    task = workflow.start().tasks[-1]
    assert task.error.exception == "ItemsError"
    assert task.error.message == (
        "each= goes over several values side by side, which must be equally long: 'items' has 3, 'more' has 2,000 items"
    )


# --- what becomes of items


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_a_failed_item_stops_those_that_have_not_started(mode, executor):
    told = threading.Event()

    @action
    def fails_at_one(item):
        if item > 1:
            assert told.wait(30), "nobody was told of the failure"
        return odd_fails(item)

    def listen(event):
        if isinstance(event, TaskEnded) and str(event.task.result) == "failure":
            told.set()

    workflow = over([0, 1, 2, 4, 6, 8], fails_at_one)
    workflow.config = Config(listeners=(listen,))
    task = mapped(workflow, mode, executor=executor)
    results = [str(item.result) for item in task.items]
    assert results[:2] == ["success", "failure"]
    assert results[3:] == ["None"] * 3
    assert results[2] == "None" or (mode, executor) == ("parallel", "thread"), "it was not running yet"
    assert task.current_context.storage == [0, None, 2 if results[2] == "success" else None, None, None, None]
    missing = results.count("None")
    assert task.error.message == f"1 of 6 items failed, {missing} did not run; first mapped[1]: ValueError: 1 is odd"


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_with_keep_going_all_items_run(mode, executor):
    task = mapped(over(range(1_000), odd_fails), mode, executor=executor, keep_going=True)
    assert task.error.exception == "ItemsFailed"
    assert task.error.message == "500 of 1,000 items failed; first mapped[1]: ValueError: 1 is odd"
    assert task.current_context.storage == [None if number % 2 else number for number in range(1_000)]


def test_two_of_a_thousand():
    task = mapped(over([2] * 400 + [1, 4, 3] + [2] * 597, odd_fails), keep_going=True)
    assert task.error.message == "2 of 1,000 items failed; first mapped[400]: ValueError: 1 is odd"
    assert task.error.traceback == f"ItemsFailed: {task.error.message}\n"


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_items_that_skip_leave_a_hole(mode, executor):
    task = mapped(over([0, 1, 2], odd_skips), mode, executor=executor)
    assert (str(task.status), str(task.result), task.current_context.storage) == ("Completed", "success", [0, None, 2])


def test_if_all_items_skip_so_does_the_task():
    workflow = over([1, 3], odd_skips)
    workflow.task.add(is_itself, name="behind", after="mapped")
    workflow.task.add(action(lambda mapped="none": mapped), name="always", after="mapped", when="always")
    run = workflow.start()
    assert [str(task.result) for task in run.tasks] == ["success", "skip", "skip", "success"]
    assert str(run.tasks[1].status) == "Completed"
    assert (str(run.tasks[2].status), run.tasks[2].reason) == ("Not started", "mapped skipped")
    assert run.tasks[3].current_context.storage == "none"
    assert str(run.status) == "Completed"


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_an_item_has_attempts_of_its_own(mode, executor):
    task = mapped(over(["ab"], second_time), mode, executor=executor)
    assert task.current_context.storage == [("ab", "mapped[0]", 2)]
    assert [(item.attempt, item.retry_count, len(item.errors)) for item in task.items] == [(2, 1, 1)]
    assert task.attempt == 0


def test_one_callback_for_the_task_and_none_for_items():
    called = []
    mapped(over([1, 2], callback=lambda task: called.append((task.task_id, len(task.items)))))
    assert called == [("mapped", 2)]


def test_a_task_with_items_is_one_task():
    events = []
    workflow = over([1, 2])
    workflow.config = Config(listeners=(events.append,))
    run = workflow.start()
    assert [task.task_id for task in run.tasks] == ["items", "mapped"]
    told = [
        (type(event).__name__, event.task.task_id)
        for event in events
        if isinstance(event, (TaskStarted, TaskEnded)) and event.task.name == "mapped"
    ]
    ends = [
        ("TaskStarted", "mapped[0]"),
        ("TaskEnded", "mapped[0]"),
        ("TaskStarted", "mapped[1]"),
        ("TaskEnded", "mapped[1]"),
    ]
    assert told == [("TaskStarted", "mapped"), *ends, ("TaskEnded", "mapped")]


# --- item by item


def chain(value: Any, first: Any, second: Any) -> DotFlow:
    workflow = over(value, first, name="first")
    workflow.task.add(second, name="mapped", after="first", each=True)
    return workflow


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_over_a_mapped_task_it_goes_item_by_item(mode, executor):
    workflow = chain({"a": 1, "b": 2}, action(lambda pair: pair[1]), action(lambda item: (current().task_id, item)))
    workflow.task.add(is_itself, name="behind", after="mapped")
    task = mapped(workflow, mode, executor=executor)
    assert ids(task) == ["mapped[a]", "mapped[b]"]
    assert task.current_context.storage == [("mapped[a]", 1), ("mapped[b]", 2)]
    assert [[parent.task_id for parent in item.parents] for item in task.items] == [["first[a]"], ["first[b]"]]
    assert workflow.result_storage()[-1] == task.current_context.storage


def test_an_item_starts_when_its_own_parent_has_ended():
    """The second item of the first task ends only when the first item of the last task has run."""
    gone = threading.Event()

    @action
    def waits(item):
        if item == 1:
            assert gone.wait(30), "the items wait for each other"
        return item

    @action
    def frees(item):
        gone.set()
        return item

    task = mapped(chain([0, 1], waits, frees), "parallel", executor="thread")
    assert task.current_context.storage == [0, 1]


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_an_item_whose_parent_has_no_result_does_not_run(mode, executor):
    @action
    def first(item):
        if item == 1:
            raise ValueError("one")
        if item == 2:
            raise Skip("two")
        return item

    task = mapped(chain([0, 1, 2, 3], first, is_itself), mode, executor=executor, keep_going=True)
    assert [(str(item.status), str(item.result), item.reason) for item in task.items] == [
        ("Completed", "success", ""),
        ("Not started", "upstream_failed", "first[1] did not end well"),
        ("Not started", "skip", "first[2] skipped"),
        ("Completed", "success", ""),
    ]
    assert task.current_context.storage == [0, None, None, 3]
    assert task.error.message == "0 of 4 items failed, 1 did not run"


@pytest.mark.parametrize(("mode", "executor"), EVERYWHERE)
def test_a_long_way_item_by_item(mode, executor):
    workflow = over(range(50), double, name="t0")
    for number in range(1, 8):
        workflow.task.add(double, name=f"t{number}", after=f"t{number - 1}", each=True)
    workflow.task.add(double, name="mapped", after="t7", each=True)
    assert mapped(workflow, mode, executor=executor).current_context.storage == [n * 2**9 for n in range(50)]


def test_two_mapped_tasks_side_by_side_item_by_item():
    workflow = over([1, 2], double, name="left")
    workflow.task.add(odd_skips, name="right", after="items", each=True)
    workflow.task.add(
        action(lambda left, right: (left, right)), name="mapped", after=["left", "right"], each=["left", "right"]
    )
    task = mapped(workflow, "parallel", executor="thread")
    assert task.current_context.storage == [None, (4, 2)]
    assert [[parent.task_id for parent in item.parents] for item in task.items] == [
        ["left[0]", "right[0]"],
        ["left[1]", "right[1]"],
    ]


def test_a_mapped_task_beside_a_list_of_another_length():
    workflow = over([1, 2], double, name="left")
    workflow.task.add(action(lambda: [1]), name="more", after=[])
    workflow.task.add(action(lambda left, more: None), name="mapped", after=["left", "more"], each=["left", "more"])
    assert re.search("'left' has 2, 'more' has 1 items", mapped(workflow).error.message)


@pytest.mark.parametrize(("mode", "executor"), [*EVERYWHERE, ("parallel", "process")])
def test_an_item_is_told_of_its_own_parent_and_of_those_that_are_whole(mode, executor):
    @action
    def looks(left, right):
        parents = current().parents
        return {label: (end.task_id, len(end.items)) for label, end in parents.items()}

    workflow = over([1, 2], double, name="first")
    workflow.task.add(looks, name="mapped", after={"left": "first", "right": "first"}, each="left")
    assert mapped(workflow, mode, executor=executor).current_context.storage == [
        {"left": (f"first[{number}]", 0), "right": ("first", 2)} for number in range(2)
    ]


def test_a_failed_item_stops_its_group_at_once_not_when_the_last_item_has_ended():
    failed, release = threading.Event(), threading.Event()

    def listen(event):
        if isinstance(event, TaskEnded):
            if event.task.task_id == "item[0]":
                failed.set()
            if event.task.task_id == "slow":
                release.set()

    def item(number):
        if not number:
            raise ValueError(number)
        assert release.wait(60)

    ran = []
    workflow = DotFlow(Config(listeners=[listen]))
    workflow.task.add(action(lambda: [0, 1]), name="source", after=[])
    workflow.task.add(action(item), name="item", after="source", each=True)
    workflow.task.add(action(lambda: failed.wait(60)), name="slow", after=[])
    workflow.task.add(action(lambda: ran.append("late")), name="late", after="slow")
    run = workflow.start("parallel", executor="thread", max_workers=4)
    assert run.tasks[2].current_context.storage is True
    assert (ran, str(run.tasks[3].status)) == ([], "Not started")
