"""dotflow / Overview: is it running, did it succeed, how late is it, what failed, and the way to the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_stack import promql, variables
from dotflow_stack.board import VIEW, board, row
from dotflow_stack.panels import (
    COUNT,
    GREEN_TO_RED,
    SECONDS,
    durations,
    heat,
    lines,
    number,
    query,
    sized,
    stacked,
    timeline,
    valued,
)
from dotflow_stack.promql import JOB, RANGE, WORKFLOW, gauge, increase, last_run, observed, quantile
from dotflow_stack.rules import FAILURE_RATIO, LAST_SUCCESS
from dotflow_stack.runs import run_duration, running, success_ratio

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dotflow_stack.board import Row

__all__ = ["overview"]

_BY_WORKFLOW = (names.WORKFLOW,)


def overview() -> Dashboard:
    """The dashboard."""
    return board(
        "dotflow-overview",
        "Overview",
        "All workflows: is it running, did it succeed, how late is it, what failed. A diamond leads to the trace.",
        [
            variables.data_source(),
            variables.jaeger(),
            variables.job(),
            variables.instance(),
            variables.workflow(all_of_them=True),
        ],
        [_now(), _workflows(), _failures(), _time(), _waiting(), _itself()],
        annotated=JOB,
    )


def _now() -> Row:
    failing = f"sum(min by (job, workflow) ({last_run()}) == bool 0)"
    return row(
        "Now",
        number(
            "Alerts firing",
            "Alerts of dotflow that fire, those for information left out.",
            f'count(ALERTS{{alertstate="firing", severity!="info", {JOB}}}) or vector(0)',
            COUNT,
            GREEN_TO_RED,
        ),
        number(
            "Workflows failing",
            "Workflows whose latest run failed.",
            failing,
            COUNT,
            GREEN_TO_RED,
        ),
        running(),
        number(
            "Most overdue",
            "The longest time since a success, in intervals of its schedule: above 2, WorkflowNoRecentSuccess fires.",
            f"max({_overdue()})",
            "short",
            ((None, "green"), (1.5, "yellow"), (2, "red")),
        ),
        success_ratio(),
        number(
            "Finished runs",
            "Runs that ended in the time shown.",
            observed(names.WORKFLOW_DURATION, window=RANGE),
            COUNT,
        ),
        run_duration(),
        number(
            "Schedule lateness, p95",
            "Time from the tick of a schedule to the start of its run.",
            quantile(0.95, names.SCHEDULE_LATENESS, window=RANGE),
            SECONDS,
        ),
    )


def _workflows() -> Row:
    last_success = f"time() - max by (workflow) ({LAST_SUCCESS}{{{JOB}, {WORKFLOW}}})"
    oldest = f"min by (workflow) ({gauge(names.WORKFLOW_OLDEST_ACTIVE)} > 0)"
    return row(
        "Workflows",
        valued(
            "Workflows",
            "A click on a name leads to its own dashboard.",
            names.WORKFLOW,
            {
                "Last run ok": ("bool_yes_no", f"min by (workflow) ({last_run()})"),
                "Running": (COUNT, f"sum by (workflow) ({gauge(names.WORKFLOW_ACTIVE)})"),
                "Running for": (SECONDS, f"time() - {oldest}"),
                "Since last success": (SECONDS, last_success),
                "Overdue (intervals)": ("short", f"max by (workflow) ({_overdue()})"),
                "Runs": (COUNT, observed(names.WORKFLOW_DURATION, _BY_WORKFLOW, window=RANGE)),
                "Failed": (COUNT, increase(names.WORKFLOW_FAILED, _BY_WORKFLOW, window=RANGE)),
                "p95": (SECONDS, quantile(0.95, names.WORKFLOW_DURATION, _BY_WORKFLOW, window=RANGE)),
            },
            f"/d/dotflow-workflow?var-workflow=${{__value.raw:percentencode}}&{VIEW}",
        ),
        timeline(
            "Last run by workflow",
            "How the latest run of each workflow had ended, at every moment.",
            f"min by (workflow) ({last_run()})",
            "{{workflow}}",
        ),
        lines(
            "Failure ratio, worst ten",
            "Of the runs of the last 30 minutes, the share that failed. WorkflowFailureRatioHigh fires above 10 %.",
            "percentunit",
            query(f"topk(10, {FAILURE_RATIO}{{{JOB}, {WORKFLOW}}})", "{{workflow}}"),
        ),
    )


def _failures() -> Row:
    errors = increase(names.TASK_ERRORS, (names.WORKFLOW, names.ERROR_TYPE))
    return row(
        "What failed",
        stacked(
            "Runs by status",
            "Runs that ended, completed and failed.",
            "short",
            query(observed(names.WORKFLOW_DURATION, (names.STATUS,)), "{{status}}"),
        ),
        stacked(
            "Failed runs by workflow",
            "A diamond is a failed run, and leads to its trace.",
            "short",
            query(increase(names.WORKFLOW_FAILED, _BY_WORKFLOW), "{{workflow}}", exemplars=True),
        ),
        sized(
            lines(
                "Errors by type, worst ten",
                "Failed attempts, also those that a retry has cured.",
                "short",
                query(f"topk(10, {errors})", "{{workflow}}: {{error_type}}"),
            ),
            24,
            8,
        ),
    )


def _time() -> Row:
    quantiles = [
        query(quantile(0.5, names.WORKFLOW_DURATION), "p50"),
        query(quantile(0.95, names.WORKFLOW_DURATION), "p95", "B"),
        query(quantile(0.99, names.WORKFLOW_DURATION), "p99", "C", exemplars=True),
    ]
    return row(
        "How long",
        heat(
            "Run durations",
            "How many runs took how long. A diamond is a run, and leads to its trace.",
            promql.buckets(names.WORKFLOW_DURATION),
        ),
        durations("Run duration: p50, p95, p99", "Half, 95 % and 99 % of the runs took no longer.", *quantiles),
    )


def _waiting() -> Row:
    by_reason = (names.WORKFLOW, names.REASON)
    waits = [
        lines(
            "Queue wait, p95",
            "Time from when a task was ready to its start: workers are too few if it grows.",
            SECONDS,
            query(quantile(0.95, names.TASK_QUEUE, _BY_WORKFLOW), "{{workflow}}"),
        ),
        lines(
            "Schedule lateness, p95",
            "Time from the tick of a schedule to the start of its run: the process is starved if it grows.",
            SECONDS,
            query(quantile(0.95, names.SCHEDULE_LATENESS, _BY_WORKFLOW), "{{workflow}}"),
        ),
        stacked(
            "Skipped ticks",
            "Ticks of schedules that made no run. overlap: the run before was still going on.",
            "short",
            query(increase(names.SCHEDULE_SKIPPED, by_reason), "{{workflow}}: {{reason}}"),
        ),
    ]
    return row("How late", *(sized(panel, 8, 8) for panel in waits))


def _itself() -> Row:
    by_provider = (names.PROVIDER, names.METHOD)
    panels = [
        stacked(
            "Telemetry dropped",
            "What was lost before it was sent. Anything above 0 is worth a look: the runbook says where.",
            "short",
            query(increase(names.TELEMETRY_DROPPED, (names.SIGNAL,)), "{{signal}}"),
        ),
        stacked(
            "Provider errors",
            "What tracers, logs, notifiers and so on raised. It never harms a run, but their output is missing.",
            "short",
            query(increase(names.PROVIDER_ERRORS, by_provider), "{{provider}}.{{method}}"),
        ),
        lines(
            "Background queue",
            "Notifications and updates that wait to be sent. If it only grows, the other side is too slow.",
            "short",
            query(f"sum by (instance) ({gauge(names.BACKGROUND_QUEUED)})", "{{instance}}"),
        ),
        lines(
            "Versions",
            "Processes by the version of dotflow that they run.",
            "short",
            query(f"count by (version) ({gauge(names.BUILD)})", "{{version}}"),
        ),
    ]
    return row("dotflow itself", *(sized(panel, 6, 7) for panel in panels))


def _overdue() -> str:
    """Time since the last success, in intervals of the schedule."""
    interval = f"max by (job, workflow) ({gauge(names.WORKFLOW_EXPECTED_INTERVAL)})"
    return f"(time() - {LAST_SUCCESS}{{{JOB}, {WORKFLOW}}}) / {interval}"
