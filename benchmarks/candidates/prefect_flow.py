"""Prefect: a flow that calls tasks, on the server that it starts for itself where none is configured.

A flow takes about a second to end, whatever it did, and that second varies by more than many tasks take. So the tasks
are timed inside the flow: what is reported to the server after the last of them is not in their figure.
"""

from __future__ import annotations

import statistics
import time

from measure import report, timed
from prefect import flow, task


@task
def noop() -> None:
    """The work, which is none."""


@flow
def workflow(tasks: int) -> float:
    begin = time.perf_counter()
    for _ in range(tasks):
        noop()
    return time.perf_counter() - begin


def main(tasks: int = 50, repeats: int = 3) -> None:
    first = timed(lambda: workflow(0))
    workflow(10)  # a warm-up, not counted
    empty = statistics.median(timed(lambda: workflow(0)) for _ in range(repeats))
    full = statistics.median(workflow(tasks) for _ in range(repeats))
    report({"first_run_ms": first * 1e3, "empty_run_ms": empty * 1e3, "task_us": full / tasks * 1e6})


if __name__ == "__main__":
    main()
