"""What a collector that is down costs a run: nothing while it goes on, and a bounded wait at its end.

Each measurement is a program of its own, as a user would start it: a workflow of steps that sleep and open spans of
their own, one after another and in two worker processes. The bound that is promised for a run is 1.1 times what it takes
without telemetry, and 2.5 s. A program makes two runs, as a collector may hold up the second by what is left of the first.

    python benchmarks/collector_down.py [--rounds 3] [--tasks 20] [--seconds 0.05]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace

from dotflow import Config, Context, DotFlow, action
from dotflow.providers import LogOpenTelemetry, MetricsOpenTelemetry, TracerOpenTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

MODES: dict[str, dict[str, Any]] = {
    "sequential": {"mode": "sequential"},
    "two workers": {"mode": "parallel", "max_workers": 2},
}
SPANS_A_STEP = 5
NO_TELEMETRY, HEALTHY = "no telemetry", "healthy"


class Times(NamedTuple):
    """Seconds: of `start`, of all its steps together, and of the whole program."""

    run: float
    steps: float
    program: float


@action(name="work")
def work(initial_context: Context) -> None:
    tracer = trace.get_tracer("the step's own")
    for _ in range(SPANS_A_STEP):
        with tracer.start_as_current_span("part"):
            time.sleep(initial_context.storage / SPANS_A_STEP)


def signals(url: str) -> dict[str, Any]:
    """All three of them, to the same collector."""
    return {
        "tracer": TracerOpenTelemetry(endpoint=url, set_global=True),
        "metrics": MetricsOpenTelemetry(endpoint=url),
        "log": LogOpenTelemetry(endpoint=url),
    }


def program(url: str, mode: str, tasks: int, seconds: float) -> None:
    """Two runs, in this process; prints what the slower one took, and the steps of the second."""
    with DotFlow(Config(**signals(url) if url else {}), name="bench") as workflow:
        for _ in range(tasks):
            workflow.task.add(work, initial_context=seconds)
        took = []
        for _ in range(2):
            begin = time.perf_counter()
            run = workflow.start(**MODES[mode]).raise_for_status()
            took.append(time.perf_counter() - begin)
    print(json.dumps([max(took), sum(task.outcome.duration_ns for task in run.tasks if task.outcome) / 1e9]))


def measured(url: str, mode: str, tasks: int, seconds: float) -> Times:
    command = [sys.executable, __file__, "--program", json.dumps([url, mode, tasks, seconds])]
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)  # noqa: S603
    took = time.perf_counter() - begin
    return Times(*json.loads(done.stdout), took)


@contextmanager
def collector(kind: str) -> Iterator[str]:
    """The URL of a collector of that kind; an empty one for no telemetry."""
    from support.otlp import OtlpEndpoint, down

    if kind == NO_TELEMETRY:
        yield ""
    elif kind == HEALTHY:
        with OtlpEndpoint() as endpoint:
            yield endpoint.url
    else:
        with down(kind) as url:
            yield url


def table(mode: str, rounds: int, tasks: int, seconds: float) -> bool:
    """Print the figures of a mode; whether the bound was kept by the slowest run of each kind."""
    from support.otlp import DOWN

    kinds = (NO_TELEMETRY, HEALTHY, *DOWN)
    seen: dict[str, list[Times]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            with collector(kind) as url:
                seen[kind].append(measured(url, mode, tasks, seconds))
    bound = 1.1 * statistics.median(times.run for times in seen[NO_TELEMETRY]) + 2.5
    print(f"{mode}: seconds, median of {rounds} rounds of {tasks} tasks of {seconds * 1000:g} ms; bound {bound:.2f} s")
    print(f"  {'collector':<26} {'run':>6} {'slowest':>8} {'steps':>7} {'program':>8}  within the bound")
    for kind, times in seen.items():
        run, steps, whole = (statistics.median(column) for column in zip(*times, strict=True))
        slowest = max(each.run for each in times)
        print(
            f"  {kind:<26} {run:6.2f} {slowest:8.2f} {steps:7.2f} {whole:8.2f}  {'yes' if slowest <= bound else 'NO'}"
        )
    return all(each.run <= bound for times in seen.values() for each in times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a step")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.program:
        program(*json.loads(options.program))
        return 0
    kept = [table(mode, options.rounds, options.tasks, options.seconds) for mode in MODES]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
