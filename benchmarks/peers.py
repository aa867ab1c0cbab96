"""One table: what a task, a run, an import and an installation cost, of dotflow and of what a person would pick instead.

Each candidate has an environment of its own in .bench/, made by the first benchmark; later ones download nothing. Every
round starts one fresh process a line and goes through all lines before the next round; the figures are medians.
A candidate that cannot be installed or run keeps its line, which then says why.

    python benchmarks/peers.py [--rounds 5] [--only NAME] [--json FILE]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from environments import Environment, Failed, environment, our_environment, our_wheel
from performance_page import table

if TYPE_CHECKING:
    from collections.abc import Sequence


class Line(NamedTuple):
    """A line of the table: its program, where it runs, and what a reader must know to compare it."""

    name: str
    place: str
    program: tuple[str, ...]
    note: str
    imports: str = ""


OURS = "from dotflow import DotFlow, action"
LINES = (
    Line("By hand: a call in a loop", "ours", ("ours.py", "loop"), "No engine, no signals, no handling of errors"),
    Line(
        "By hand: the same signals",
        "ours-all",
        ("ours.py", "by-hand"),
        "The span, series and log lines of `all three`, without an engine",
    ),
    Line("dotflow: adding a task", "ours", ("ours.py", "add"), "`task.add`, before the run"),
    Line("dotflow: bare", "ours", ("ours.py", "bare"), "Retries, timeouts, events; nothing is persisted", OURS),
    Line("dotflow: a listener", "ours", ("ours.py", "listener"), "A function that gets every event"),
    Line("dotflow: log", "ours", ("ours.py", "log"), "Two JSON lines a task, to the null device"),
    Line("dotflow: tracer", "ours-all", ("ours.py", "tracer"), "OpenTelemetry spans, dropped by the exporter"),
    Line("dotflow: metrics", "ours-all", ("ours.py", "metrics"), "Prometheus series with exemplars"),
    Line("dotflow: all three", "ours-all", ("ours.py", "all"), "Log, tracer and metrics together", OURS),
    Line(
        "dotflow: cold worker pool", "ours", ("ours.py", "cold-pool"), "To the first result from 2 new worker processes"
    ),
    Line(
        "Hamilton",
        "hamilton",
        ("hamilton_driver.py",),
        "Runs a graph of functions; nothing is persisted",
        "from hamilton import driver",
    ),
    Line(
        "dotflow 1.0.1 on PyPI",
        "other-dotflow",
        ("other_dotflow.py",),
        "Another project of this name; log level ERROR; nothing is persisted",
        "from dotflow import DotFlow, action",
    ),
    Line(
        "taskiq",
        "taskiq",
        ("taskiq_memory.py",),
        "Sends each task through a broker in memory, which keeps its result",
        "from taskiq import InMemoryBroker",
    ),
    Line(
        "DBOS",
        "dbos",
        ("dbos_sqlite.py",),
        "Persists every step in SQLite, to go on after a crash",
        "from dbos import DBOS",
    ),
    Line(
        "Prefect",
        "prefect",
        ("prefect_flow.py",),
        "Persists every state in SQLite, through a server that it starts; has a UI",
        "from prefect import flow, task",
    ),
    Line(
        "Dagster",
        "dagster",
        ("dagster_job.py",),
        "Checks types, keeps an event log in memory; log level ERROR; has a UI",
        "from dagster import job, op",
    ),
)
# Exact versions, so that a second benchmark measures the same; move them when you want to compare with newer ones.
PEERS = {
    "hamilton": "sf-hamilton==1.90.0",
    "other-dotflow": "dotflow==1.0.1",
    "taskiq": "taskiq==0.13.0",
    "dbos": "dbos==3.4.0",
    "prefect": "prefect==3.9.1",
    "dagster": "dagster==1.13.29",
}
OUR_EXTRAS = {"ours": "", "ours-all": "[otel,prometheus]"}
TIME_IMPORT = "import time; begin = time.perf_counter(); {}; print((time.perf_counter() - begin) * 1e3)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 100), metavar="N")
    parser.add_argument("--only", action="append", help="lines whose name has this in it; may be given again")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    lines = [line for line in LINES if not options.only or any(part in line.name for part in options.only)]
    if not lines:
        parser.error(f"--only: no line has that name; there are {', '.join(line.name for line in LINES)}")
    found = benchmark(lines, options.rounds)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def benchmark(lines: Sequence[Line], rounds: int) -> dict[str, Any]:
    """All the figures, with when and on what they were taken."""
    problems: dict[str, str] = {}
    places = installed({line.place for line in lines}, problems)
    seen: dict[str, list[dict[str, float]]] = {line.name: [] for line in lines}
    load = round(os.getloadavg()[0], 1)  # of the last minute: how much else the machine did
    for number in range(rounds):
        for line in lines:
            if line.place in places and line.name not in problems:
                tell(f"round {number + 1} of {rounds}: {line.name}")
                try:
                    seen[line.name].append(measured(line, places[line.place]))
                except Failed as error:
                    problems[line.name] = str(error)
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": machine(),
        "load_average": load,
        "python": platform.python_version(),
        "rounds": rounds,
        "rows": [row(line, places.get(line.place), seen[line.name], problems) for line in lines],
    }


def installed(wanted: set[str], problems: dict[str, str]) -> dict[str, Environment]:
    """The environments by name; of one that cannot be had, the problem."""
    made: dict[str, Environment] = {}
    wheel = our_wheel() if wanted & set(OUR_EXTRAS) else None
    for name in sorted(wanted):
        try:
            if wheel is not None and name in OUR_EXTRAS:
                made[name] = our_environment(name, OUR_EXTRAS[name], wheel)
            else:
                made[name] = environment(name, PEERS[name])
        except Failed as error:
            problems[name] = f"not installed: {error}"
    return made


def measured(line: Line, place: Environment) -> dict[str, float]:
    """The figures of one process, and of another that only imports."""
    program, *arguments = line.program
    out = place.run(str(Path(__file__).with_name("candidates") / program), *arguments)
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    if line.imports:
        found["import_ms"] = float(place.run("-c", TIME_IMPORT.format(line.imports)))
    return found


def row(
    line: Line, place: Environment | None, seen: Sequence[dict[str, float]], problems: dict[str, str]
) -> dict[str, Any]:
    """One line of the table as data; a figure is the median of the rounds."""
    made: dict[str, Any] = {"name": line.name, "note": line.note}
    problem = problems.get(line.name) or problems.get(line.place)
    if problem:
        return {**made, "problem": problem}
    made |= {name: float(f"{statistics.median(one[name] for one in seen):.4g}") for name in seen[0]}
    if place is not None:
        made |= {"package": place.package, "version": place.version}
        if line.imports:
            made["installed_mb"] = round(place.megabytes, 1)
    return made


def machine() -> str:
    """What the figures depend on most."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        text.partition(":")[2].strip()
        for text in (cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ())
        if text.startswith("model name")
    ]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}, {platform.system()}"


def tell(text: str) -> None:
    """Progress, for whoever waits: on stderr, so that stdout is the table alone."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
