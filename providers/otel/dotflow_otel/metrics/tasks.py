"""What is measured of one task of one workflow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_otel.metrics.exemplars import NO_SPAN

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from dotflow_otel.metrics.instruments import Instruments

__all__ = ["TaskSeries"]


class TaskSeries:
    """Counts a task. Durations are seconds; None is one that is not known, and is not recorded.

    The attributes are made once, not once a measurement. No lock is held while the meter is told of something.
    """

    __slots__ = (
        "_completed_seconds",
        "_failed_seconds",
        "_has_begun",
        "_instruments",
        "_lock",
        "_queue_seconds",
        "active",
        "attributes",
        "completed",
        "labels",
        "restored",
        "skipped",
        "started",
    )

    def __init__(self, labels: tuple[str, ...], instruments: Instruments) -> None:
        self.labels = labels
        self.attributes = dict(zip(names.TASK_STARTED.labels, labels, strict=True))
        self.started = self.completed = self.restored = self.skipped = self.active = 0
        self._has_begun = False
        self._instruments = instruments
        self._queue_seconds = instruments.task_queue.bind(self.attributes)
        duration = instruments.task_duration
        self._completed_seconds = duration.bind({**self.attributes, names.STATUS: names.STATUS_COMPLETED})
        self._failed_seconds = duration.bind({**self.attributes, names.STATUS: names.STATUS_FAILED})
        self._lock = threading.Lock()

    def begin_at_zero(self) -> None:
        """Make the counters that are told of every measurement; the others are there as soon as this object is."""
        if not self._has_begun:
            self._has_begun = True
            self._instruments.task_failed.add(0, self.attributes, NO_SPAN)
            self._instruments.task_retried.add(0, self.attributes, NO_SPAN)

    def start(self, queued: float | None) -> None:
        """It starts, after it was `queued` for so long."""
        with self._lock:
            self.started += 1
            self.active += 1
        if queued is not None:
            self._queue_seconds(queued, NO_SPAN)

    def complete(self, duration: float | None, context: Context) -> None:
        """It ended well."""
        with self._lock:
            self.completed += 1
            self._deactivate()
        if duration is not None:
            self._completed_seconds(duration, context)

    def fail(self, duration: float | None, context: Context) -> None:
        """It finally failed."""
        with self._lock:
            self._deactivate()
        self._instruments.task_failed.add(1, self.attributes, context)
        if duration is not None:
            self._failed_seconds(duration, context)

    def retry(self, context: Context) -> None:
        """An attempt failed and another follows."""
        self._instruments.task_retried.add(1, self.attributes, context)

    def restore(self) -> None:
        """Its result was taken from a checkpoint."""
        with self._lock:
            self.restored += 1

    def skip(self) -> None:
        """It did not run, because of what became of its parents."""
        with self._lock:
            self.skipped += 1

    def _deactivate(self) -> None:
        if self.active:  # not below 0, also if the start was never told
            self.active -= 1
