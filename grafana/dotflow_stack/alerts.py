"""The alerts. Each has a page in docs/runbooks that says what it means and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from dotflow.names import metrics as names
from dotflow_stack.promql import part, total
from dotflow_stack.rules import FAILURE_RATIO, LAST_SUCCESS, P95, RUNS

if TYPE_CHECKING:
    from dotflow.names.metrics import Metric
    from dotflow_stack.pace import Pace

__all__ = ["GRAFANA", "Alert", "alerts"]

Severity = Literal["info", "warning", "critical"]

GRAFANA: Final = "http://localhost:3000"
RUNBOOKS: Final = "docs/runbooks"  # put the address before it under which your team reads the docs

_WORKFLOW: Final = (
    "/d/dotflow-workflow?var-job={{ $labels.job | urlquery }}&var-workflow={{ $labels.workflow | urlquery }}"
)
_OVERVIEW: Final = "/d/dotflow-overview?var-job={{ $labels.job | urlquery }}"


@dataclass(frozen=True)
class Alert:
    """An alert: fires when `expr` has found something for as long as `wait`."""

    name: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    description: str
    dashboard: str = field(default=_WORKFLOW)

    @property
    def runbook(self) -> str:
        """The page about it, relative to the top of the repository."""
        return f"{RUNBOOKS}/{re.sub('(?<!^)(?=[A-Z])', '-', self.name).lower()}.md"


def alerts(pace: Pace) -> list[Alert]:
    """All of them."""
    return [
        *_of_failures(pace),
        *_of_time(pace),
        *_of_the_machinery(pace),
    ]


def _of_failures(pace: Pace) -> list[Alert]:
    retried = _increase(names.TASK_RETRIED, "job, workflow, task", pace.minutes_10)
    started = _increase(names.TASK_STARTED, "job, workflow, task", pace.minutes_10)
    return [
        Alert(
            name="WorkflowFailed",
            expr=f"{_increase(names.WORKFLOW_FAILED, 'job, workflow', pace.minutes_5)} > 0",
            wait="0s",
            severity="info",
            summary="A run of {{ $labels.workflow }} failed",
            description="{{ $value | printf `%.0f` }} run(s) of {{ $labels.workflow }} ({{ $labels.job }}) failed lately.",
        ),
        Alert(
            name="WorkflowFailureRatioHigh",
            expr=f"{FAILURE_RATIO} > 0.1\nand\n{RUNS} >= 5",
            wait=pace.hold,
            severity="warning",
            summary="{{ $value | humanizePercentage }} of the runs of {{ $labels.workflow }} fail",
            description="More than 10 % of at least 5 runs of {{ $labels.workflow }} ({{ $labels.job }}) failed.",
        ),
        Alert(
            name="TaskRetryStorm",
            expr=f"{retried} > 10\nand\n{retried} > {started}",
            wait=pace.hold,
            severity="warning",
            summary="Task {{ $labels.task }} of {{ $labels.workflow }} is retried more often than it is started",
            description=(
                "{{ $value | printf `%.0f` }} retries of {{ $labels.task }} ({{ $labels.workflow }}, {{ $labels.job }}):"
                " what it needs is not there, and it keeps asking."
            ),
        ),
    ]


def _of_time(pace: Pace) -> list[Alert]:
    interval = f"max by (job, workflow) ({total(names.WORKFLOW_EXPECTED_INTERVAL)})"
    oldest = f"min by (job, workflow) ({total(names.WORKFLOW_OLDEST_ACTIVE)} > 0)"
    waited = f"rate({part(names.TASK_QUEUE, 'bucket')}[{pace.minutes_10}])"
    return [
        Alert(
            name="WorkflowNoRecentSuccess",
            # What is scraped is some seconds old, so an interval of seconds would always seem to be missed.
            expr=f"time() - {LAST_SUCCESS}\n> clamp_min(2 * {interval}, {pace.stale_seconds})",
            wait=pace.minute,
            severity="critical",
            summary="{{ $labels.workflow }} has not succeeded for {{ $value | humanizeDuration }}",
            description=(
                "The last success of {{ $labels.workflow }} ({{ $labels.job }}) is more than two of its intervals ago."
            ),
        ),
        Alert(
            name="WorkflowStuck",
            expr=f"time() - {oldest} > {pace.stuck_seconds}",
            wait=pace.hold,
            severity="critical",
            summary="A run of {{ $labels.workflow }} has been going on for {{ $value | humanizeDuration }}",
            description=f"Its oldest run is older than {pace.stuck_seconds} s: it hangs, or it is slower than ever.",
        ),
        Alert(
            name="WorkflowSlow",
            expr=f"{P95}\n> 2 * avg_over_time({P95}[{pace.day}])",
            wait=pace.hold,
            severity="warning",
            summary="{{ $labels.workflow }} takes {{ $value | humanizeDuration }}, twice as long as usual",
            description="The p95 of the runs of {{ $labels.workflow }} is more than twice its average over a day.",
        ),
        Alert(
            name="QueueWaitHigh",
            expr=(f"histogram_quantile(0.95, sum by (job, workflow, le) ({waited})) > {pace.queue_seconds}"),
            wait=pace.hold,
            severity="warning",
            summary="Tasks of {{ $labels.workflow }} wait {{ $value | humanizeDuration }} for a worker",
            description=f"The p95 of the time between ready and started is above {pace.queue_seconds} s.",
        ),
        Alert(
            name="ScheduleSkipping",
            expr=_skipping(pace, interval),
            wait=pace.hold,
            severity="warning",
            summary="{{ $labels.workflow }} skips scheduled runs ({{ $labels.reason }})",
            description="More than a tenth of the ticks of {{ $labels.workflow }} ({{ $labels.job }}) made no run.",
        ),
    ]


def _of_the_machinery(pace: Pace) -> list[Alert]:
    return [
        Alert(
            name="TelemetryDropped",
            expr=f"{_increase(names.TELEMETRY_DROPPED, 'job, signal', pace.minutes_15)} > 0",
            wait=pace.minute,
            severity="warning",
            summary="{{ $labels.job }} loses {{ $labels.signal }}",
            description="{{ $value | printf `%.0f` }} {{ $labels.signal }} were lost before they were sent.",
            dashboard=_OVERVIEW,
        ),
        Alert(
            name="TargetDown",
            expr=f"up == 0\nand on (job, instance)\nmax_over_time(up[{pace.day}]) > 0",
            wait=pace.hold,
            severity="critical",
            summary="{{ $labels.instance }} ({{ $labels.job }}) is not there any more",
            description="Prometheus has scraped {{ $labels.instance }} within a day and cannot any longer.",
            dashboard=_OVERVIEW,
        ),
    ]


def _skipping(pace: Pace, interval: str) -> str:
    """Relative to the ticks that were due: one skipped run a day is much for a daily one and little for another."""
    skipped = f'increase({total(names.SCHEDULE_SKIPPED)}{{reason!="stopped"}}[{pace.hour}])'
    return (
        f"sum by (job, workflow, reason) ({skipped})\n"
        f"> on (job, workflow) group_left ()\n0.1 * {pace.hour_seconds} / {interval}"
    )


def _increase(metric: Metric, by: str, window: str) -> str:
    return f"sum by ({by}) (increase({total(metric)}[{window}]))"
