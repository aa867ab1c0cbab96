"""The table of docs/performance.md, made from benchmarks/results.json.

python benchmarks/performance_page.py     writes the section again (make bench-docs measures first)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN = "<!-- The table is made from benchmarks/results.json: `make bench-docs` measures and writes it again. -->\n"
END = "<!-- End of the table. -->\n"
# Of each figure: its heading, and how it is written.
COLUMNS = (
    ("task_us", "µs a task"),
    ("empty_run_ms", "empty run, ms"),
    ("first_run_ms", "first run, ms"),
    ("import_ms", "import, ms"),
    ("installed_mb", "installed, MB"),
)


def table(found: dict[str, Any]) -> str:
    """The figures as a Markdown table, with one line above it that says when and where."""
    heads = ["", *(head for _, head in COLUMNS), "what it does"]
    rows = [heads, ["---", *["---:"] * len(COLUMNS), "---"], *(cells(row) for row in found["rows"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    when = (
        f"{found['date']}, Python {found['python']}, {found['machine']}, load average before {found['load_average']:.1f}; "
        f"medians of {found['rounds']} rounds."
    )
    return "\n".join([when, "", *lines]) + "\n"


def cells(row: dict[str, Any]) -> list[str]:
    """One line; of what could not be measured, the reason stands where the figures would."""
    name = row["name"]
    if row.get("version") and row["version"] not in name and not name.startswith(("dotflow", "By hand")):
        name = f"{name} {row['version']}"
    figures = [written(row[key]) if key in row else "" for key, _ in COLUMNS]
    return [name, *figures, f"NOT MEASURED: {row['problem']}" if "problem" in row else row["note"]]


def written(value: float) -> str:
    """Two digits that count, and no more than a reader needs: 0.012, 0.5, 7.8, 58, 4,612."""
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def section(page: str) -> str:
    """What stands between the two marks of the page."""
    return page.partition(BEGIN)[2].partition(END)[0]


def renewed(page: str, found: dict[str, Any]) -> str:
    """The page with the table of these figures. ValueError if the marks are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name}: the two marks of the table are missing: {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{table(found)}{end}{after}"


def main() -> None:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
