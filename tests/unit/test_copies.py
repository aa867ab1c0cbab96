"""What a step changes in place is seen by nobody else, and what it may share is not copied."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotflow import Context, DotFlow, action, current
from dotflow.executors.inputs import copied

EXECUTORS = ("inline", "thread", "process")


# --- a copy


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"self": value})
    return value


def through_a_tuple() -> list[Any]:
    value: list[Any] = []
    value.append((value, [1]))
    return value


class Opaque:
    """An object of the user's."""

    def __init__(self) -> None:
        self.rows = [1]


class Rows(list):
    """A list of the user's own kind is an object of theirs."""


OPAQUE, ROWS = Opaque(), Rows([1])


def parts(value: Any, seen: dict[int, Any]) -> dict[int, Any]:
    """All plain containers in a value that can be changed in place."""
    todo = [value]
    while todo:
        each = todo.pop()
        if type(each) in (list, dict, set, bytearray, Context, tuple) and id(each) not in seen:
            seen[id(each)] = each
            todo += _inside(each)
    return {key: each for key, each in seen.items() if type(each) is not tuple}


def is_like(one: Any, other: Any) -> bool:
    """Equal, of the same types, with the same things being the same things: whatever the depth, and in circles."""
    pairs: dict[int, int] = {}
    todo = [(one, other)]
    while todo:
        a, b = todo.pop()
        if type(a) in (list, dict, tuple, Context, set, bytearray) and id(a) in pairs:
            if pairs[id(a)] != id(b):
                return False
            continue
        pairs[id(a)] = id(b)
        if type(a) is not type(b) or not _is_like_outside(a, b):
            return False
        todo += zip(_inside(a), _inside(b), strict=True)
    return True


def _inside(value: Any) -> list[Any]:
    if type(value) is dict:
        return [*value.values()]
    if type(value) is Context:
        return [value.storage]
    return [*value] if type(value) in (list, tuple) else []


def _is_like_outside(a: Any, b: Any) -> bool:
    if type(a) is dict:
        return list(a) == list(b)
    if type(a) is Context:
        return (a.task_id, a.workflow_id, a.time) == (b.task_id, b.workflow_id, b.time)
    return len(a) == len(b) if type(a) in (list, tuple) else a is b or a == b


def nested(kind: Any, depth: int) -> Any:
    value: Any = kind(None)
    for _ in range(depth):
        value = kind(value)
    return value


IN_LIST, IN_DICT, IN_TUPLE = (lambda each: [each]), (lambda each: {"in": each}), (lambda each: (each, []))
SHARED = [1, 2]
KINDS = {
    "list": [1, [2, [3]]],
    "dict": {"a": {"b": {}}},
    "set": {1, 2},
    "bytearray": bytearray(b"bytes"),
    "tuple with a list": (1, [2], (3, [4])),
    "tuple of tuples with a set": ((({1},),),),
    "everything": {"rows": [{"ids": {1, 2}, "raw": [bytearray(b"x")], "pair": ({}, ())}]},
    "a dict with a list under None": {None: [1], (1, 2): {3}},
    "twice the same": [SHARED, SHARED, {"again": SHARED}],
    "a tuple twice": [(SHARED,)] * 2,
    "cycle": cycle(),
    "cycle through a tuple": through_a_tuple(),
    "context": Context([1, [2]], task_id="t", workflow_id="w", time=7),
    "contexts": [Context({"a": [1]}), Context(({},))],
    "deep list": nested(IN_LIST, 100_000),
    "deep dict": nested(IN_DICT, 100_000),
    "deep tuple": nested(IN_TUPLE, 100_000),
    "deep mixture": nested(lambda each: [{"in": (each, SHARED)}], 40_000),
    "wide": [[number] for number in range(10_000)],
}


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
def test_a_copy_is_like_the_value_and_has_nothing_of_it(value):
    copy = copied(value)
    assert is_like(value, copy)
    assert not parts(value, {}).keys() & parts(copy, {}).keys()


@pytest.mark.parametrize(
    "value",
    [None, 7, "text", b"bytes", (), (1, (2, "x")), frozenset((1,)), range(3), OPAQUE, ROWS, sys],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_container_is_shared(value):
    assert copied(value) is value
    assert copied([value])[0] is value
    assert copied({"in": (value, [])})["in"][0] is value


plain = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=3)
    | st.binary(max_size=3).map(bytearray)
    | st.sets(st.integers(), max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, 9), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Context, inner)
    ),
    max_leaves=30,
)


@given(plain, st.data())
@settings(max_examples=200, deadline=None)
def test_a_copy_of_anything_is_like_it(value, data):
    found = [each for each in parts(value, {}).values() if type(each) in (list, dict)]
    if found:  # tie knots: what is in it a second time, perhaps around itself
        into, what = data.draw(st.sampled_from(found)), data.draw(st.sampled_from([value, *found]))
        into.append(what) if type(into) is list else into.update(knot=what)
    copy = copied(value)
    assert is_like(value, copy)
    assert not parts(value, {}).keys() & parts(copy, {}).keys()


