"""The same graphs for Hamilton, one shape a process: python graph_hamilton.py SHAPE COUNT."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hamilton import ad_hoc_utils, driver
from hamilton.execution import executors
from hamilton.htypes import Collect, Parallelizable
from measure import report, timed

if TYPE_CHECKING:
    from collections.abc import Callable


def named(function: Callable[..., Any], name: str, annotations: dict[str, Any]) -> Callable[..., Any]:
    """The function as one of a module: Hamilton reads names and annotations."""
    function.__name__ = function.__qualname__ = name
    function.__annotations__ = annotations
    return function


def in_a_list(tasks: int) -> Callable[[], object]:
    names = [f"task_{number}" for number in range(tasks)]
    module = ad_hoc_utils.create_temporary_module(*[named(lambda: 1, name, {"return": int}) for name in names])
    built = driver.Builder().with_modules(module).build()
    return lambda: built.execute(names)


def chain(tasks: int) -> Callable[[], object]:
    sys.setrecursionlimit(100_000)  # it walks a chain by recursion
    functions = [named(lambda: 1, "task_0", {"return": int})]
    for number in range(1, tasks):
        scope: dict[str, Any] = {}
        exec(f"def task_{number}(task_{number - 1}: int) -> int: return task_{number - 1}", scope)  # noqa: S102 - a name each
        functions.append(scope[f"task_{number}"])
    built = driver.Builder().with_modules(ad_hoc_utils.create_temporary_module(*functions)).build()
    return lambda: built.execute([f"task_{tasks - 1}"])


def fan(items: int, remote: Any) -> Callable[[], object]:
    module = ad_hoc_utils.create_temporary_module(
        named(lambda: iter(range(items)), "number", {"return": Parallelizable[int]}),
        named(lambda number: number, "item", {"number": int, "return": int}),
        named(lambda item: sum(1 for _ in item), "joined", {"item": Collect[int], "return": int}),
    )
    built = (
        driver.Builder()
        .enable_dynamic_execution(allow_experimental_mode=True)
        .with_local_executor(executors.SynchronousLocalTaskExecutor())
        .with_remote_executor(remote)
        .with_modules(module)
        .build()
    )
    return lambda: built.execute(["joined"])


SHAPES: dict[str, Callable[[int], Callable[[], object]]] = {
    "list": in_a_list,
    "chain": chain,
    "fan-inline": lambda items: fan(items, executors.SynchronousLocalTaskExecutor()),
    "fan-threads": lambda items: fan(items, executors.MultiThreadingExecutor(max_tasks=2)),
}

if __name__ == "__main__":
    shape, count = SHAPES[sys.argv[1]], int(sys.argv[2])
    shape(10)()
    report({"us": timed(shape(count)) / count * 1e6})
