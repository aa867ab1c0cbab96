"""The same graphs by hand, with `concurrent.futures`, one shape a process: python graph_futures.py SHAPE COUNT."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from measure import report, timed

if TYPE_CHECKING:
    from collections.abc import Callable


def noop(before: int = 0) -> int:
    """The work, which is none."""
    return before


def in_a_list(tasks: int, pool: ThreadPoolExecutor) -> None:
    for future in [pool.submit(noop) for _ in range(tasks)]:
        future.result()


def chain(tasks: int, pool: ThreadPoolExecutor) -> None:
    value = 0
    for _ in range(tasks):
        value = pool.submit(noop, value).result()


def fan(items: int, pool: ThreadPoolExecutor) -> None:
    numbers = pool.submit(lambda: list(range(items))).result()
    rows = [future.result() for future in [pool.submit(noop, number) for number in numbers]]
    pool.submit(len, rows).result()


SHAPES: dict[str, tuple[Callable[[int, ThreadPoolExecutor], None], int]] = {
    "list": (in_a_list, 1),
    "chain": (chain, 1),
    "fan-inline": (fan, 1),
    "fan-threads": (fan, 2),
}

if __name__ == "__main__":
    work, workers = SHAPES[sys.argv[1]]
    count = int(sys.argv[2])
    with ThreadPoolExecutor(workers) as threads:
        work(10, threads)
        report({"us": timed(lambda: work(count, threads)) / count * 1e6})
