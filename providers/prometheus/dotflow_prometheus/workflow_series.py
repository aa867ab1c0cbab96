"""The series of one workflow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_prometheus.counter import Counter
from dotflow_prometheus.histogram import Histogram
from dotflow_prometheus.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dotflow.model.task import SpanContext

__all__ = ["WorkflowSeries"]


class WorkflowSeries:
    """Everything that is counted of the runs of a workflow, under one lock.

    Times are Unix times in seconds, durations are seconds. `run` is whatever tells one run from another.
    """

    __slots__ = (
        "_active",
        "_bounds",
        "_completed",
        "_completed_seconds",
        "_expected_interval",
        "_failed",
        "_failed_seconds",
        "_last_completion",
        "_last_run_success",
        "_last_success",
        "_lateness",
        "_lock",
        "_started",
        "labels",
    )

    def __init__(self, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self.labels = labels
        self._bounds = bounds
        self._lock = threading.Lock()
        self._started = self._completed = self._last_run_success = 0
        self._failed = Counter()
        self._active: dict[object, float] = {}
        self._completed_seconds = Histogram(bounds)
        self._failed_seconds = Histogram(bounds)
        self._last_success = self._last_completion = 0.0
        self._expected_interval: float | None = None
        self._lateness: Histogram | None = None

    def started(self, run: object, time: float) -> None:
        """A run starts."""
        with self._lock:
            self._started += 1
            self._active[run] = time

    def completed(self, run: object, time: float, duration: float, span: SpanContext | None) -> None:
        """A run ended well."""
        with self._lock:
            self._completed += 1
            self._active.pop(run, None)
            self._completed_seconds.observe(duration, span)
            self._last_success = self._last_completion = time
            self._last_run_success = 1

    def failed(self, run: object, time: float, duration: float, span: SpanContext | None) -> None:
        """A run failed."""
        with self._lock:
            self._failed.add(1, span)
            self._active.pop(run, None)
            self._failed_seconds.observe(duration, span)
            self._last_completion = time
            self._last_run_success = 0

    def expect_ticks(self) -> None:
        """It is scheduled, so its ticks may be late."""
        with self._lock:
            self._expect_ticks()

    def expect_every(self, seconds: float) -> None:
        """It is scheduled, this often."""
        with self._lock:
            self._expect_ticks()
            self._expected_interval = seconds

    def ticked(self, lateness: float) -> None:
        """A scheduled run starts, so many seconds after its tick was due."""
        with self._lock:
            self._expect_ticks().observe(lateness)

    def read(self) -> Iterable[Reading]:
        """All of it at one moment."""
        labels = self.labels
        with self._lock:
            readings = [
                Reading(names.WORKFLOW_STARTED, labels, self._started),
                Reading(names.WORKFLOW_COMPLETED, labels, self._completed),
                Reading(names.WORKFLOW_FAILED, labels, self._failed.value, self._failed.mark),
                Reading(names.WORKFLOW_DURATION, (*labels, names.STATUS_COMPLETED), self._completed_seconds.read()),
                Reading(names.WORKFLOW_DURATION, (*labels, names.STATUS_FAILED), self._failed_seconds.read()),
                Reading(names.WORKFLOW_ACTIVE, labels, len(self._active)),
                Reading(names.WORKFLOW_OLDEST_ACTIVE, labels, min(self._active.values(), default=0)),
                Reading(names.WORKFLOW_LAST_SUCCESS, labels, self._last_success),
                Reading(names.WORKFLOW_LAST_COMPLETION, labels, self._last_completion),
                Reading(names.WORKFLOW_LAST_RUN_SUCCESS, labels, self._last_run_success),
            ]
            if self._expected_interval is not None:
                readings.append(Reading(names.WORKFLOW_EXPECTED_INTERVAL, labels, self._expected_interval))
            if self._lateness is not None:
                readings.append(Reading(names.SCHEDULE_LATENESS, labels, self._lateness.read()))
        return readings

    def _expect_ticks(self) -> Histogram:
        if self._lateness is None:
            self._lateness = Histogram(self._bounds)
        return self._lateness