# --- in a run


@action
def makes():
    shared = [1]
    return {"rows": [1, 2], "ids": {1}, "raw": bytearray(b"raw"), "pair": (shared, 0), "again": shared}


AS_MADE = {"rows": [1, 2], "ids": {1}, "raw": bytearray(b"raw"), "pair": ([1], 0), "again": [1]}


def spoil(value: dict[str, Any]) -> Any:
    """Change all of it in place, and give what it was before; what was one thing in it is still one."""
    shared = [*value["again"]]
    pair = shared, value["pair"][1]
    before = {"rows": [*value["rows"]], "ids": {*value["ids"]}, "raw": value["raw"][:], "pair": pair, "again": shared}
    value["rows"].append("spoilt")
    value["ids"].clear()
    value["raw"] += b"spoilt"
    value["pair"][0].append("spoilt")
    assert value["again"] == [*shared, "spoilt"], "it is one list"
    value["new"] = "spoilt"
    return before


@action
def spoils_parameter(value):
    return spoil(value)


@action
def spoils_previous(previous_context):
    return spoil(previous_context.storage)


@action
def spoils_initial(initial_context):
    return spoil(initial_context.storage)


@action
class SpoilsInClass:
    def __init__(self, value):
        self.value = value

    @action
    def once(self, initial_context):
        return spoil(self.value), spoil(initial_context.storage)


@action(retry=2)
def spoils_and_fails_once(value, previous_context, initial_context):
    before = [spoil(each) for each in (value, previous_context.storage["value"], initial_context.storage)]
    if current().attempt == 1:
        raise ValueError("the first time")
    return before


def made() -> dict[str, Any]:
    shared = [1]
    return {**AS_MADE, "rows": [1, 2], "ids": {1}, "raw": bytearray(b"raw"), "pair": (shared, 0), "again": shared}


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_step_changes_in_place_is_seen_by_nobody_else(mode, executor):
    given_initial, given_params = made(), made()
    workflow = DotFlow(name="copies")
    workflow.task.add(makes, after=[])
    workflow.task.add(spoils_parameter, after={"value": "makes"})
    workflow.task.add(spoils_previous, after="makes")
    workflow.task.add(spoils_previous, name="again", after="makes")
    workflow.task.add(spoils_initial, after=[], initial_context=given_initial)
    workflow.task.add(spoils_parameter, name="by_params", after=[], params={"value": given_params})
    workflow.task.add(SpoilsInClass, after={"value": "makes"}, initial_context=given_initial)
    workflow.task.add(spoils_and_fails_once, after={"value": "makes"}, initial_context=given_initial)
    workflow.task.add(spoils_parameter, name="last", after={"value": "makes"})
    for _ in range(2):  # a second run finds everything as it was, too
        run = workflow.start(mode, executor=executor, max_workers=2).raise_for_status()
        values = {task.task_id: task.current_context.storage for task in run.tasks}
        for name in ("makes", "spoils_parameter", "spoils_previous", "again", "spoils_initial", "by_params", "last"):
            assert values[name] == AS_MADE, name
        assert values["SpoilsInClass"][0].storage == (AS_MADE, AS_MADE)
        assert values["spoils_and_fails_once"] == [AS_MADE] * 3
        assert given_initial == given_params == AS_MADE
        assert run.tasks[4].initial_context.storage == AS_MADE


@action
def makes_many():
    return [made() for _ in range(3)]


@action
def spoils_item(item, constant, initial_context, others):
    return [spoil(each) for each in (item, constant, initial_context.storage)] + [spoil(each) for each in others]


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_an_item_changes_in_place_is_seen_by_nobody_else(mode, executor):
    workflow = DotFlow(name="copies")
    workflow.task.add(makes_many, after=[])
    workflow.task.add(makes_many, name="others", after=[])
    for name in ("first", "second"):
        options = {"params": {"constant": made()}, "initial_context": made()}
        parents = {"item": "makes_many", "others": "others"}
        workflow.task.add(spoils_item, name=name, after=parents, each="item", **options)
    workflow.task.add(action(lambda first: [spoil(each) for each in first[0]]), name="third", after="first")
    workflow.task.add(action(lambda first: [spoil(each) for each in first]), name="each", after="first", each=True)
    for _ in range(2):
        run = workflow.start(mode, executor=executor, max_workers=2, params=None).raise_for_status()
        values = {task.task_id: task.current_context.storage for task in run.tasks}
        assert values["makes_many"] == values["others"] == [AS_MADE] * 3
        assert values["first"] == values["second"] == values["each"] == [[AS_MADE] * 6] * 3
        assert values["third"] == [AS_MADE] * 6


