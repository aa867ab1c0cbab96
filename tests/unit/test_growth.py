"""Twice as many tasks cost twice as much. Instructions are counted, not seconds, so a busy machine changes nothing.

From how many there are for n, 2n and 3n tasks follows what is quadratic in them, exactly: `a + b*n + c*n*n` has a second
difference of `2*c*n*n`. So the tests need few tasks, and find what costs an instruction for every other pair of them.
"""

from __future__ import annotations

import gc
import sys
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import pytest

from dotflow import Config, DotFlow, Skip, action, current
from dotflow.abc.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SIZE = 40
MOST = 0.5  # instructions for each pair of tasks


class Quiet(Log):
    """Says nothing: the text of a line is not what is measured."""

    def info(self, **kwargs: Any) -> None:
        """Nothing."""

    error = warning = debug = info


class Name(str):
    """A name that counts when it is compared, also by C code such as `list.count`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class HereAndNow(Executor):
    """Runs what it is given at once, as bytes like any executor of the user's."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def instructions(work: Callable[[], Any]) -> int:
    """How many instructions of Python are executed in this thread."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    gc.collect()
    gc.disable()  # a collection runs code of others: finalizers of earlier tests, callbacks of Hypothesis
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def for_each_pair(work: Callable[[int], Any], size: int = SIZE) -> float:
    """How many instructions are executed for each pair of what there is `size` of."""
    few, more, most = (instructions(lambda times=times: work(times * size)) for times in (1, 2, 3))
    return (most - 2 * more + few) / size**2


# --- steps


@action
def plain():
    return 1


@action
def takes(value):
    return value


@action
def fails():
    raise ValueError("no")


@action
def skips():
    raise Skip("nothing")


@action
def odd_fails(item):
    if item % 2:
        raise ValueError("odd")
    return item


@action(retry=3)
def third_time():
    if current().attempt < 3:
        raise ValueError("not yet")


class Store:
    @action
    def load(self):
        return 1


# --- what is run, with n of something


def workflow() -> DotFlow:
    return DotFlow(Config(log=Quiet(), listeners=(lambda event: None,)), name="growth")


def names(n: int) -> list[Name]:
    return [Name(f"t{number}") for number in range(n)]


def a_list(n: int, **start: Any) -> None:
    flow = workflow()
    flow.task.add([plain] * n)
    flow.start(**start)


def a_list_that_hands_over(n: int) -> None:
    flow = workflow()
    flow.task.add([plain, *[takes] * n])
    flow.start()


def a_list_in_parallel(n: int) -> None:
    a_list(n, mode="parallel", executor="inline")


def a_list_that_stops(n: int) -> None:
    flow = workflow()
    flow.task.add([fails, *[plain] * n])
    flow.start()


def a_list_that_goes_on(n: int) -> None:
    flow = workflow()
    flow.task.add([fails] * n)
    flow.start(keep_going=True)


def a_chain(n: int) -> None:
    flow = workflow()
    before: list[Name] = []
    for name in names(n):
        flow.task.add(plain, name=name, after=before[-1:])
        before.append(name)
    flow.start()


def a_chain_of_values(n: int) -> None:
    flow = workflow()
    flow.task.add([plain, *[takes] * n], after=[])
    flow.start()


def a_chain_of_bound_methods(n: int) -> None:
    flow = workflow()
    stores = [Store() for _ in range(n)]
    for number, store in enumerate(stores):
        flow.task.add(store.load, name=f"t{number}", after=stores[number - 1].load if number else [])
    flow.start()


def a_chain_that_fails(n: int, step: Any = fails) -> None:
    flow = workflow()
    flow.task.add(step, after=[])
    flow.task.add([plain] * n, after=step)
    flow.start(keep_going=True)


def a_chain_that_is_skipped(n: int) -> None:
    a_chain_that_fails(n, skips)


def fan_out_and_join(n: int, step: Any = plain, when: Any = "success", **start: Any) -> None:
    flow = workflow()
    flow.task.add(plain, name="source", after=[])
    for name in names(n):
        flow.task.add(step, name=name, after="source")
    flow.task.add(plain, name="join", after=names(n), when=when)
    flow.start(**start)


def fan_out_and_join_in_parallel(n: int) -> None:
    fan_out_and_join(n, mode="parallel", executor="inline")


def fan_out_with_failures(n: int) -> None:
    fan_out_and_join(n, fails, when="failure", mode="parallel", executor="inline")


def fan_out_with_failures_that_goes_on(n: int) -> None:
    fan_out_and_join(n, fails, when="always", keep_going=True)


def many_behind_a_mapped_task(n: int) -> None:
    flow = workflow()
    flow.task.add(action(lambda: list(range(n))), name="items", after=[])
    flow.task.add(takes, name="mapped", after="items", each=True)
    for name in names(n):
        flow.task.add(action(lambda previous_context: None), name=name, after="mapped")
    flow.start(executor=HereAndNow())


def fan_out_that_takes_the_value(n: int) -> None:
    flow = workflow()
    flow.task.add(plain, after=[])
    for name in names(n):
        flow.task.add(takes, name=name, after={"value": plain})
    flow.start(executor=HereAndNow())


def a_family_and_a_join(n: int) -> None:
    flow = workflow()
    for number in range(n):
        flow.task.add(plain, key=number, after=[])
    flow.task.add(takes, after={"value": "plain"})
    flow.task.add(takes, name="second", after={"value": plain})
    flow.start()


def each_item(n: int, step: Any = takes, **start: Any) -> None:
    flow = workflow()
    flow.task.add(action(lambda: list(range(n))), name="items", after=[])
    flow.task.add(step, name="mapped", after="items", each=True)
    flow.task.add(takes, name="join", after="mapped")
    flow.start(**start)


def each_item_in_parallel(n: int) -> None:
    each_item(n, mode="parallel", executor="inline")


def each_item_elsewhere(n: int) -> None:
    each_item(n, executor=HereAndNow())


def each_item_with_a_failure(n: int) -> None:
    each_item(n, odd_fails)


def each_item_with_failures(n: int) -> None:
    each_item(n, odd_fails, keep_going=True)


def each_item_by_key(n: int) -> None:
    flow = workflow()
    flow.task.add(action(lambda: list(range(n))), name="items", after=[])
    flow.task.add(takes, name="mapped", after="items", each=True, key=Name)
    flow.start()


def item_by_item(n: int) -> None:
    flow = workflow()
    flow.task.add(action(lambda: list(range(n))), name="items", after=[])
    flow.task.add(odd_fails, name="first", after="items", each=True)
    flow.task.add(takes, name="second", after="first", each=True)
    flow.task.add(takes, name="third", after="second", each=True)
    flow.start(mode="parallel", executor="inline", keep_going=True)


def each_item_beside_a_mapped_task(n: int) -> None:
    """Every item comes after all of the others; what is told of these is made once, not once for each."""
    flow = workflow()
    flow.task.add(action(lambda: list(range(n))), name="items", after=[])
    flow.task.add(action(lambda item: None), name="first", after="items", each=True)
    flow.task.add(action(lambda items: None), name="second", after=["items", "first"], each="items")
    flow.start(executor=HereAndNow())


def each_item_beside_a_family(n: int) -> None:
    flow = workflow()
    flow.task.add(action(lambda: list(range(n))), name="items", after=[])
    for number in range(n):
        flow.task.add(plain, key=number, after=[])
    flow.task.add(action(lambda items: None), name="second", after=["items", "plain"], each="items")
    flow.start(executor=HereAndNow())


def retries(n: int) -> None:
    flow = workflow()
    flow.task.add([third_time] * n)
    flow.start()


def retries_in_parallel(n: int) -> None:
    flow = workflow()
    flow.task.add([third_time] * n)
    flow.start(mode="parallel", executor="inline")


def groups(n: int, step: Any = plain, **start: Any) -> None:
    flow = workflow()
    for number in range(n):
        flow.task.add([step, plain], group_name=f"g{number}")
    flow.start(executor="inline", **start)


def groups_with_failures(n: int) -> None:
    groups(n, fails)


def groups_with_failures_in_parallel(n: int) -> None:
    groups(n, fails, mode="parallel")


def groups_with_failures_that_go_on(n: int) -> None:
    groups(n, fails, keep_going=True)


def groups_of_a_graph(n: int) -> None:
    flow = workflow()
    for number, name in enumerate(names(n)):
        flow.task.add(fails, name=name, after=[], group_name=f"g{number}")
        flow.task.add(plain, after=name, group_name=f"g{number}")
    flow.start(mode="parallel", executor="inline")


def a_handler_behind_a_list(n: int) -> None:
    flow = workflow()
    flow.task.add([plain] * n)
    flow.task.add(action(lambda previous_context: None), name="clean_up", when="always")
    flow.start()


def cancelled(n: int) -> None:
    flow = workflow()
    flow.task.add(action(lambda: flow.task.latest.cancel() or None), name="cancels", after=[])
    for name in names(n):
        flow.task.add(plain, name=name, after=[])
    flow.task.add([plain] * n, after="cancels")
    flow.start(mode="parallel", executor="inline")


def the_tree(n: int) -> None:
    flow = workflow()
    flow.task.add([fails] * n)
    run = flow.start(keep_going=True)
    run.tree()
    flow.task.result()
    flow.task.schema()


CASES = [
    a_list,
    a_list_that_hands_over,
    a_list_in_parallel,
    a_list_that_stops,
    a_list_that_goes_on,
    a_chain,
    a_chain_of_values,
    a_chain_of_bound_methods,
    a_chain_that_fails,
    a_chain_that_is_skipped,
    fan_out_and_join,
    fan_out_and_join_in_parallel,
    fan_out_with_failures,
    fan_out_with_failures_that_goes_on,
    fan_out_that_takes_the_value,
    a_family_and_a_join,
    each_item,
    each_item_in_parallel,
    each_item_elsewhere,
    each_item_with_a_failure,
    each_item_with_failures,
    each_item_by_key,
    item_by_item,
    each_item_beside_a_mapped_task,
    each_item_beside_a_family,
    retries,
    retries_in_parallel,
    groups,
    groups_with_failures,
    groups_with_failures_in_parallel,
    groups_with_failures_that_go_on,
    groups_of_a_graph,
    a_handler_behind_a_list,
    cancelled,
    the_tree,
    many_behind_a_mapped_task,
]


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_twice_as_many_cost_twice_as_much(case):
    case(4)  # what is imported and remembered once
    assert for_each_pair(case) < MOST


def test_the_count_finds_what_is_quadratic():
    """In Python, in C code that compares names, and beside much else."""

    def in_python(n):
        return sum(1 for a in range(n) for b in range(n) if a == b)

    def in_c(n):
        found = names(n)
        return [found.count(name) for name in found]

    def beside_much_else(n):
        fan_out_and_join(n)
        in_c(n)

    for work in (in_python, in_c, beside_much_else):
        work(1)
        assert for_each_pair(work) > 2 * MOST
