"""What is measured of the runs of one workflow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_otel.metrics.exemplars import NO_SPAN

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from dotflow_otel.metrics.instruments import Instruments, Recorder

__all__ = ["WorkflowSeries"]


class WorkflowSeries:
    """Counts the runs of a workflow. Times are Unix times in seconds, durations are seconds.

    `run` is whatever tells one run from another. `has_unseen` as long as it, or a task of it, may not have been sent at 0.
    """

    __slots__ = (
        "_active",
        "_completed_seconds",
        "_failed_seconds",
        "_has_begun",
        "_instruments",
        "_late_seconds",
        "_lock",
        "attributes",
        "completed",
        "expected_interval",
        "has_unseen",
        "labels",
        "last_completion",
        "last_run_success",
        "last_success",
        "started",
    )

    def __init__(self, labels: tuple[str, ...], instruments: Instruments) -> None:
        self.labels = labels
        self.attributes = dict(zip(names.WORKFLOW_STARTED.labels, labels, strict=True))
        self.started = self.completed = self.last_run_success = 0
        self.last_success = self.last_completion = 0.0
        self.expected_interval: float | None = None
        self.has_unseen = True
        self._active: dict[object, float] = {}
        self._has_begun = False
        self._instruments = instruments
        self._late_seconds: Recorder | None = None
        duration = instruments.workflow_duration
        self._completed_seconds = duration.bind({**self.attributes, names.STATUS: names.STATUS_COMPLETED})
        self._failed_seconds = duration.bind({**self.attributes, names.STATUS: names.STATUS_FAILED})
        self._lock = threading.Lock()

    def begin_at_zero(self) -> None:
        """Make the counter that is told of every measurement; the others are there as soon as this object is."""
        if not self._has_begun:
            self._has_begun = True
            self._instruments.workflow_failed.add(0, self.attributes, NO_SPAN)

    def take_unseen(self) -> bool:
        """Whether it may not have been sent at 0; from now on it has been."""
        unseen, self.has_unseen = self.has_unseen, False
        return unseen

    def schedule(self) -> None:
        """It is scheduled: only then is there a histogram of how late it starts."""
        with self._lock:
            if self._late_seconds is None:
                self._late_seconds = self._instruments.schedule_lateness.bind(self.attributes)
                self.has_unseen = True

    def tick(self, lateness: float) -> None:
        """A scheduled run starts so many seconds after its tick was due; `schedule` has been called before."""
        if self._late_seconds is not None:
            self._late_seconds(lateness, NO_SPAN)

    @property
    def active_runs(self) -> int:
        """How many runs are going on."""
        return len(self._active)

    @property
    def oldest_active_start(self) -> float:
        """When the oldest run that is going on started; 0 if none is."""
        with self._lock:
            return min(self._active.values(), default=0.0)

    def start(self, run: object, time: float) -> None:
        """A run starts."""
        with self._lock:
            self.started += 1
            self._active[run] = time

    def complete(self, run: object, time: float, duration: float, context: Context) -> None:
        """A run ended well."""
        with self._lock:
            self.completed += 1
            self._active.pop(run, None)
            self.last_success = self.last_completion = time
            self.last_run_success = 1
        self._completed_seconds(duration, context)

    def fail(self, run: object, time: float, duration: float, context: Context) -> None:
        """A run failed."""
        with self._lock:
            self._active.pop(run, None)
            self.last_completion = time
            self.last_run_success = 0
        self._instruments.workflow_failed.add(1, self.attributes, context)
        self._failed_seconds(duration, context)
