"""Graphs of dotflow, one shape a process: python graph_ours.py SHAPE COUNT."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import counted
from measure import report, timed

from dotflow import DotFlow, action

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.run import Run

DICTS = 200_000
CONSUMERS = 3


@action
def noop() -> int:
    """The work, which is none."""
    return 1


@action
def fails() -> None:
    """Ends badly, with what an error costs in the least."""
    raise ValueError("as it is to be")


@action
def item(number: int) -> int:
    """One of many."""
    return number


@action
def join(rows: list[int]) -> int:
    """What comes after all of them."""
    return len(rows)


@action
def produce() -> list[Any]:
    """Many small dicts, and one object that counts the pickles of the value."""
    return [*({"id": number, "name": "x", "price": 1.5} for number in range(DICTS)), counted.Counted()]


@action
def consume(produce: list[Any]) -> int:
    """Looks at what it got."""
    return len(produce)


@action(readonly=True)
def read(produce: list[Any]) -> int:
    """Promises to change nothing."""
    return len(produce)


def in_a_list(tasks: int) -> Callable[[], Run]:
    workflow = DotFlow(name="bench")
    for _ in range(tasks):
        workflow.task.add(noop)
    return workflow.start


def chain(tasks: int) -> Callable[[], Run]:
    workflow = DotFlow(name="bench")
    workflow.task.add(noop, name="task-0", after=[])
    for number in range(1, tasks):
        workflow.task.add(noop, name=f"task-{number}", after=f"task-{number - 1}")
    return workflow.start


def fan(items: int, executor: Any) -> Callable[[], Run]:
    @action
    def source() -> list[int]:
        return list(range(items))

    workflow = DotFlow(name="bench")
    workflow.task.add(source, name="number")
    workflow.task.add(item, after="number", each=True)
    workflow.task.add(join, after="item")
    mode: Any = "sequential" if executor == "inline" else "parallel"
    return lambda: workflow.start(mode, executor=executor, max_workers=None if executor == "inline" else 2)


def failing_groups(groups: int) -> Callable[[], Run]:
    workflow = DotFlow(name="bench")
    for number in range(groups):
        workflow.task.add([fails, noop], group_name=f"group-{number}")
    logging.disable(logging.CRITICAL)
    return workflow.start


def copies(consumer: Any, executor: Any) -> Callable[[], Run]:
    workflow = DotFlow(name="bench")
    workflow.task.add(produce, after=[])
    for number in range(CONSUMERS):
        workflow.task.add(consumer, name=f"consumer-{number}", after="produce")
    if executor == "inline":
        return workflow.start
    return lambda: workflow.start("parallel", executor=executor, max_workers=2)


def measured(shape: str, count: int) -> dict[str, float]:
    made: dict[str, Callable[[], Callable[[], Run]]] = {
        "list": lambda: in_a_list(count),
        "chain": lambda: chain(count),
        "fan-inline": lambda: fan(count, "inline"),
        "fan-threads": lambda: fan(count, "thread"),
        "failing-groups": lambda: failing_groups(count),
        "copies-inline": lambda: copies(consume, "inline"),
        "readonly-inline": lambda: copies(read, "inline"),
        "copies-processes": lambda: copies(consume, "process"),
        "readonly-processes": lambda: copies(read, "process"),
    }
    start = made[shape]()
    before = counted.pickled
    ended: list[Run] = []
    seconds = timed(lambda: ended.append(start()))
    run = ended[0]
    if shape != "failing-groups":
        run.raise_for_status()
    tasks = CONSUMERS if count == 0 else len(run.tasks) if shape == "failing-groups" else count
    return {"us": seconds / tasks * 1e6, "pickles": counted.pickled - before}


if __name__ == "__main__":
    in_a_list(10)()
    report(measured(sys.argv[1], int(sys.argv[2])))
