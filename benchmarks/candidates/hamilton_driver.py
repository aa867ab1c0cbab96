"""Hamilton: a driver over a module of functions that need nothing from each other, all of them asked for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from hamilton import ad_hoc_utils, driver
from measure import figures, report

if TYPE_CHECKING:
    from collections.abc import Callable

count = itertools.count()


def prepare(tasks: int) -> Callable[[], object]:
    names = [f"task_{number}" for number in range(tasks)]
    module = ad_hoc_utils.create_temporary_module(*[noop(name) for name in names], module_name=f"bench_{next(count)}")
    built = driver.Builder().with_modules(module).build()
    return lambda: built.execute(names)


def noop(name: str) -> Callable[..., Any]:
    def function() -> int:
        return 1

    function.__name__ = function.__qualname__ = name
    return function


if __name__ == "__main__":
    report(figures(prepare, tasks=1_000))
