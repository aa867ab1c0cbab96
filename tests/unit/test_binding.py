"""What fills the parameters of a step: a table of all that binds."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import pytest

from dotflow import DotFlow, action, current
from support.binding import (
    FAMILY,
    ROWS,
    STORE,
    TABLE,
    Called,
    Load,
    LoadsPrevious,
    Two,
    broken,
    by_position,
    decorated,
    has_defaults,
    is_async,
    keyword_only,
    nothing,
    pairs,
    previous_and_default,
    previous_and_more,
    region,
    rows,
    table,
    takes_all,
    takes_any,
    takes_any_and_table,
    takes_both,
    takes_family,
    takes_item,
    takes_more,
    takes_previous,
    takes_rest,
    takes_rows,
    ten_times,
    with_rest_only,
)


class Case(NamedTuple):
    """What is added, each with its options; what it is started with; and what the last task returns."""

    name: str
    adds: list[tuple[Any, dict[str, Any]]]
    expected: Any
    start: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it


BINDS = [
    Case("a parent of that name", [ROWS, (takes_rows, {"after": "rows"})], [1, 2]),
    Case("a parent by its step", [ROWS, (takes_rows, {"after": rows})], [1, 2]),
    Case("a parent in a list", [ROWS, (takes_rows, {"after": ["rows"]})], [1, 2]),
    Case(
        "parents in a list, by name and by step",
        [ROWS, TABLE, (takes_both, {"after": [table, "rows"]})],
        ([1, 2], "events"),
    ),
    Case("parents in a tuple", [ROWS, TABLE, (takes_both, {"after": ("rows", table)})], ([1, 2], "events")),
    Case(
        "a parent by its id",
        [ROWS, (table, {"name": "rows", "after": []}), (takes_rows, {"after": "rows-2"})],
        "events",
    ),
    Case("the parameter that a dict names", [ROWS, (takes_any, {"after": {"anything": "rows"}})], [1, 2]),
    Case("a dict by step", [ROWS, (takes_any, {"after": {"anything": rows}})], [1, 2]),
    Case(
        "two of one name by a dict",
        [ROWS, (table, {"name": "rows", "after": []}), (pairs, {"after": {"left": rows, "right": "rows-2"}})],
        ([1, 2], "events"),
    ),
    Case("a dict before the name", [ROWS, TABLE, (takes_rows, {"after": {"rows": "table"}})], "events"),
    Case(
        "crosswise",
        [ROWS, TABLE, (takes_both, {"after": {"rows": "table", "table": "rows"}})],
        ("events", [1, 2]),
    ),
    Case(
        "a dict with a parent that only orders",
        [ROWS, TABLE, (takes_rows, {"after": {"rows": "rows", "table": table}})],
        [1, 2],
    ),
    Case(
        "one value for two parameters", [ROWS, (pairs, {"after": {"left": "rows", "right": "rows"}})], ([1, 2], [1, 2])
    ),
    Case("a list of steps", [(rows, {}), (takes_rows, {})], [1, 2]),
    Case("the one before, by the single leftover", [(rows, {}), (takes_any, {})], [1, 2]),
    Case("the single leftover of a named parent", [ROWS, (takes_any, {"after": "rows"})], [1, 2]),
    Case("the single leftover of a list of one", [ROWS, (takes_any, {"after": [rows]})], [1, 2]),
    Case("the single leftover beside a default", [ROWS, (takes_any_and_table, {"after": "rows"})], ([1, 2], "t")),
    Case(
        "the single leftover beside params",
        [ROWS, (takes_both, {"after": "rows", "name": "x", "params": {"table": "a"}})],
        ([1, 2], "a"),
    ),
    Case(
        "the single leftover beside params, by position in the signature",
        [TABLE, (takes_both, {"after": "table", "params": {"rows": 0}})],
        (0, "events"),
    ),
    Case("the single leftover of a chain", [([rows, takes_any, takes_any], {"after": []})], [1, 2]),
    Case("params at add", [(takes_rows, {"params": {"rows": 7}})], 7),
    Case("params at start", [(takes_rows, {})], 8, {"params": {"rows": 8}}),
    Case("start before add", [(takes_rows, {"params": {"rows": 7}})], 8, {"params": {"rows": 8}}),
    Case("start before the single leftover", [(rows, {}), (takes_any, {})], 8, {"params": {"anything": 8}}),
    Case("start before a default", [(has_defaults, {})], ("none", "s"), {"params": {"table": "s"}}),
    Case("None is a value", [(has_defaults, {"params": {"rows": None}})], (None, "t")),
    Case("defaults", [(has_defaults, {})], ("none", "t")),
    Case(
        "a parent by the dict, and by its name too",
        [TABLE, (takes_any_and_table, {"after": {"anything": table}})],
        ("events", "events"),
    ),
    Case("a parent before a default", [TABLE, (has_defaults, {"after": "table"})], ("none", "events")),
    Case(
        "the rest of params",
        [ROWS, (takes_rest, {"after": "rows", "params": {"a": 1, "b": 2}})],
        ([1, 2], {"a": 1, "b": 2}),
    ),
    Case("no rest", [ROWS, (takes_rest, {"after": "rows"})], ([1, 2], {})),
    Case("only the rest", [(with_rest_only, {"params": {"a": 1}})], {"a": 1}),
    Case("no parent goes into the rest", [ROWS, (with_rest_only, {"after": "rows"})], {}),
    Case("*args gets nothing", [ROWS, (takes_more, {"after": "rows"})], ((), [1, 2])),
    Case("positional-only with a default", [ROWS, (by_position, {"after": "rows"})], (3, [1, 2])),
    Case("keyword-only", [ROWS, (keyword_only, {"after": "rows"})], ([1, 2], "t")),
    Case("an async step", [ROWS, (is_async, {"after": "rows", "params": {"table": "a"}})], ([1, 2], "a")),
    Case("behind a plain decorator", [ROWS, (decorated, {"after": "rows"})], ([1, 2], "t")),
    Case("a partial by keyword", [ROWS, (functools.partial(takes_both, table="p"), {"after": "rows"})], ([1, 2], "p")),
    Case("a partial by position", [TABLE, (functools.partial(takes_both, [5]), {"after": "table"})], ([5], "events")),
    Case(
        "a partial of which the single one is left",
        [ROWS, (functools.partial(pairs, left=0), {"after": "rows"})],
        (0, [1, 2]),
    ),
    Case(
        "a marked partial", [ROWS, (action(functools.partial(takes_both, table="p")), {"after": rows})], ([1, 2], "p")
    ),
    Case("a lambda", [ROWS, (action(lambda rows: rows[::-1]), {"after": "rows"})], [2, 1]),
    Case("a lambda with a leftover", [ROWS, (action(lambda x, y=5: (x, y)), {"after": "rows"})], ([1, 2], 5)),
    Case("an object that can be called", [ROWS, (action(Called()), {"after": "rows"})], ([1, 2], "t")),
    Case("a bound method", [ROWS, (STORE.load, {"after": "rows"})], ("store", [1, 2], "t")),
    Case("an async bound method", [ROWS, (STORE.load_async, {"after": "rows"})], ("store", [1, 2])),
    Case(
        "after a bound method",
        [ROWS, (STORE.load, {"after": "rows"}), (takes_any, {"after": STORE.load})],
        ("store", [1, 2], "t"),
    ),
    Case(
        "__init__ of a class",
        [ROWS, (Load, {"after": "rows", "initial_context": 9, "params": {"table": "c"}}), (takes_any, {"after": Load})],
        [([1, 2], "c", 9), "c"],
    ),
    Case(
        "a class that takes both",
        [ROWS, (LoadsPrevious, {"after": rows, "params": {"table": "c"}}), (takes_any, {"after": "LoadsPrevious"})],
        [([1, 2], "c")],
    ),
    Case("a class gives the list of its values", [(Two, {"after": []}), (takes_any, {"after": Two})], [1, 2]),
    Case("a class before it in a list", [(Two, {}), (takes_any, {})], [1, 2]),
    Case("a class in previous_context", [(Two, {"after": []}), (takes_previous, {"after": "Two"})], [1, 2]),
    Case("previous_context of one parent", [ROWS, (takes_previous, {"after": "rows"})], [1, 2]),
    Case(
        "previous_context of a list",
        [ROWS, TABLE, (takes_previous, {"after": ["rows", table]})],
        {"rows": [1, 2], "table": "events"},
    ),
    Case("previous_context of a list of one", [ROWS, (takes_previous, {"after": ["rows"]})], {"rows": [1, 2]}),
    Case(
        "previous_context by ids",
        [ROWS, (table, {"name": "rows", "after": []}), (takes_previous, {"after": {"first": rows, "rows": "rows-2"}})],
        {"first": [1, 2], "rows": "events"},
    ),
    Case(
        "previous_context of a dict",
        [ROWS, TABLE, (takes_previous, {"after": {"a": "rows", "b": "table"}})],
        {"a": [1, 2], "b": "events"},
    ),
    Case(
        "previous_context behind a group",
        [([rows, table], {}), (takes_previous, {"when": "always"})],
        {"rows": [1, 2], "table": "events"},
    ),
    Case("previous_context of none", [(takes_previous, {"after": []})], None),
    Case(
        "both contexts and parameters",
        [ROWS, (takes_all, {"after": "rows", "initial_context": 9})],
        (9, [1, 2], [1, 2], "t"),
    ),
    Case("previous_context beside a default", [ROWS, (previous_and_default, {"after": "rows"})], ([1, 2], "t")),
    Case(
        "previous_context beside params",
        [ROWS, (previous_and_more, {"after": "rows", "params": {"anything": 0}})],
        ([1, 2], 0),
    ),
    Case("a family by its name", [*FAMILY, (takes_family, {"after": "region"})], ["EU", "US"]),
    Case("a family of one", [FAMILY[0], (takes_family, {"after": "region"})], ["EU"]),
    Case("a family by its step", [*FAMILY, (takes_any, {"after": region})], ["EU", "US"]),
    Case(
        "a family by a dict",
        [*FAMILY, ROWS, (pairs, {"after": {"left": "region", "right": "rows"}})],
        (["EU", "US"], [1, 2]),
    ),
    Case("a member of a family", [*FAMILY, (takes_family, {"after": "region[us]"})], "US"),
    Case(
        "two members of a family",
        [*FAMILY, (pairs, {"after": {"left": "region[us]", "right": "region[eu]"}})],
        ("US", "EU"),
    ),
    Case("a family in previous_context", [*FAMILY, (takes_previous, {"after": "region"})], ["EU", "US"]),
    Case(
        "a family with a member that skipped",
        [
            (region, {"after": [], "key": 1, "initial_context": 5}),
            (nothing, {"after": [], "name": "region", "key": 2}),
            (takes_family, {"after": "region", "when": "always"}),
        ],
        [5, None],
    ),
    Case(
        "a parent without a result gives the default",
        [(nothing, {"name": "rows", "after": []}), (has_defaults, {"after": "rows", "when": "always"})],
        ("none", "t"),
    ),
    Case(
        "a parent without a result gives None",
        [(nothing, {"name": "rows", "after": []}), (takes_rows, {"after": "rows", "when": "always"})],
        None,
    ),
    Case(
        "a failed parent gives the default",
        [(broken, {"name": "rows", "after": []}), (has_defaults, {"after": "rows", "when": "failure"})],
        ("none", "t"),
    ),
    Case(
        "a failed parent gives None in previous_context",
        [ROWS, (broken, {"after": []}), (takes_previous, {"after": ["rows", "broken"], "when": "failure"})],
        {"rows": [1, 2], "broken": None},
    ),
    Case(
        "a parent that did not run gives the default",
        [(broken, {"after": []}), (rows, {"after": "broken"}), (has_defaults, {"after": "rows", "when": "always"})],
        ("none", "t"),
    ),
    Case(
        "any, of which one is missing",
        [ROWS, (nothing, {"name": "table", "after": []}), (keyword_only, {"after": ["rows", "table"], "when": "any"})],
        ([1, 2], "t"),
    ),
    Case(
        "a mapped parent gives the list",
        [ROWS, (ten_times, {"after": "rows", "each": True}), (takes_any, {"after": "ten_times"})],
        [10, 20],
    ),
    Case("each item of its one parent", [ROWS, (takes_item, {"after": "rows", "each": True})], [(1, "t"), (2, "t")]),
    Case(
        "each item of a named parent, the other whole",
        [ROWS, TABLE, (takes_both, {"after": ["rows", "table"], "each": "rows"})],
        [(1, "events"), (2, "events")],
    ),
    Case(
        "each by the parameter of a dict",
        [ROWS, TABLE, (takes_item, {"after": {"row": "rows", "table": "table"}, "each": "row"})],
        [(1, "events"), (2, "events")],
    ),
    Case(
        "each side by side",
        [
            ROWS,
            (rows, {"name": "more", "after": []}),
            (pairs, {"after": {"left": "rows", "right": "more"}, "each": ["left", "right"]}),
        ],
        [(1, 1), (2, 2)],
    ),
    Case(
        "each with params",
        [ROWS, (takes_item, {"after": "rows", "each": True, "params": {"table": "p"}})],
        [(1, "p"), (2, "p")],
    ),
    Case("each in previous_context", [ROWS, (takes_previous, {"after": "rows", "each": True})], [1, 2]),
    Case(
        "each in previous_context of several",
        [ROWS, TABLE, (takes_previous, {"after": ["rows", "table"], "each": "rows"})],
        [{"rows": 1, "table": "events"}, {"rows": 2, "table": "events"}],
    ),
    Case("each over a family", [*FAMILY, (takes_any, {"after": "region", "each": True})], ["EU", "US"]),
    Case(
        "each over a range",
        [(action(lambda: range(2)), {"name": "numbers", "after": []}), (ten_times, {"after": "numbers", "each": True})],
        [0, 10],
    ),
    Case(
        "each over a mapping gives pairs",
        [
            (action(lambda: {"a": 1, "b": 2}), {"name": "sizes", "after": []}),
            (takes_any, {"after": "sizes", "each": True}),
        ],
        [("a", 1), ("b", 2)],
    ),
    Case(
        "each over a mapped task, item by item",
        [ROWS, (ten_times, {"after": "rows", "each": True}), (takes_item, {"after": ten_times, "each": True})],
        [(10, "t"), (20, "t")],
    ),
    Case(
        "a mapped task item by item beside the list",
        [
            ROWS,
            (ten_times, {"after": "rows", "each": True}),
            (pairs, {"after": {"left": "ten_times", "right": "rows"}, "each": "left"}),
        ],
        [(10, [1, 2]), (20, [1, 2])],
    ),
    Case(
        "a mapped task as a whole beside its items",
        [
            ROWS,
            (ten_times, {"after": "rows", "each": True}),
            (pairs, {"after": {"left": "ten_times", "right": "ten_times"}, "each": "left"}),
        ],
        [(10, [10, 20]), (20, [10, 20])],
    ),
    Case(
        "a name that two parents share fills nothing",
        [
            ROWS,
            (table, {"name": "rows", "after": []}),
            (action(lambda left, right, rows="own": (left, right, rows)), {"after": {"left": rows, "right": "rows-2"}}),
        ],
        ([1, 2], "events", "own"),
    ),
    Case(
        "each by the parameter, not by the name of another parent",
        [
            ROWS,
            (action(lambda: "ab"), {"name": "text", "after": []}),
            (action(lambda rows, text: (rows, text)), {"after": {"text": "rows", "rows": "text"}, "each": "text"}),
        ],
        [("ab", 1), ("ab", 2)],
    ),
    Case("each over the one before it", [(rows, {}), (ten_times, {"each": True})], [10, 20]),
    Case(
        "start(params=) fills those of several tasks",
        [(takes_rows, {}), (keyword_only, {"params": {"table": 1}})],
        (8, 1),
        {"params": {"rows": 8}},
    ),
    Case(
        "a key of start for the rest that add gave",
        [(with_rest_only, {"params": {"a": 1, "b": 2}})],
        {"a": 3, "b": 2},
        {"params": {"a": 3}},
    ),
]


@pytest.mark.parametrize("executor", ["inline", "thread"])
@pytest.mark.parametrize("case", BINDS, ids=[case.name for case in BINDS])
def test_binds(case, executor):
    workflow = DotFlow(name="binding")
    for step, options in case.adds:
        workflow.task.add(step, **options)
    run = workflow.start(executor=executor, keep_going=True, **case.start)
    last = run.tasks[-1]
    assert not last.errors, last.errors
    assert str(last.status) == "Completed"
    assert last.current_context.storage == case.expected


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_mapped_task_as_a_whole_beside_its_items_is_waited_for(executor):
    workflow = DotFlow(name="binding")
    workflow.task.add(rows, after=[])
    workflow.task.add(ten_times, after=rows, each=True)
    workflow.task.add(pairs, after={"left": ten_times, "right": ten_times}, each="left")
    run = workflow.start("parallel", executor=executor)
    assert run.tasks[-1].current_context.storage == [(10, [10, 20]), (20, [10, 20])]
    assert [parent.task_id for parent in run.tasks[-1].parents] == ["ten_times"]


def test_a_parent_named_twice_is_one_parent():
    workflow = DotFlow(name="binding")
    workflow.task.add(rows, after=[])
    workflow.task.add(pairs, after={"left": rows, "right": rows})
    assert [parent.task_id for parent in workflow.start().tasks[-1].parents] == ["rows"]


def test_current_tells_of_parents_by_what_after_wrote():
    @action
    def looks(previous_context):
        return {name: (end.task_id, str(end.result), len(end.items)) for name, end in current().parents.items()}

    workflow = DotFlow(name="binding")
    for step, options in [*FAMILY, ROWS, (ten_times, {"after": "rows", "each": True})]:
        workflow.task.add(step, **options)
    workflow.task.add(looks, after={"regions": "region", "one": rows, "tens": "ten_times"})
    assert workflow.start().tasks[-1].current_context.storage == {
        "regions": ("region", "success", 2),
        "one": ("rows", "success", 0),
        "tens": ("ten_times", "success", 2),
    }
