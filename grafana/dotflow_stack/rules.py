"""The recording rules: what several alerts and panels ask for, and what must outlive a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dotflow.names import metrics as names
from dotflow_stack.promql import part, total

if TYPE_CHECKING:
    from dotflow_stack.pace import Pace

__all__ = ["FAILURE_RATIO", "LAST_SUCCESS", "P95", "RUNS", "RUNS_RATE", "Recording", "recordings"]

# level:metric:operations, https://prometheus.io/docs/practices/rules/
RUNS_RATE: Final = "job_workflow_status:dotflow_workflow_runs:rate5m"
RUNS: Final = "job_workflow:dotflow_workflow_runs:increase30m"
FAILURE_RATIO: Final = "job_workflow:dotflow_workflow_failures:ratio30m"
P95: Final = "job_workflow:dotflow_workflow_duration_seconds:p95_1h"
LAST_SUCCESS: Final = "job_workflow:dotflow_workflow_last_success_timestamp_seconds:max"

_REMEMBERED_SECONDS: Final = 30 * 24 * 3600


@dataclass(frozen=True)
class Recording:
    """A series that Prometheus computes and keeps."""

    record: str
    expr: str


def recordings(pace: Pace) -> list[Recording]:
    """All of them, in the order in which they depend on each other."""
    return [
        Recording(RUNS_RATE, _runs_rate(pace)),
        Recording(RUNS, _runs(pace)),
        Recording(FAILURE_RATIO, _failure_ratio(pace)),
        Recording(P95, _p95(pace)),
        Recording(LAST_SUCCESS, _last_success()),
    ]


def _runs_rate(pace: Pace) -> str:
    count = part(names.WORKFLOW_DURATION, "count")
    return f"sum by (job, workflow, status) (rate({count}[{pace.minutes_5}]))"


def _runs(pace: Pace) -> str:
    return f"sum by (job, workflow) (increase({part(names.WORKFLOW_DURATION, 'count')}[{pace.minutes_30}]))"


def _failure_ratio(pace: Pace) -> str:
    """Without a value where nothing ran: 0/0 would be NaN, and a NaN spoils every average it gets into."""
    failed = f"sum by (job, workflow) (increase({total(names.WORKFLOW_FAILED)}[{pace.minutes_30}]))"
    return f"{failed}\n/\n({RUNS} > 0)"


def _p95(pace: Pace) -> str:
    """Not where nothing ran, for the same reason: `>= 0` is not true of NaN."""
    rate = f"rate({part(names.WORKFLOW_DURATION, 'bucket')}[{pace.hour}])"
    return f"histogram_quantile(0.95, sum by (job, workflow, le) ({rate})) >= 0"


def _last_success() -> str:
    """When a workflow last succeeded, also in a process before this one; if it never has, since when it is known.

    The gauge starts at 0 with every process, so it alone would say after each restart that there never was a success.
    The rule reads what it recorded itself, and forgets workflows that have not succeeded for 30 days.
    """
    gauge = total(names.WORKFLOW_LAST_SUCCESS)
    return (
        f"max by (job, workflow) (({gauge} > 0) or ({LAST_SUCCESS} > time() - {_REMEMBERED_SECONDS}))\n"
        f"or\nmin by (job, workflow) (timestamp({gauge}))"
    )
