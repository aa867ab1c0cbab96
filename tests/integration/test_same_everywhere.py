"""Wherever the attempts of a run are run, its telemetry is the same: one table over all modes and executors."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dotflow import Config, DotFlow, action
from dotflow.abc import Notify
from dotflow.errors import WorkerDied
from dotflow.events import TaskEnded
from dotflow.providers import LogStructlog, MetricsPrometheus, TracerOpenTelemetry
from support.everywhere import EXECUTORS, PROCESS_POOL
from support.otlp import OtlpEndpoint

if TYPE_CHECKING:
    from pathlib import Path

OK, ERROR, TIMEOUT, DEATH = "success", "ConnectionError", "AttemptTimeout", "WorkerDied"


class Kind(NamedTuple):
    """Some tasks that go the same way: how many, how often they may try, and what becomes of each attempt."""

    name: str
    count: int
    attempts: tuple[str, ...]
    retry: int
    timeout: float = 0


KINDS = (
    Kind("good", 22, (OK,), retry=1),
    Kind("flaky", 6, (ERROR, ERROR, OK), retry=3),
    Kind("bad", 5, (ERROR, ERROR), retry=2),
    Kind("slow", 2, (TIMEOUT,), retry=1, timeout=0.3),
    Kind("stuck", 2, (TIMEOUT, TIMEOUT), retry=2, timeout=0.3),
    Kind("unlucky", 2, (DEATH, OK), retry=2),
    Kind("doomed", 1, (DEATH, DEATH), retry=2),
)
TASKS = [(kind, kind.name if n == 0 else f"{kind.name}-{n + 1}") for kind in KINDS for n in range(kind.count)]
GROUPS = ("north", "south", "west")


def make_step(kind: Kind, coordinator_pid: int):
    """A step of this kind. A closure, so it travels by value; it knows its attempt from a file that it leaves."""
    outcomes = kind.attempts

    @action(retry=kind.retry, timeout=kind.timeout, name=kind.name)
    def step(initial_context):
        mine = initial_context.storage
        attempt = 0
        while True:
            try:
                os.close(os.open(f"{mine['directory']}/{mine['task']}.{attempt}", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                attempt += 1
        logging.getLogger("step").info("working")
        if outcomes[attempt] == ERROR:
            raise ConnectionError("no answer")
        if outcomes[attempt] == TIMEOUT:
            time.sleep(1.0)  # longer than the time it has; where it cannot be killed, it ends unseen
        if outcomes[attempt] == DEATH:
            # On a cluster a worker takes along results that have not been fetched. So it waits for the others, but not
            # for ever: Dask may have put one of them behind it, on the same worker.
            latest = time.monotonic() + 3
            while len(os.listdir(f"{mine['directory']}/ended")) < mine["alone_after"] and time.monotonic() < latest:  # noqa: PTH208
                time.sleep(0.01)
            if os.getpid() == coordinator_pid or not mine["dies_alone"]:
                raise WorkerDied("there is no worker that could die alone")
            os.kill(os.getpid(), signal.SIGKILL)
        return mine["task"]

    return step


class Told(Notify):
    """What a notifier is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []

    def hook_status_task(self, task) -> None:
        self.told.append((task.task_id, task.status.value, task.attempt))


class Seen(NamedTuple):
    """Everything that a run has told, without what differs from run to run: ids, times, processes."""

    counters: dict
    spans: Counter
    attempts: dict
    notifications: Counter
    lines: Counter


def run_all(tmp_path: Path, mode: str, executor: object, where: str | None) -> Seen:
    (tmp_path / "ended").mkdir()
    told, metrics = Told(), MetricsPrometheus()

    def note_the_end(event):
        if isinstance(event, TaskEnded):
            (tmp_path / "ended" / event.task.task_id).touch()

    with OtlpEndpoint() as endpoint:
        config = Config(
            notify=told,
            metrics=metrics,
            log=LogStructlog(format="json", output=tmp_path / "lines.jsonl", capture=True),
            tracer=TracerOpenTelemetry(endpoint=endpoint.url),
            listeners=[note_the_end],
        )
        with DotFlow(config, name="table") as workflow:
            for position, (kind, task) in enumerate(TASKS):
                mine = {
                    "task": task,
                    "directory": str(tmp_path),
                    "alone_after": position if where == "Dask" else 0,
                    "dies_alone": where != PROCESS_POOL,
                }
                group = GROUPS[0] if DEATH in kind.attempts else GROUPS[position % len(GROUPS)]
                workflow.task.add(make_step(kind, os.getpid()), initial_context=mine, group_name=group)
            run = workflow.start(mode, keep_going=True, executor=executor, max_workers=2).wait()
        assert not run.provider_errors
        assert not run.dropped
        return Seen(
            counters=counters_of(metrics),
            spans=spans_of(endpoint.spans),
            attempts={task.task_id: tuple(error.exception for error in task.errors) for task in run.tasks},
            notifications=Counter(told.told),
            lines=lines_of(tmp_path / "lines.jsonl"),
        )


