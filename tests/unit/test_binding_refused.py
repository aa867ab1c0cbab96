"""Parameters, parents and options that are refused, each with the whole of what is said."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from dotflow import DotFlow, action
from dotflow.errors import DotflowError, InvalidChoice, InvalidOption, StepSignatureError
from support.binding import (
    FAMILY,
    ROWS,
    TABLE,
    Load,
    by_position_only,
    generates,
    generates_async,
    pairs,
    previous_and_more,
    region,
    rows,
    table,
    takes_any,
    takes_both,
    takes_family,
    takes_nothing,
    takes_rows,
    ten_times,
    with_rest_only,
)


class Refusal(NamedTuple):
    """What is added, what it is started with, and the whole message."""

    name: str
    adds: list[tuple[Any, dict[str, Any]]]
    error: type[DotflowError]
    message: str
    start: dict[str, Any] | None = None  # None: it is refused at `add`


REFUSED: list[Refusal] = [
    Refusal(
        "unknown name",
        [ROWS, (takes_rows, {"after": "row"})],
        InvalidOption,
        "after='row' of task 'takes_rows': no task before it is called that; did you mean 'rows'?",
    ),
    Refusal(
        "nothing near",
        [ROWS, (takes_rows, {"after": "zzz"})],
        InvalidOption,
        "after='zzz' of task 'takes_rows': no task before it is called that; there are 'rows'",
    ),
    Refusal(
        "none yet",
        [(takes_rows, {"after": "rows"})],
        InvalidOption,
        "after='rows' of task 'takes_rows': no task before it is called that; there is none yet",
    ),
    Refusal(
        "a step not added",
        [ROWS, (takes_any, {"after": table})],
        InvalidOption,
        "after=table of task 'takes_any': it was not added before",
    ),
    Refusal(
        "a number",
        [ROWS, (takes_any, {"after": 7})],
        InvalidOption,
        "after=an object of type int of task 'takes_any': it was not added before; write the name or id of a task, or its step",
    ),
    Refusal(
        "later / itself",
        [(takes_rows, {"after": "takes_rows"})],
        InvalidOption,
        "after='takes_rows' of task 'takes_rows': no task before it is called that; there is none yet",
    ),
    Refusal(
        "several of name",
        [ROWS, (table, {"name": "rows", "after": []}), (takes_rows, {"after": "rows"})],
        InvalidOption,
        "after='rows' of task 'takes_rows' could be several tasks ('rows', 'rows-2'): give each a name= of its own, or a key= to make them a family",
    ),
    Refusal(
        "step several",
        [ROWS, (rows, {"after": []}), (takes_rows, {"after": rows})],
        InvalidOption,
        "after of task 'takes_rows' names a step that was added as 'rows', 'rows-2': write which, as a text",
    ),
    Refusal(
        "two of one name in list",
        [ROWS, (table, {"name": "rows", "after": []}), (takes_rows, {"after": [rows, "rows-2"]})],
        InvalidOption,
        "after of task 'takes_rows' names two parents called 'rows': say which is which with a dict, after={parameter: task}",
    ),
    Refusal(
        "parent and params",
        [ROWS, (takes_rows, {"after": "rows", "params": {"rows": 1}})],
        StepSignatureError,
        "parameter 'rows' of task 'takes_rows' would be filled twice, by the parent 'rows' and by params: take it out of one of them",
    ),
    Refusal(
        "dict parent and params",
        [ROWS, (takes_any, {"after": {"anything": "rows"}, "params": {"anything": 1}})],
        StepSignatureError,
        "parameter 'anything' of task 'takes_any' would be filled twice, by the parent 'anything' and by params: take it out of one of them",
    ),
    Refusal(
        "params key",
        [(takes_rows, {"params": {"row": 1}})],
        StepSignatureError,
        "params='row' of task 'takes_rows': step 'takes_rows' has no such parameter; it takes rows",
    ),
    Refusal(
        "params key, no param",
        [(takes_nothing, {"params": {"row": 1}})],
        StepSignatureError,
        "params='row' of task 'takes_nothing': step 'takes_nothing' has no parameter to be filled",
    ),
    Refusal(
        "params key of list",
        [([rows, table], {"params": {"row": 1}})],
        StepSignatureError,
        "params='row': none of the steps has a parameter of that name",
    ),
    Refusal(
        "dict key",
        [ROWS, (takes_rows, {"after": {"row": "rows"}})],
        StepSignatureError,
        "after='row' of task 'takes_rows': step 'takes_rows' has no such parameter; it takes rows",
    ),
    Refusal(
        "params no dict",
        [(takes_rows, {"params": ["rows"]})],
        InvalidOption,
        "params= of type list: a dict from the names of parameters to their values",
    ),
    Refusal(
        "params key no text",
        [(takes_rows, {"params": {"rows": "secret", 1: "secret"}})],
        InvalidOption,
        "params= with the key 1: a key is the name of a parameter, as text",
    ),
    Refusal(
        "posonly",
        [(by_position_only, {})],
        StepSignatureError,
        "step 'by_position_only' takes rows by position only: dotflow passes it by name, remove the '/'",
    ),
    Refusal(
        "positional ctx",
        [(action(lambda initial_context, /: 1), {})],
        StepSignatureError,
        "step '<lambda>' takes initial_context by position only: dotflow passes it by name, remove the '/'",
    ),
    Refusal(
        "generator",
        [(action(generates), {})],
        StepSignatureError,
        "step 'generates' is a generator function: calling it runs nothing of it. Collect what it yields into a list and return that",
    ),
    Refusal(
        "an async generator",
        [(action(generates_async), {})],
        StepSignatureError,
        "step 'generates_async' is a generator function: calling it runs nothing of it. Collect what it yields into a list and return that",
    ),
    Refusal(
        "name ]",
        [(rows, {"name": "a]"})],
        InvalidOption,
        "name='a]': a name does not end in ']', as the ids of items and families do",
    ),
    Refusal(
        "family closed",
        [*FAMILY, (takes_family, {"after": "region"}), (region, {"key": "as", "after": []})],
        InvalidOption,
        "key='as': task 'takes_family' has named the family 'region', so no member can be added to it any more; add all of them before",
    ),
    Refusal(
        "family key twice",
        [*FAMILY, (region, {"key": "us", "after": []})],
        InvalidOption,
        "key='us': 'region' has a task with that key already",
    ),
    Refusal(
        "each and when",
        [ROWS, (takes_any, {"after": rows, "each": True, "when": "any"})],
        InvalidOption,
        "each= with when='any': a task with items runs when its parents ended well",
    ),
    Refusal(
        "each two parents",
        [ROWS, TABLE, (takes_both, {"after": [rows, table], "each": True})],
        InvalidOption,
        "each=True of task 'takes_both', which has 2 parents: say over which, as each='its name'",
    ),
    Refusal(
        "each unknown",
        [ROWS, (takes_any, {"after": rows, "each": "row"})],
        InvalidOption,
        "each='row' of task 'takes_any': it has no such parent; its parents are rows",
    ),
    Refusal(
        "each wrong",
        [ROWS, (takes_any, {"after": rows, "each": 3})],
        InvalidOption,
        "each=3: True, the name of a parent or of a parameter, or a list of such names",
    ),
    Refusal(
        "key function no each",
        [ROWS, (takes_any, {"after": rows, "key": str})],
        InvalidOption,
        "key= is a function: that makes the keys of items, and needs each=; of a task a key is a text",
    ),
    Refusal(
        "key text w each",
        [ROWS, (takes_any, {"after": rows, "each": True, "key": "a"})],
        InvalidOption,
        "key='a' with each=: it makes the key of an item, so it is a function of the item",
    ),
    Refusal(
        "key over mapped",
        [ROWS, (ten_times, {"after": rows, "each": True}), (takes_any, {"after": ten_times, "each": True, "key": str})],
        InvalidOption,
        "key= of task 'takes_any': it goes item by item over a mapped task, and has its keys",
    ),
    Refusal(
        "when empty",
        [(rows, {"after": [], "when": "any"})],
        InvalidOption,
        "when='any' with after=[]: it looks at how parents ended, and there is none",
    ),
    Refusal(
        "when unknown",
        [(rows, {"when": "sometimes"})],
        InvalidChoice,
        "when='sometimes' is not known: use one of 'success', 'any', 'failure', 'always'",
    ),
    Refusal(
        "list with name",
        [([rows, table], {"name": "x"})],
        InvalidOption,
        "name= with a list of 2 steps: it is of one task, so add them one by one",
    ),
    Refusal(
        "list with dict",
        [ROWS, ([takes_rows, takes_any], {"after": {"rows": rows}})],
        InvalidOption,
        "after= with a list of 2 steps: it is of one task, so add them one by one",
    ),
    Refusal(
        "unfilled",
        [(takes_rows, {})],
        StepSignatureError,
        "nothing fills 'rows' of task 'takes_rows' (it has no parent): name a parent for it, after={'rows': …}, give it a value with params={'rows': …}, or give it a default",
        {},
    ),
    Refusal(
        "unfilled two",
        [ROWS, (pairs, {"after": "rows"})],
        StepSignatureError,
        "nothing fills 'left', 'right' of task 'pairs' (its parents: 'rows'): name a parent for it, after={'left': …}, give it a value with params={'left': …}, or give it a default",
        {},
    ),
    Refusal(
        "unfilled with previous",
        [ROWS, (previous_and_more, {"after": "rows"})],
        StepSignatureError,
        "nothing fills 'anything' of task 'previous_and_more' (its parents: 'rows'): name a parent for it, after={'anything': …}, give it a value with params={'anything': …}, or give it a default",
        {},
    ),
    Refusal(
        "unfilled list parents",
        [ROWS, TABLE, (takes_any, {"after": ["rows", "table"]})],
        StepSignatureError,
        "nothing fills 'anything' of task 'takes_any' (its parents: 'rows', 'table'): name a parent for it, after={'anything': …}, give it a value with params={'anything': …}, or give it a default",
        {},
    ),
    Refusal(
        "unfilled parent fills other",
        [ROWS, (takes_both, {"after": "rows"})],
        StepSignatureError,
        "nothing fills 'table' of task 'takes_both' (its parents: 'rows'): name a parent for it, after={'table': …}, give it a value with params={'table': …}, or give it a default",
        {},
    ),
    Refusal(
        "unfilled init",
        [(Load, {})],
        StepSignatureError,
        "nothing fills 'rows' of task 'Load' (it has no parent): name a parent for it, after={'rows': …}, give it a value with params={'rows': …}, or give it a default",
        {},
    ),
    Refusal(
        "parallel list unfilled",
        [(rows, {}), (takes_any, {})],
        StepSignatureError,
        "nothing fills 'anything' of task 'takes_any' (it names no parent, and in a list the mode 'parallel' implies none): name a parent for it, after={'anything': …}, give it a value with params={'anything': …}, or give it a default",
        {"mode": "parallel"},
    ),
    Refusal(
        "start key unknown",
        [(takes_rows, {"params": {"rows": 1}})],
        StepSignatureError,
        "start(params={'row': …}): no task has a parameter of that name; there are rows",
        {"params": {"row": 1}},
    ),
    Refusal(
        "start key unknown2",
        [(rows, {})],
        StepSignatureError,
        "start(params={'row': …}): no task has a parameter of that name; no step has any",
        {"params": {"row": 1}},
    ),
    Refusal(
        "start parent",
        [ROWS, (takes_rows, {"after": "rows"})],
        StepSignatureError,
        "parameter 'rows' of task 'takes_rows' is filled by its parent 'rows': take 'rows' out of start(params=)",
        {"params": {"rows": 1}},
    ),
    Refusal(
        "start single leftover two",
        [ROWS, (pairs, {"after": "rows"})],
        StepSignatureError,
        "start(params={'rigth': …}): no task has a parameter of that name; there are left, right",
        {"params": {"left": 1, "rigth": 1}},
    ),
    Refusal(
        "start rest",
        [(with_rest_only, {})],
        StepSignatureError,
        "start(params={'a': …}): no task has a parameter of that name; no step has any",
        {"params": {"a": 1}},
    ),
    Refusal(
        "not all name after",
        [ROWS, TABLE, (takes_any, {})],
        StepSignatureError,
        "task 'takes_any' does not say what it comes after, as others of this workflow do: name its parents with after=, or after=[] for none",
        {},
    ),
    Refusal(
        "first handler",
        [(rows, {"when": "always"})],
        StepSignatureError,
        "task 'rows' with when='always' has no parent whose end it could look at: name some with after=",
        {},
    ),
    Refusal(
        "any requires all",
        [ROWS, TABLE, (takes_both, {"after": ["rows", "table"], "when": "any"})],
        StepSignatureError,
        "task 'takes_both' with when='any' needs the value of each of its parents: give the parameters that may be missing a default",
        {},
    ),
    Refusal(
        "each in parallel",
        [(rows, {}), (ten_times, {"each": True})],
        StepSignatureError,
        "task 'ten_times' with each=True has 0 parents: it runs over the value of one; name it with after=",
        {"mode": "parallel"},
    ),
    Refusal(
        "start params no dict",
        [(takes_rows, {})],
        InvalidOption,
        "params= of type list: a dict from the names of parameters to their values",
        {"params": ["rows"]},
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_refuses(case):
    ran = []
    workflow = DotFlow(name="binding")
    with pytest.raises(case.error) as refused:
        for step, options in case.adds:
            workflow.task.add(step, **options)
        assert case.start is not None, "it was to be refused at add"
        workflow.task.add(action(lambda: ran.append(1)), name="other", group_name="another")
        workflow.start(**case.start)
    assert str(refused.value) == case.message
    assert (workflow.task.latest, ran) == (None, []), "something has begun"


def test_all_that_is_wrong_is_told_at_once():
    workflow = DotFlow(name="binding")
    workflow.task.add(takes_rows)
    workflow.task.add(takes_both, name="second", group_name="other")
    with pytest.raises(StepSignatureError) as refused:
        workflow.start(params={"column": 1})
    assert [line.split(" (it")[0] for line in str(refused.value).splitlines()] == [
        "nothing fills 'rows' of task 'takes_rows'",
        "nothing fills 'rows', 'table' of task 'second'",
        "start(params={'column': …}): no task has a parameter of that name; there are rows, table",
    ]


def test_of_many_parents_some_are_named():
    workflow = DotFlow(name="binding")
    for number in range(1_000):
        workflow.task.add(rows, name=f"rows_{number}", after=[])
    workflow.task.add(takes_rows, after=[f"rows_{number}" for number in range(1_000)])
    with pytest.raises(
        StepSignatureError, match=r"\(its parents: 'rows_0', .*, 'rows_5' and 994 more\): name a parent"
    ):
        workflow.start()


def test_what_is_refused_leaves_no_trace():
    workflow = DotFlow(name="binding")
    workflow.task.add(rows, after=[])
    with pytest.raises(StepSignatureError):
        workflow.task.add(takes_rows, after="rows", params={"row": 1})
    with pytest.raises(StepSignatureError):
        workflow.task.add([takes_rows, takes_any], after="rows", params={"row": 1})
    workflow.task.add(takes_rows, after="rows")
    assert [task.task_id for task in workflow.task] == ["rows", "takes_rows"]


def test_an_id_and_a_name_that_are_alike_are_two_things():
    workflow = DotFlow(name="binding")
    workflow.task.add([rows, rows], after=[])
    workflow.task.add(table, name="rows-2", after=[])
    with pytest.raises(InvalidOption, match=r"could be several tasks \('rows-2-2', 'rows-2'\)"):
        workflow.task.add(takes_rows, after="rows-2")
