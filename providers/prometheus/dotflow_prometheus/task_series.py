"""The series of one task of one workflow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_prometheus.counter import Counter
from dotflow_prometheus.histogram import Histogram
from dotflow_prometheus.reading import Reading

if TYPE_CHECKING:
    from dotflow.model.task import SpanContext

__all__ = ["TaskSeries"]


class TaskSeries:
    """Everything that is counted of a task, under one lock.

    One lock and not one a series: it is faster, and a scrape never sees a task that has ended but is still active.
    Durations are seconds; None is one that is not known, and is not observed.
    """

    __slots__ = (
        "_active",
        "_completed",
        "_completed_seconds",
        "_failed",
        "_failed_seconds",
        "_lock",
        "_queue_seconds",
        "_restored",
        "_retried",
        "_skipped",
        "_started",
        "labels",
    )

    def __init__(self, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self.labels = labels
        self._lock = threading.Lock()
        self._started = self._completed = self._restored = self._skipped = self._active = 0
        self._failed = Counter()
        self._retried = Counter()
        self._queue_seconds = Histogram(bounds)
        self._completed_seconds = Histogram(bounds)
        self._failed_seconds = Histogram(bounds)

    def started(self, queued: float | None) -> None:
        """It starts, after it was `queued` for so long."""
        with self._lock:
            self._started += 1
            self._active += 1
            if queued is not None:
                self._queue_seconds.observe(queued)

    def completed(self, duration: float | None, span: SpanContext | None) -> None:
        """It ended well."""
        with self._lock:
            self._completed += 1
            if self._active:  # not below 0, also if the start was never told
                self._active -= 1
            if duration is not None:
                self._completed_seconds.observe(duration, span)

    def failed(self, duration: float | None, span: SpanContext | None) -> None:
        """It finally failed."""
        with self._lock:
            self._failed.add(1, span)
            if self._active:
                self._active -= 1
            if duration is not None:
                self._failed_seconds.observe(duration, span)

    def retried(self, span: SpanContext | None) -> None:
        """An attempt failed and another follows."""
        with self._lock:
            self._retried.add(1, span)

    def restored(self) -> None:
        """Its result was taken from a checkpoint."""
        with self._lock:
            self._restored += 1

    def skipped(self) -> None:
        """It did not run, because of what became of its parents."""
        with self._lock:
            self._skipped += 1

    def read(self) -> tuple[Reading, ...]:
        """All of it at one moment."""
        labels = self.labels
        with self._lock:
            return (
                Reading(names.TASK_STARTED, labels, self._started),
                Reading(names.TASK_COMPLETED, labels, self._completed),
                Reading(names.TASK_FAILED, labels, self._failed.value, self._failed.mark),
                Reading(names.TASK_RETRIED, labels, self._retried.value, self._retried.mark),
                Reading(names.TASK_RESTORED, labels, self._restored),
                Reading(names.TASK_SKIPPED, labels, self._skipped),
                Reading(names.TASK_ACTIVE, labels, self._active),
                Reading(names.TASK_QUEUE, labels, self._queue_seconds.read()),
                Reading(names.TASK_DURATION, (*labels, names.STATUS_COMPLETED), self._completed_seconds.read()),
                Reading(names.TASK_DURATION, (*labels, names.STATUS_FAILED), self._failed_seconds.read()),
            )
