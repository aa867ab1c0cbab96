"""How each candidate is measured: the same few lines for all of them, from the standard library alone.

A candidate gives one function: for so many tasks, something that runs a workflow of that many no-op tasks, one after
the other. Everything that a program does once (defining, adding, connecting) is done before that something is called.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Prepare = Callable[[int], Callable[[], object]]


def timed(work: Callable[[], object]) -> float:
    """The seconds that it takes."""
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def figures(prepare: Prepare, tasks: int, repeats: int = 3, fewest: int = 0) -> dict[str, float]:
    """The first run of the process, a run when all is warm, and what a task adds to it.

    `fewest` is the smallest workflow that the candidate takes: 0, or 1 where it refuses an empty one.
    """
    first = timed(prepare(fewest))
    prepare(min(tasks, 10))()  # a warm-up, not counted
    empty = statistics.median(timed(prepare(fewest)) for _ in range(repeats))
    full = statistics.median(timed(prepare(tasks)) for _ in range(repeats))
    return {
        "first_run_ms": first * 1e3,
        "empty_run_ms": empty * 1e3,
        "task_us": (full - empty) / (tasks - fewest) * 1e6,
    }


def report(found: dict[str, float]) -> None:
    """Print the figures as the last line, where the benchmark reads them."""
    print(json.dumps(found), flush=True)
