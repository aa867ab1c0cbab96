"""What a task in a worker process costs, against the bare pools that others use for the same work.

1,000 no-op tasks, two workers, all in one run and in turn. The pools are warm: their processes have started, and have
run something, before the clock does; the start itself is shown in a line of its own. Every pool gets what a workflow
must send anyway: a function and its context, pickled so that closures and scripts work (cloudpickle).

    python benchmarks/parallel.py [--rounds 7] [--tasks 1000] [--workers 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cloudpickle

from dotflow import Config, Context, DotFlow, action
from dotflow.executors.attempt import Attempt
from dotflow.executors.payload import pickle_sides
from dotflow.executors.processes import ProcessExecutor
from dotflow.executors.workers import WorkerStock
from dotflow.model.clock import SystemClock
from dotflow.model.step import Step
from dotflow.providers import LogStructlog, MetricsPrometheus, TracerOpenTelemetry

try:
    from pebble import ProcessPool
except ImportError:  # not needed for anything else: pip install pebble
    ProcessPool = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Round = "Callable[[int], float]"


@action
def noop(initial_context: Context) -> object:
    """The work, which is none."""
    return initial_context.storage


def call(pickled: bytes) -> bytes:
    """What a bare pool must do at least: read the function and its argument, call it, write the result."""
    function, argument = cloudpickle.loads(pickled)
    return cloudpickle.dumps(function(argument))


def pickled_noop() -> bytes:
    return cloudpickle.dumps((noop, Context(1)))


@contextmanager
def futures_pool(workers: int) -> Iterator[Callable[[int], float]]:
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("forkserver")) as pool:

        def one_round(tasks: int) -> float:
            started = time.perf_counter()
            for future in [pool.submit(call, pickled_noop()) for _ in range(tasks)]:
                cloudpickle.loads(future.result())
            return time.perf_counter() - started

        yield one_round


@contextmanager
def pebble_pool(workers: int) -> Iterator[Callable[[int], float]]:
    with ProcessPool(workers, context=multiprocessing.get_context("forkserver")) as pool:

        def one_round(tasks: int) -> float:
            started = time.perf_counter()
            for future in [pool.schedule(call, args=[pickled_noop()]) for _ in range(tasks)]:
                cloudpickle.loads(future.result())
            return time.perf_counter() - started

        yield one_round


@contextmanager
def bare_workers(workers: int) -> Iterator[Callable[[int], float]]:
    """The worker processes of dotflow without its engine: no run, no events, no storage."""
    stock, step = WorkerStock(), Step.of(noop)

    def one_round(tasks: int) -> float:
        pool = ProcessExecutor(SystemClock(), pickle_sides({}), workers, stock)
        started = time.perf_counter()
        waiting = [Attempt(step, Context(1), Context()) for _ in range(tasks)]
        out = 0
        while waiting or out:
            while waiting and out < workers:
                pool.submit(waiting.pop())
                out += 1
            if pool.next(None) is not None:
                out -= 1
        took = time.perf_counter() - started
        pool.close()
        return took

    try:
        yield one_round
    finally:
        stock.close()


@contextmanager
def engine(workers: int, **providers: Any) -> Iterator[Callable[[int], float]]:
    with DotFlow(Config(**providers), name="bench") as workflow:

        def one_round(tasks: int) -> float:
            workflow.task.clear()
            workflow.task.add([noop] * tasks, initial_context=1)
            started = time.perf_counter()
            workflow.start("parallel", max_workers=workers).raise_for_status()
            return time.perf_counter() - started

        yield one_round


def instrumented(workers: int) -> Any:
    log = LogStructlog(format="json", output="/dev/null", capture=False)
    return engine(workers, log=log, tracer=TracerOpenTelemetry(), metrics=MetricsPrometheus())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rivals: dict[str, Callable[[int], Any]] = {
        "concurrent.futures, bare": futures_pool,
        **({"Pebble, bare": pebble_pool} if ProcessPool else {}),
        "dotflow's workers, bare": bare_workers,
        "dotflow, no telemetry": engine,
        "dotflow, all three signals": instrumented,
    }
    print(f"{options.tasks} no-op tasks, {options.workers} workers, median of {options.rounds} rounds\n")
    print(f"{'':28}{'first, cold':>12}{'µs a task':>11}")
    costs = {}
    for name, make in rivals.items():
        started = time.perf_counter()
        with make(options.workers) as one_round:
            one_round(options.workers)
            cold = time.perf_counter() - started
            times = [one_round(options.tasks) / options.tasks * 1e6 for _ in range(options.rounds)]
        costs[name] = statistics.median(times)
        print(f"{name:28}{cold * 1e3:9.0f} ms{costs[name]:11.0f}")
    print()
    for raw in list(rivals)[:-2]:
        ratio = costs["dotflow, no telemetry"] / costs[raw]
        print(f"a task of dotflow costs {ratio:.2f} x that of {raw} (aim: at most 2.5)")


if __name__ == "__main__":
    main()
