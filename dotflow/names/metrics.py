"""The metrics: one table, read by every metrics provider, by the docs, the dashboards and the tests.

Each metric has one dotted OpenTelemetry name; its Prometheus name follows from it by the rules that Prometheus
itself uses to translate OTLP (dots become underscores, the unit and `_total` are appended), so both providers give
the same series: https://prometheus.io/docs/specs/native_histograms/ and
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

WORKFLOW: Final = "workflow"
TASK: Final = "task"
STATUS: Final = "status"
ERROR_TYPE: Final = "error_type"
REASON: Final = "reason"
PROVIDER: Final = "provider"
METHOD: Final = "method"
SIGNAL: Final = "signal"
VERSION: Final = "version"
NAME: Final = "name"

STATUS_COMPLETED: Final = "completed"
STATUS_FAILED: Final = "failed"

Kind = Literal["counter", "gauge", "histogram", "info"]

_UNIT_SUFFIX: Final = {"": "", "s": "_seconds"}

# Work from 5 ms to 6 h: three steps a decade up to a minute, then the durations that people say aloud.
# Seconds; the last bucket, +Inf, is implied.
DURATION_BUCKETS: Final[tuple[float, ...]] = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0,
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """One metric: its dotted name, kind, unit (UCUM), labels and help text."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def prometheus(self) -> str:
        """The family's name in Prometheus, without the `_total` that a counter's series add."""
        return self.name.replace(".", "_") + _UNIT_SUFFIX[self.unit]

    @property
    def series(self) -> tuple[str, ...]:
        """The names of the series in Prometheus."""
        base = self.prometheus
        if self.kind == "counter":
            return (f"{base}_total",)
        if self.kind == "histogram":
            return (f"{base}_bucket", f"{base}_count", f"{base}_sum")
        return (f"{base}_info",) if self.kind == "info" else (base,)


_W = (WORKFLOW,)
_WT = (WORKFLOW, TASK)

WORKFLOW_STARTED = Metric("dotflow.workflow.started", "counter", "Runs started.", _W)
WORKFLOW_COMPLETED = Metric("dotflow.workflow.completed", "counter", "Runs that ended well.", _W)
WORKFLOW_FAILED = Metric("dotflow.workflow.failed", "counter", "Runs that failed.", _W)
WORKFLOW_DURATION = Metric(
    "dotflow.workflow.duration", "histogram", "Duration of a run, start to end.", (WORKFLOW, STATUS), "s"
)
WORKFLOW_ACTIVE = Metric("dotflow.workflow.active_runs", "gauge", "Runs going on now.", _W)
WORKFLOW_OLDEST_ACTIVE = Metric(
    "dotflow.workflow.oldest_active_start_timestamp",
    "gauge",
    "Unix time at which the oldest run that is still going on started; 0 if none is.",
    _W,
    "s",
)
WORKFLOW_LAST_SUCCESS = Metric(
    "dotflow.workflow.last_success_timestamp", "gauge", "Unix time of the end of the last successful run.", _W, "s"
)
WORKFLOW_LAST_COMPLETION = Metric(
    "dotflow.workflow.last_completion_timestamp", "gauge", "Unix time of the end of the last run.", _W, "s"
)
WORKFLOW_LAST_RUN_SUCCESS = Metric(
    "dotflow.workflow.last_run_success", "gauge", "1 if the last run ended well, 0 if it failed or none has ended.", _W
)
WORKFLOW_EXPECTED_INTERVAL = Metric(
    "dotflow.workflow.expected_interval", "gauge", "Time between two scheduled runs.", _W, "s"
)
SCHEDULE_SKIPPED = Metric("dotflow.schedule.skipped", "counter", "Scheduled runs not made.", (WORKFLOW, REASON))
SCHEDULE_LATENESS = Metric(
    "dotflow.schedule.lateness", "histogram", "Time from a tick that was due to the start of its run.", _W, "s"
)
TASK_STARTED = Metric("dotflow.task.started", "counter", "Tasks started.", _WT)
TASK_COMPLETED = Metric("dotflow.task.completed", "counter", "Tasks that ended well.", _WT)
TASK_FAILED = Metric("dotflow.task.failed", "counter", "Tasks that finally failed.", _WT)
TASK_RETRIED = Metric("dotflow.task.retried", "counter", "Retries made after a failed attempt.", _WT)
TASK_SKIPPED = Metric("dotflow.task.skipped", "counter", "Tasks that did not run, because of their parents.", _WT)
TASK_RESTORED = Metric("dotflow.task.restored", "counter", "Tasks taken from a checkpoint instead of run.", _WT)
TASK_ERRORS = Metric("dotflow.task.errors", "counter", "Failed attempts, by type of error.", (*_WT, ERROR_TYPE))
TASK_DURATION = Metric(
    "dotflow.task.duration",
    "histogram",
    "Duration of a task, all its attempts and waits included.",
    (*_WT, STATUS),
    "s",
)
TASK_QUEUE = Metric("dotflow.task.queue", "histogram", "Time a task was ready but not yet started.", _WT, "s")
TASK_ACTIVE = Metric("dotflow.task.active", "gauge", "Tasks going on now.", _WT)
TASK_RECORDED = Metric(
    "dotflow.task.recorded", "gauge", "What a step measured itself, as it was last recorded.", (*_WT, NAME)
)
PROVIDER_ERRORS = Metric(
    "dotflow.provider.errors", "counter", "Errors of providers, contained by the engine.", (PROVIDER, METHOD)
)
TELEMETRY_DROPPED = Metric(
    "dotflow.telemetry.dropped",
    "counter",
    "Spans, log records, notifications and updates lost before they were sent.",
    (SIGNAL,),
)
BACKGROUND_QUEUED = Metric(
    "dotflow.background.queued", "gauge", "Notifications and updates that wait for the background thread."
)
BUILD = Metric("dotflow.build", "info", "The version of dotflow that runs.", (VERSION,))

# What can be lost before it is sent, as the label `signal` says it.
SIGNALS: Final = ("logs", "metrics", "notify", "server", "spans")

# The label `error_type` of an error without a type, as OpenTelemetry says it:
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/
OTHER_ERROR: Final = "_OTHER"

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
