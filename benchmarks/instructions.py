"""A guard against slow changes that counts instructions, not seconds, so that a busy machine cannot turn it red.

One process under callgrind (Debian: apt-get install valgrind) runs workflows of two lengths. The difference between
them, divided by the tasks between them, is what one more task costs. The same tree gives the same figure within a
few instructions. A figure more than 3 % away from benchmarks/instructions.json fails, in both directions: a gain
that is not written down hides the next loss.

    python benchmarks/instructions.py                   compare with the baseline (make bench-guard)
    python benchmarks/instructions.py --move-baseline   write the baseline for this Python anew (make bench-baseline)
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Case = Callable[[int], Callable[[], object]]
    """For so many tasks, what is counted; all that comes before is done."""
    Baseline = dict[str, Any]

BASELINE = Path(__file__).with_name("instructions.json")
SHORT, LONG = 200, 1_200
ALLOWED_PERCENT = 3
# Python runs `a @ b` through this function, and nothing else here does: callgrind counts only while it is entered.
WINDOW = "PyNumber_MatrixMultiply"
# What the three signals are made with: a new version of one of these may move the last figure by itself.
PACKAGES = ("opentelemetry-sdk", "orjson", "prometheus-client", "structlog")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--move-baseline", action="store_true", help="write what is counted now as the baseline")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_cases()
        return 0
    stored = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    excuse = "" if options.move_baseline else why_not(stored, build())
    if shutil.which("valgrind") is None:
        excuse = "valgrind is not installed (on Debian: apt-get install valgrind)"
    if excuse:
        print(f"instructions a task: NOT CHECKED: {excuse}")
        return int(options.move_baseline)
    counted = count()
    if options.move_baseline:
        stored[minor_version()] = {"build": build(), "packages": versions(), "instructions_a_task": counted}
        BASELINE.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print("\n".join(f"{name:<20} {value:>9,} instructions a task" for name, value in counted.items()))
        return 0
    lines, red = compared(stored[minor_version()], counted, versions())
    print("\n".join(lines))
    return int(red)


# --- what is counted, inside valgrind


class Window:
    """Calls what it holds while callgrind counts."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def __matmul__(self, other: object) -> object:
        return self._work()


def cases() -> dict[str, Case]:
    """Of each figure, what makes it; imported here, because only the process under valgrind needs it."""
    from floor import noop, provider

    from dotflow import Config, DotFlow
    from dotflow.providers import LogStructlog, MetricsPrometheus, TracerOpenTelemetry

    def adding(tasks: int) -> Callable[[], object]:
        workflow = DotFlow(name="bench")

        def add() -> None:
            for _ in range(tasks):
                workflow.task.add(noop, name="noop")

        return add

    def running(tasks: int, config: Config | None = None) -> Callable[[], object]:
        workflow = DotFlow(config or Config(), name="bench")
        for _ in range(tasks):
            workflow.task.add(noop, name="noop")
        return lambda: workflow.start().raise_for_status()

    def observed(tasks: int) -> Callable[[], object]:
        log = LogStructlog(format="json", output=Path(os.devnull), capture=False)
        tracer = TracerOpenTelemetry(tracer_provider=provider())
        return running(tasks, Config(log=log, tracer=tracer, metrics=MetricsPrometheus()))

    return {"adding a task": adding, "bare": running, "all three signals": observed}


def run_cases() -> None:
    for case in cases().values():
        case(SHORT)()  # what happens once in a process is over when the counting begins
        for tasks in (SHORT, LONG):
            window = Window(case(tasks))
            gc.collect()
            gc.disable()  # one collection of everything more or less, as chance has it, is 2 % of the bare tasks
            window @ None
            gc.enable()


# --- counting, outside of it


def count() -> dict[str, int]:
    """Instructions that one more task costs, by case. RuntimeError with valgrind's last words if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counted"
        command = ["valgrind", "--tool=callgrind", f"--toggle-collect={WINDOW}", f"--dump-after={WINDOW}"]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(  # noqa: S603 - nothing in the command is from outside
            [*command, f"--callgrind-out-file={out}", sys.executable, __file__, "--inside"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        dumps = sorted(out.parent.glob("counted.*"), key=lambda path: int(path.suffix[1:]))
        names = list(cases())
        if done.returncode or len(dumps) != 2 * len(names):
            raise RuntimeError(
                f"callgrind made {len(dumps)} of {2 * len(names)} counts; it said:\n{done.stderr[-2000:]}"
            )
        totals = [total(dump.read_text(encoding="utf-8")) for dump in dumps]
    pairs = zip(names, totals[::2], totals[1::2], strict=True)
    return {name: round((long - short) / (LONG - SHORT)) for name, short, long in pairs}


def total(dump: str) -> int:
    """The count of one file of callgrind's."""
    return int(next(line for line in dump.splitlines() if line.startswith("totals:")).split()[1])


# --- comparing


def minor_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def build() -> dict[str, str]:
    """What makes one Python need other instructions than another for the same work."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return {
        "python": platform.python_version(),
        "compiler": platform.python_compiler(),
        "optimized": "yes" if "--enable-optimizations" in arguments else "no",
        "machine": platform.machine(),
    }


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def why_not(stored: Mapping[str, Baseline], here: Mapping[str, str]) -> str:
    """Why this Python cannot be compared with what is stored, or nothing."""
    if minor_version() not in stored:
        return f"{BASELINE.name} has no entry for Python {minor_version()} (make bench-baseline writes one)"
    there = stored[minor_version()]["build"]
    other = [f"{name} {there.get(name)}, here {value}" for name, value in here.items() if there.get(name) != value]
    return f"the baseline is of another build: {'; '.join(other)} (make bench-baseline writes one)" if other else ""


def compared(baseline: Baseline, counted: Mapping[str, int], packages: Mapping[str, str]) -> tuple[list[str], bool]:
    """What to print, and whether a figure is further from its baseline than allowed."""
    lines, red = ["instructions a task, and the change since the baseline"], False
    for name, before in baseline["instructions_a_task"].items():
        change = counted[name] - before
        bad = abs(change) * 100 > ALLOWED_PERCENT * before
        red = red or bad
        lines.append(f"  {name:<20} {counted[name]:>9,} {change / before:+8.2%}{'  RED' if bad else ''}")
    if red:
        lines.append(f"At most {ALLOWED_PERCENT} % either way is allowed. Find what costs more, or, if the change is")
        lines.append(f"wanted, run `make bench-baseline` and commit benchmarks/{BASELINE.name}.")
        moved = {name: f"{old} -> {packages.get(name)}" for name, old in baseline["packages"].items()}
        moved = {name: text for name, text in moved.items() if packages.get(name) != baseline["packages"][name]}
        if moved:
            lines.append(f"Versions that differ from the baseline's: {moved}")
    return lines, red


if __name__ == "__main__":
    sys.exit(main())
