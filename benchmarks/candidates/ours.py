"""dotflow itself, and the same written by hand, one case a process: python ours.py CASE."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import figures, report, timed

from dotflow import Config, DotFlow, action

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = 2_000


@action
def noop() -> None:
    """The work, which is none."""


def runs(**options: Any) -> dict[str, float]:
    """The figures of a workflow with this configuration."""

    def prepare(tasks: int) -> Callable[[], object]:
        return added(tasks, Config(**options)).start

    return figures(prepare, TASKS)


def added(tasks: int, config: Config | None = None) -> DotFlow:
    workflow = DotFlow(config or Config(), name="bench")
    for _ in range(tasks):
        workflow.task.add(noop, name="noop")
    return workflow


def adding() -> dict[str, float]:
    added(TASKS)  # a warm-up, not counted
    took = [timed(lambda: added(TASKS)) for _ in range(3)]
    return {"task_us": sorted(took)[1] / TASKS * 1e6}


def cold_pool() -> dict[str, float]:
    """From `start` to the end of a first run of one task in two worker processes, none of which was there before."""
    with added(1) as workflow:
        begin = time.perf_counter()
        workflow.start("parallel", max_workers=2).raise_for_status()
        return {"first_run_ms": (time.perf_counter() - begin) * 1e3}


def a_call_in_a_loop() -> dict[str, float]:
    def prepare(tasks: int) -> Callable[[], object]:
        def work() -> None:
            for _ in range(tasks):
                noop()

        return work

    return {"task_us": figures(prepare, TASKS)["task_us"]}


def signals_by_hand() -> dict[str, float]:
    import floor

    floor.by_hand_same(TASKS)()  # a warm-up, not counted
    took = [floor.by_hand_same(TASKS)() for _ in range(3)]
    return {"task_us": sorted(took)[1] / TASKS * 1e6}


def log() -> Any:
    from dotflow.providers import LogStructlog

    return LogStructlog(format="json", output=Path(os.devnull), capture=False)


def tracer() -> Any:
    import floor

    from dotflow.providers import TracerOpenTelemetry

    return TracerOpenTelemetry(tracer_provider=floor.provider())


def metrics() -> Any:
    from dotflow.providers import MetricsPrometheus

    return MetricsPrometheus()


CASES: dict[str, Callable[[], dict[str, float]]] = {
    "loop": a_call_in_a_loop,
    "by-hand": signals_by_hand,
    "add": adding,
    "bare": runs,
    "listener": lambda: runs(listeners=[lambda event: None]),  # noqa: ARG005 - it does nothing
    "log": lambda: runs(log=log()),
    "tracer": lambda: runs(tracer=tracer()),
    "metrics": lambda: runs(metrics=metrics()),
    "all": lambda: runs(log=log(), tracer=tracer(), metrics=metrics()),
    "cold-pool": cold_pool,
}

if __name__ == "__main__":
    report(CASES[sys.argv[1]]())
