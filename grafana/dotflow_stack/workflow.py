"""dotflow / Workflow: one workflow, task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_stack import promql, variables
from dotflow_stack.board import SHARED, board, link, row
from dotflow_stack.jaeger import search_url
from dotflow_stack.panels import (
    COUNT,
    OK_OR_FAILED,
    SECONDS,
    durations,
    heat,
    lines,
    number,
    query,
    sized,
    stacked,
    valued,
)
from dotflow_stack.promql import JOB, RANGE, TASK, WORKFLOW, gauge, increase, last_run, mean, quantile, spent
from dotflow_stack.rules import LAST_SUCCESS
from dotflow_stack.runs import run_duration, running, success_ratio

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dotflow_stack.board import Row

__all__ = ["workflow"]

_BY_TASK = (names.TASK,)


def workflow() -> Dashboard:
    """The dashboard."""
    return board(
        "dotflow-workflow",
        "Workflow",
        "One workflow, task by task. A diamond leads to the trace of a run, or of a task in it.",
        [
            variables.data_source(),
            variables.jaeger(),
            variables.job(),
            variables.instance(),
            variables.workflow(all_of_them=False),
            variables.task(),
            variables.service(hidden=True),
        ],
        [_now(), _runs(), _tasks(), _trouble(), _table()],
        [
            link("Its traces", f"/d/dotflow-traces?{SHARED}&${{workflow:queryparam}}"),
            link("Its runs in Jaeger", search_url(), new_tab=True),
            link("Its failed runs in Jaeger", search_url(failed=True), new_tab=True),
        ],
        annotated=f"{JOB}, {WORKFLOW}",
    )


def _now() -> Row:
    last = number(
        "Last run",
        "How the latest run ended.",
        f"min({last_run()})",
        "short",
        ((None, "red"), (1, "green")),
    )
    panels = [
        last.mappings([OK_OR_FAILED]),
        number(
            "Since last success",
            "If it never succeeded: since it is known.",
            f"time() - max({LAST_SUCCESS}{{{JOB}, {WORKFLOW}}})",
            SECONDS,
        ),
        running(),
        success_ratio(),
        run_duration(),
        number(
            "Interval",
            "From tick to tick of its schedule.",
            f"max({gauge(names.WORKFLOW_EXPECTED_INTERVAL)})",
            SECONDS,
        ),
    ]
    return row("Now", *(sized(panel, 4, 4) for panel in panels))


def _runs() -> Row:
    return row(
        "Runs",
        heat(
            "Run durations",
            "How many runs took how long. A diamond is a run, and leads to its trace.",
            promql.buckets(names.WORKFLOW_DURATION),
        ),
        stacked(
            "Runs by status",
            "A diamond is a failed run, and leads to its trace.",
            "short",
            query(increase(names.WORKFLOW_COMPLETED), "completed"),
            query(increase(names.WORKFLOW_FAILED), "failed", "B", exemplars=True),
        ),
    )


def _tasks() -> Row:
    slowest = quantile(0.95, names.TASK_DURATION, _BY_TASK, more=TASK)
    return row(
        "Tasks",
        durations(
            "Task duration, p95",
            "All attempts and the waits between them included. A diamond leads to the task in its trace.",
            query(slowest, "{{task}}", exemplars=True),
        ),
        stacked(
            "Where the time goes",
            "Seconds spent in each task.",
            SECONDS,
            query(spent(names.TASK_DURATION, _BY_TASK), "{{task}}"),
        ),
        lines(
            "Queue wait, p95",
            "Time from when a task was ready to its start.",
            SECONDS,
            query(quantile(0.95, names.TASK_QUEUE, _BY_TASK, more=TASK), "{{task}}"),
        ),
        lines(
            "Running tasks",
            "Tasks going on now.",
            "short",
            query(f"sum by (task) ({gauge(names.TASK_ACTIVE, TASK)})", "{{task}}"),
        ),
    )


def _trouble() -> Row:
    panels = [
        stacked(
            "Retries by task",
            "Retries made after a failed attempt. A diamond leads to the attempt in its trace.",
            "short",
            query(increase(names.TASK_RETRIED, _BY_TASK, more=TASK), "{{task}}", exemplars=True),
        ),
        stacked(
            "Errors by type",
            "Failed attempts, also those that a retry has cured.",
            "short",
            query(
                increase(names.TASK_ERRORS, (names.TASK, names.ERROR_TYPE), more=TASK),
                "{{task}}: {{error_type}}",
                exemplars=True,
            ),
        ),
        lines(
            "Recorded by steps",
            "What the steps measured themselves.",
            "short",
            query(f"max by (task, name) ({gauge(names.TASK_RECORDED, TASK)})", "{{task}}: {{name}}"),
        ),
    ]
    return row("Trouble", *(sized(panel, 8, 8) for panel in panels))


def _table() -> Row:
    counted = {
        "Started": names.TASK_STARTED,
        "Completed": names.TASK_COMPLETED,
        "Failed": names.TASK_FAILED,
        "Retries": names.TASK_RETRIED,
        "Restored": names.TASK_RESTORED,
        "Skipped": names.TASK_SKIPPED,
    }
    columns = {title: (COUNT, increase(metric, _BY_TASK, window=RANGE)) for title, metric in counted.items()}
    columns["Mean"] = (SECONDS, mean(names.TASK_DURATION, _BY_TASK, window=RANGE))
    return row("Every task", valued("Tasks", "All tasks, in the time shown.", names.TASK, columns))
