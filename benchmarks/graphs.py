"""What graphs cost: dotflow beside Hamilton and `concurrent.futures` by hand, in one run and in turn; and what must stay flat.

A list and a chain of tasks that do nothing, and a fan-out of 10,000 items that are joined again. Then many groups that
fail, of which each task must cost the same however many there are, and a value of 200,000 small dicts for three consumers:
what their copies cost, what `readonly` saves, and how often the value is pickled where they run in processes.

Every figure is taken in a fresh process; one round takes all of them in turn, and the table shows medians.

    python benchmarks/graphs.py [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from environments import Environment, Failed, environment, our_environment, our_wheel
from peers import PEERS, machine, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

CANDIDATES = Path(__file__).with_name("candidates")
LONG_SECONDS = 20
OURS, HAND, HAMILTON = "dotflow", "by hand", "Hamilton"
PROGRAMS = {OURS: "graph_ours.py", HAND: "graph_futures.py", HAMILTON: "graph_hamilton.py"}


class Case(NamedTuple):
    """A row: its shape, how many there are, and who can be asked for it."""

    name: str
    shape: str
    count: int
    rivals: tuple[str, ...] = (OURS,)


ALL = (OURS, HAND, HAMILTON)
COMPARED = (
    Case("list of 1,000", "list", 1_000, ALL),
    Case("chain of 1,000 by after", "chain", 1_000, ALL),
    Case("10,000 items and join, inline", "fan-inline", 10_000, ALL),
    Case("10,000 items and join, 2 threads", "fan-threads", 10_000, ALL),
)
GROWING = tuple(
    Case(f"{count:,} {word}", shape, count)
    for word, shape, counts in (
        ("tasks, a list", "list", (10_000, 100_000)),
        ("tasks, a chain by after", "chain", (10_000, 100_000)),
        ("groups, each with a failure", "failing-groups", (1_000, 4_000, 16_000)),
    )
    for count in counts
)
COPIED = (
    Case("inline", "copies-inline", 0),
    Case("inline, readonly", "readonly-inline", 0),
    Case("processes", "copies-processes", 0),
    Case("processes, readonly", "readonly-processes", 0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 100), metavar="N")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    found = benchmark((*COMPARED, *GROWING, *COPIED), options.rounds)
    print(tables(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def benchmark(cases: Sequence[Case], rounds: int) -> dict[str, Any]:
    """All figures: of each case and rival the medians, or the problem."""
    ours = our_environment("ours", "", our_wheel())
    places: dict[str, Environment] = {OURS: ours, HAND: ours}
    problems: dict[str, str] = {}
    try:
        places[HAMILTON] = environment("hamilton", PEERS["hamilton"])
    except Failed as error:
        problems[HAMILTON] = f"not installed: {error}"
    seen: dict[tuple[str, str], list[dict[str, float]]] = {}
    failed: dict[tuple[str, str], str] = {}
    load = round(os.getloadavg()[0], 1)  # of the last minute: how much else the machine did
    for number in range(rounds):
        for case in cases:
            for rival in case.rivals:
                key = case.name, rival
                if rival in problems or key in failed or is_long(case, seen.get(key)):
                    continue
                tell(f"round {number + 1} of {rounds}: {case.name}, {rival}")
                try:
                    seen.setdefault(key, []).append(measured(case, rival, places[rival]))
                except Failed as error:
                    failed[key] = str(error)
    rows = [
        row(case, seen, {**{(case.name, rival): why for rival, why in problems.items()}, **failed}) for case in cases
    ]
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": machine(),
        "python": platform.python_version(),
        "load_average": load,
        "rounds": rounds,
        "rows": rows,
    }


def is_long(case: Case, seen: Sequence[dict[str, float]] | None) -> bool:
    """Whether one round has taken so long that it is enough: noise of a second does not change what it says."""
    return bool(seen) and seen[0]["us"] * case.count > LONG_SECONDS * 1e6


def measured(case: Case, rival: str, place: Environment) -> dict[str, float]:
    out = place.run(str(CANDIDATES / PROGRAMS[rival]), case.shape, str(case.count))
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def row(
    case: Case, seen: dict[tuple[str, str], list[dict[str, float]]], problems: dict[tuple[str, str], str]
) -> dict[str, Any]:
    """One case as data; a figure is the median of the rounds."""
    made: dict[str, Any] = {"name": case.name}
    for rival in case.rivals:
        key = case.name, rival
        if key in problems or key not in seen:
            made[rival] = {"problem": problems.get(key, "not measured")}
        else:
            made[rival] = {name: statistics.median(one[name] for one in seen[key]) for name in seen[key][0]}
    return made


def tables(found: dict[str, Any]) -> str:
    """The figures as Markdown tables."""
    rows = {one["name"]: one for one in found["rows"]}
    compared = [
        [case.name, figure(rows[case.name][OURS])]
        + [part for rival in (HAND, HAMILTON) for part in beside(rows[case.name][OURS], rows[case.name][rival])]
        for case in COMPARED
    ]
    heads = ["", "dotflow, µs", "by hand, µs", "dotflow / by hand", "Hamilton, µs", "dotflow / Hamilton"]
    copied = [
        [case.name, f"{rows[case.name][OURS]['us'] / 1e3:.1f}", f"{rows[case.name][OURS]['pickles']:.0f}"]
        if "problem" not in rows[case.name][OURS]
        else [case.name, "NOT MEASURED: " + rows[case.name][OURS]["problem"], ""]
        for case in COPIED
    ]
    when = (
        f"{found['date']}, Python {found['python']}, {found['machine']}, load average before "
        f"{found['load_average']:.1f}; medians of {found['rounds']} rounds."
    )
    return "\n\n".join(
        (
            when,
            "What one more task or item costs:\n\n" + table(heads, compared),
            "What must not grow:\n\n"
            + table(["", "µs a task"], [[case.name, figure(rows[case.name][OURS])] for case in GROWING]),
            "200,000 small dicts for 3 consumers:\n\n"
            + table(["", "ms a consumer, making it included", "pickled in the coordinator, times"], copied),
        )
    )


def figure(found: dict[str, Any]) -> str:
    return f"NOT MEASURED: {found['problem']}" if "problem" in found else f"{found['us']:,.1f}"


def beside(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """What the other one takes, and how many times that dotflow does."""
    if "problem" in ours or "problem" in theirs:
        return [figure(theirs), ""]
    return [figure(theirs), f"{ours['us'] / theirs['us']:.2g}"]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(heads), ["---", *["---:"] * (len(heads) - 1)], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


if __name__ == "__main__":
    main()