@pytest.mark.parametrize("executor", EXECUTORS)
def test_values_of_start_params_are_given_as_copies(executor):
    params = {"value": made()}
    workflow = DotFlow(name="copies")
    workflow.task.add([spoils_parameter, spoils_parameter], group_name="one")
    run = workflow.start("parallel", executor=executor, params=params, max_workers=2).raise_for_status()
    assert [task.current_context.storage for task in run.tasks] == [AS_MADE] * 2
    assert params["value"] == AS_MADE


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_family_is_given_as_copies(executor):
    workflow = DotFlow(name="copies")
    for key in "ab":
        workflow.task.add(makes, key=key, after=[])
    step = action(lambda makes: [spoil(each) for each in makes])
    for name in ("first", "second"):
        workflow.task.add(step, name=name, after="makes")
    run = workflow.start("parallel", executor=executor, max_workers=2).raise_for_status()
    assert [task.current_context.storage for task in run.tasks] == [AS_MADE, AS_MADE, [AS_MADE] * 2, [AS_MADE] * 2]


@pytest.mark.parametrize("executor", ["inline", "thread"])
@pytest.mark.parametrize("kind", ["cycle", "twice the same", "deep list", "deep tuple", "contexts"])
def test_values_of_every_form_come_as_copies(kind, executor):
    value = KINDS[kind]
    got = []

    @action
    def keeps(value):
        got.append(value)

    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: value), name="value", after=[])
    for name in ("first", "second"):
        workflow.task.add(keeps, name=name, after="value")
    workflow.start(executor=executor).raise_for_status()
    first, second = got
    assert is_like(first, value)
    assert is_like(second, value)
    assert not parts(first, {}).keys() & (parts(second, {}).keys() | parts(value, {}).keys())
    del got[:], first, second


def test_a_step_that_changes_nothing_gets_the_very_object():
    value, initial, constant = [[1]], [[2]], [[3]]
    got = []

    @action(readonly=True)
    def reads(value, constant, initial_context, previous_context):
        got.append((value, constant, initial_context.storage, previous_context.storage))

    @action(readonly=True)
    class Reads:
        def __init__(self, value, constant, initial_context):
            got.append((value, constant, initial_context.storage, value))

        @action
        def read(self):
            return None

    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: value), name="value", after=[])
    for step in (reads, Reads):
        workflow.task.add(step, after="value", params={"constant": constant}, initial_context=initial)
    workflow.start(executor="inline").raise_for_status()
    assert len(got) == 2
    for seen in got:
        assert [each is it for each, it in zip(seen, (value, constant, initial, value), strict=True)] == [True] * 4


def test_a_context_is_a_step_s_own_even_if_its_value_is_shared():
    @action(readonly=True)
    def writes(previous_context):
        previous_context.storage = "mine"

    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: [1]), name="value", after=[])
    workflow.task.add(writes, after="value")
    workflow.task.add(action(lambda value: value), name="last", after="value")
    assert workflow.start().tasks[2].current_context.storage == [1]


def test_objects_are_shared_in_one_process():
    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: [OPAQUE]), name="value", after=[])
    workflow.task.add(action(lambda value: value[0] is OPAQUE), name="same", after="value")
    assert workflow.start().tasks[1].current_context.storage is True


@action
def left_spoils_right(left, right):
    left.append("spoilt")
    return right


@action
def parameter_spoils_context(value, previous_context, initial_context):
    value.append("spoilt")
    previous_context.storage.append("spoilt too")
    return value, previous_context.storage, initial_context.storage


@pytest.mark.parametrize("executor", EXECUTORS)
def test_two_parameters_of_one_value_are_two_copies(executor):
    rows = [[1]]
    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: [[1], [2]]), name="rows", after=[])
    workflow.task.add(left_spoils_right, name="whole", after={"left": "rows", "right": "rows"})
    workflow.task.add(left_spoils_right, name="params", after=[], params={"left": rows, "right": rows})
    run = workflow.start(executor=executor).raise_for_status()
    assert [task.current_context.storage for task in run.tasks[1:]] == [[[1], [2]], [[1]]]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_parameter_and_a_context_of_one_value_are_two_copies(executor):
    rows = [0]
    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: [1]), name="value", after=[])
    workflow.task.add(parameter_spoils_context, after="value", initial_context=rows)
    run = workflow.start(executor=executor).raise_for_status()
    assert run.tasks[1].current_context.storage == ([1, "spoilt"], [1, "spoilt too"], [0])


@action
def item_spoils_whole(item, whole):
    item.append("spoilt")
    return whole


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_item_and_the_list_that_it_is_of_are_two_copies(executor):
    workflow = DotFlow(name="copies")
    workflow.task.add(action(lambda: [[1], [2]]), name="rows", after=[])
    workflow.task.add(item_spoils_whole, after={"item": "rows", "whole": "rows"}, each="item")
    run = workflow.start(executor=executor).raise_for_status()
    assert run.tasks[1].current_context.storage == [[[1], [2]]] * 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_values_that_share_a_part_are_two_copies(executor):
    shared = [1]
    workflow = DotFlow(name="copies")
    workflow.task.add(left_spoils_right, after=[], params={"left": shared, "right": {"in": shared}})
    assert workflow.start(executor=executor).raise_for_status().tasks[0].current_context.storage == {"in": [1]}
