"""A graph tells the same wherever its attempts run: events, spans with their links, counts, log lines and results.

It has a diamond, a fan-out over a result, one that goes item by item with it, joins, a skip, failures, every `when` and a family.
What must come of it is written down here as a table, by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dotflow import Config, DotFlow, Skip, action, current
from dotflow.events import TaskEvent
from dotflow.providers import LogStructlog, MetricsPrometheus, TracerOpenTelemetry
from support.everywhere import EXECUTORS
from support.otlp import OtlpEndpoint

if TYPE_CHECKING:
    from pathlib import Path

OK, FAILED, SKIP, UPSTREAM = "success", "failure", "skip", "upstream_failed"
RAN = ("TaskQueued", "TaskStarted", "AttemptStarted", "AttemptEnded", "TaskEnded")
MAPPED = ("TaskQueued", "TaskStarted", "TaskEnded")


class Row(NamedTuple):
    """What must become of a task or an item: its parents, how it ends, its value, and how often it is tried."""

    parents: tuple[str, ...]
    result: str
    value: object = None
    attempts: int = 1
    is_mapped: bool = False


ROWS = {
    "extract": Row((), OK, ["a", "b", "bad", "d"]),
    "left": Row(("extract",), OK, 4),
    "right": Row(("extract",), OK, "d"),
    "diamond": Row(("left", "right"), OK, (4, "d")),
    "convert": Row(("extract",), FAILED, ["A", "B", None, "D"], is_mapped=True),
    "convert[a]": Row((), OK, "A"),
    "convert[b]": Row((), OK, "B"),
    "convert[bad]": Row((), FAILED, attempts=2),
    "convert[d]": Row((), OK, "D"),
    "polish": Row(("convert", "left"), FAILED, ["A!4", "B!4", None, "D!4"], is_mapped=True),
    "polish[a]": Row(("convert[a]",), OK, "A!4"),
    "polish[b]": Row(("convert[b]",), OK, "B!4"),
    "polish[bad]": Row(("convert[bad]",), UPSTREAM),
    "polish[d]": Row(("convert[d]",), OK, "D!4"),
    "join": Row(("polish",), UPSTREAM),
    "collect": Row(("polish",), OK, ["A!4", "B!4", None, "D!4"]),
    "gate": Row(("extract",), SKIP),
    "behind_the_gate": Row(("gate",), SKIP),
    "either": Row(("gate", "diamond"), OK, (4, "d")),
    "alert": Row(("convert", "left"), OK, {"convert": ("failure", [2]), "left": ("success", [])}),
    "quiet": Row(("diamond",), SKIP),
    "load[eu]": Row(("extract",), OK, "eu4"),
    "load[us]": Row(("extract",), OK, "us4"),
    "total": Row(("load[eu]", "load[us]"), OK, ["eu4", "us4"]),
    "shaky": Row(("total",), OK, 2, attempts=2),
    "clean_up": Row(("join", "shaky"), OK, "gone"),
}
NOT_COUNTED = {task_id for task_id, row in ROWS.items() if row.is_mapped}


def name_of(task_id: str) -> str:
    return task_id.partition("[")[0]


def add_tasks(workflow: DotFlow, directory: Path) -> None:
    @action
    def extract():
        return ["a", "b", "bad", "d"]

    @action
    def left(rows):
        rows.append("what the others do not see")
        return len(rows) - 1

    @action
    def right(rows):
        return rows[-1]

    @action
    def diamond(left, right):
        return left, right

    @action(retry=2)
    def convert(name):
        if name == "bad":
            raise ValueError("cannot be read")
        return name.upper()

    @action
    def polish(text, count):
        return f"{text}!{count}"

    @action
    def collect(rows):
        return rows

    @action
    def gate(rows):
        raise Skip(f"no new data among {len(rows)}")

    @action
    def either(diamond, gate=None):
        return diamond if gate is None else gate

    @action
    def alert():
        parents = current().parents
        return {
            name: (str(end.result), [item.errors[-1].attempt for item in end.items if item.errors])
            for name, end in parents.items()
        }

    @action
    def load(rows, region):
        return f"{region}{len(rows)}"

    @action(retry=2)
    def shaky(values, seen):
        del values
        attempt = current().attempt
        with open(f"{seen}/{attempt}", "x"):  # noqa: PTH123 - each attempt once, wherever it runs
            pass
        if attempt == 1:
            raise ConnectionError("once")
        return attempt

    @action
    def clean_up():
        return "gone"

    add = workflow.task.add
    add(extract, after=[])
    add([left], after=extract)
    add(right, after=extract)
    add(diamond, after=[left, right])
    add(convert, after=extract, each=True, key=str)
    add(polish, after={"text": convert, "count": left}, each="text")
    add(collect, name="join", after=polish)
    add(collect, after=polish, when="always")
    add(gate, after=extract)
    add(collect, name="behind_the_gate", after=gate)
    add(either, after=[gate, diamond], when="any")
    add(alert, after=[convert, left], when="failure")
    add(clean_up, name="quiet", after=diamond, when="failure")
    for region in ("eu", "us"):
        add(load, after=extract, key=region, params={"region": region})
    add(collect, name="total", after="load")
    add(shaky, after="total", params={"seen": str(directory)})
    add(clean_up, after=["join", shaky], when="always")


class Seen(NamedTuple):
    """Everything that a run has told, without what differs from run to run."""

    results: dict
    events: dict
    counters: dict
    spans: Counter
    lines: Counter


def run_graph(tmp_path: Path, mode: str, executor: object) -> Seen:
    events: dict[str, list[str]] = {}

    def listen(event):
        if isinstance(event, TaskEvent):
            events.setdefault(event.task.task_id, []).append(type(event).__name__)

    metrics, log_file, attempts = MetricsPrometheus(), tmp_path / "lines.jsonl", tmp_path / "attempts"
    attempts.mkdir()
    with OtlpEndpoint() as endpoint:
        config = Config(
            metrics=metrics,
            log=LogStructlog(format="json", output=log_file),
            tracer=TracerOpenTelemetry(endpoint=endpoint.url),
            listeners=[listen],
        )
        with DotFlow(config, name="graph") as workflow:
            add_tasks(workflow, attempts)
            run = workflow.start(mode, keep_going=True, executor=executor, max_workers=2).wait(120)
        assert not run.provider_errors
        assert not run.dropped
        tasks = [each for task in run.tasks for each in (task, *(task.items or ()))]
        return Seen(
            results={task.task_id: (str(task.result), task.current_context.storage) for task in tasks},
            events=events,
            counters=counters_of(metrics),
            spans=spans_of(endpoint.spans),
            lines=lines_of(log_file),
        )


def counters_of(metrics: MetricsPrometheus) -> dict:
    return {
        (sample.name, sample.labels["task"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("dotflow_task_") and sample.name.endswith("_total") and sample.value
        if "error_type" not in sample.labels
    }


def spans_of(spans: list) -> Counter:
    by_id = {span.span_id: span for span in spans}

    def task_of(span_id: str) -> str | None:
        found = by_id.get(span_id)
        return found.attributes.get("dotflow.task.id", found.name) if found else None

    return Counter(
        (
            span.name,
            task_of(span.span_id),
            task_of(span.parent_id),
            tuple(sorted(str(task_of(linked)) for _, linked in span.links)),
            tuple(span.attributes.get("dotflow.task.parents", ())),
            span.attributes["dotflow.result"],
            span.status,
        )
        for span in spans
    )


def lines_of(path: Path) -> Counter:
    every = [json.loads(line) for line in path.read_text().splitlines()]
    keys = ("event", "task_id", "attempt", "result")
    return Counter(tuple(line.get(key) for key in keys) for line in every if "task_id" in line)


# --- what the table says must come of it


def expected() -> Seen:
    events, lines = {}, Counter()
    counters: Counter = Counter()
    spans: Counter = Counter({("workflow graph", "workflow graph", None, (), (), FAILED, 2): 1})
    for task_id, row in ROWS.items():
        name = name_of(task_id)
        ran = row.result in (OK, FAILED) or task_id == "gate"
        parent = name if task_id.startswith(("convert[", "polish[")) else "workflow graph"
        status = 2 if row.result == FAILED else 0
        linked = tuple(sorted(row.parents))
        spans[f"task {name}", task_id, parent, linked, row.parents, row.result, status] += 1
        if not ran:
            events[task_id] = ["TaskSkipped"]
            lines["task.skipped", task_id, 0, row.result] += 1
            counters["dotflow_task_skipped_total", name] += 1
            continue
        ended = "failed" if row.result == FAILED else "completed"
        first = 0 if row.is_mapped else 1
        lines["task.started", task_id, first, None] += 1
        lines[
            f"task.{ended}", task_id, first if row.is_mapped else row.attempts, SKIP if task_id == "gate" else None
        ] += 1
        if row.is_mapped:
            events[task_id] = list(MAPPED)
            continue
        between = ["AttemptStarted", "AttemptEnded", "TaskRetrying"] * (row.attempts - 1)
        events[task_id] = [*RAN[:2], *between, *RAN[2:]]
        counters["dotflow_task_started_total", name] += 1
        counters[f"dotflow_task_{ended}_total", name] += 1
        if row.attempts > 1:
            counters["dotflow_task_retried_total", name] += row.attempts - 1
            lines["task.retrying", task_id, 1, None] += row.attempts - 1
        if name in ("convert", "shaky"):  # steps that may have more than one attempt have a span for each
            for attempt in range(1, row.attempts + 1):
                ok = attempt == row.attempts and row.result == OK
                spans["attempt", task_id, task_id, (), (), OK if ok else FAILED, 0 if ok else 2] += 1
    results = {task_id: (row.result, row.value) for task_id, row in ROWS.items()}
    return Seen(results, events, dict(counters), spans, lines)


@pytest.mark.parametrize(("mode", "where", "make"), EXECUTORS)
def test_a_graph_tells_the_same_everywhere(tmp_path, mode, where, make):
    with make() as given:
        seen = run_graph(tmp_path, mode, given or where)
    wanted = expected()
    assert seen.results == wanted.results
    assert seen.events == wanted.events
    assert seen.lines == wanted.lines
    assert seen.counters == wanted.counters
    assert seen.spans == wanted.spans