def counters_of(metrics: MetricsPrometheus) -> dict:
    return {
        (
            sample.name,
            sample.labels.get("task"),
            sample.labels.get("status"),
            sample.labels.get("error_type"),
        ): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith(("_total", "_count")) or "active" in sample.name
    }


def spans_of(spans: list) -> Counter:
    by_id = {span.span_id: span for span in spans}

    def described(span) -> tuple:
        parent = by_id.get(span.parent_id)
        keys = ("task.id", "result", "attempt", "task.status")
        return (
            span.name,
            parent.name if parent else None,
            span.status,
            *(span.attributes.get(f"dotflow.{key}") for key in keys),
            span.attributes.get("error.type"),
            tuple((name, attributes["exception.type"]) for name, _, attributes in span.events),
        )

    return Counter(described(span) for span in spans)


def lines_of(path: Path) -> Counter:
    every = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in every if line.get("logger", "step") == "step"]  # a cluster in this process writes its own
    keys = ("event", "level", "task_id", "attempt", "status", "error_type")
    return Counter(tuple(line.get(key) for key in keys) for line in lines if line["event"] != "working") + Counter(
        ("working", line["task_id"], line["attempt"], "span_id" in line and "run_id" in line)
        for line in lines
        if line["event"] == "working"
    )


# --- what the contract says must come of this table


def expected() -> Seen:
    counters: Counter = Counter()
    spans: Counter = Counter()
    notifications: Counter = Counter()
    lines: Counter = Counter()
    root = "workflow table"
    lines["workflow.started", "info", None, None, "In progress", None] = 1
    lines["workflow.failed", "error", None, None, "Failed", None] = 1
    spans[root, None, 2, None, "failure", None, None, ERROR, ()] = 1
    for kind, task in TASKS:
        name, attempts = kind.name, kind.attempts
        last, tries = attempts[-1], len(attempts)
        ok = last == OK
        status = "Completed" if ok else "Failed"
        counters["dotflow_task_started_total", name, None, None] += 1
        counters[f"dotflow_task_{'completed' if ok else 'failed'}_total", name, None, None] += 1
        counters["dotflow_task_retried_total", name, None, None] += tries - 1
        counters["dotflow_task_duration_seconds_count", name, status.lower(), None] += 1
        counters["dotflow_task_queue_seconds_count", name, None, None] += 1
        notifications[task, "In progress", 1] += 1
        lines["task.started", "info", task, 1, "In progress", None] += 1
        result = {OK: "success", TIMEOUT: "timeout"}.get(last, "failure")
        own = (("exception", last),) if not ok and kind.retry == 1 else ()
        error = None if ok else last
        spans[f"task {name}", root, 0 if ok else 2, task, result, tries, status, error, own] += 1
        for number, outcome in enumerate(attempts, start=1):
            lines["working", task, number, True] += 1
            failed = outcome != OK
            if failed:
                counters["dotflow_task_errors_total", name, None, outcome] += 1
            if kind.retry > 1:
                of_attempt = {OK: "success", TIMEOUT: "timeout"}.get(outcome, "failure")
                events = (("exception", outcome),) if failed else ()
                error = outcome if failed else None
                spans["attempt", f"task {name}", 2 if failed else 0, task, of_attempt, number, None, error, events] += 1
            if number < tries:
                notifications[task, "Retry", number] += 1
                lines["task.retrying", "warning", task, number, "Retry", outcome] += 1
        notifications[task, status, tries] += 1
        ended = ("task.completed", "info") if ok else ("task.failed", "error")
        lines[(*ended, task, tries, status, None if ok else last)] += 1
    return Seen(
        counters=dict(counters),
        spans=spans,
        attempts={task: tuple(o for o in kind.attempts if o != OK) for kind, task in TASKS},
        notifications=notifications,
        lines=lines,
    )


def test_there_are_forty_tasks():
    assert len(TASKS) == 40


@pytest.mark.parametrize(("mode", "where", "make"), EXECUTORS)
def test_the_same_tasks_tell_the_same_everywhere(tmp_path, mode, where, make):
    with make() as given:
        seen = run_all(tmp_path, mode, given or where, where)
    wanted = expected()
    assert seen.attempts == wanted.attempts
    assert seen.notifications == wanted.notifications
    assert seen.lines == wanted.lines
    assert seen.spans == wanted.spans
    positive = {key: value for key, value in seen.counters.items() if value and key[1] is not None}
    assert positive == {key: value for key, value in wanted.counters.items() if value}
    of_runs = {key[0]: value for key, value in seen.counters.items() if key[1] is None and key[2] != "completed"}
    assert of_runs["dotflow_workflow_failed_total"] == of_runs["dotflow_workflow_started_total"] == 1
    active = {key: value for key, value in seen.counters.items() if "active" in key[0]}
    assert active
    assert not any(active.values())
