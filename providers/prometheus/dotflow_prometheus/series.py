"""All series of one provider."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from dotflow.names import logs
from dotflow.names import metrics as names
from dotflow.toolkit.label_sets import OVERFLOW, LabelSets
from dotflow.version import version
from dotflow_prometheus.counter import CounterSeries
from dotflow_prometheus.gauge import GaugeSeries, Level
from dotflow_prometheus.reading import Reading
from dotflow_prometheus.task_series import TaskSeries
from dotflow_prometheus.workflow_series import WorkflowSeries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dotflow.names.metrics import Metric

__all__ = ["Series"]

_logger = logging.getLogger(logs.LOGGER)

_OWN_SIGNAL: Final = "metrics"


class Series:
    """Finds the series of a workflow, a task and so on; makes them, at 0, when it first hears of them.

    Of each kind at most `max_series` are made, so labels that turn out to be ids cannot fill the memory here and in
    Prometheus. What comes later shares series under `_overflow`: where the workflow, or the task, is known it keeps its
    name, so it can be seen who does it.
    """

    def __init__(self, bounds: tuple[float, ...], max_series: int) -> None:
        self._max_series = max_series
        self._has_overflowed = False
        self._lock = threading.Lock()
        self._workflows = LabelSets(lambda labels: WorkflowSeries(labels, bounds), max_series, self._overflow)
        self._tasks = LabelSets(lambda labels: TaskSeries(labels, bounds), max_series, self._overflow)
        self._recorded = LabelSets(lambda labels: GaugeSeries(names.TASK_RECORDED, labels), max_series, self._overflow)
        self._errors = self._counters(names.TASK_ERRORS)
        self._skipped = self._counters(names.SCHEDULE_SKIPPED)
        self._provider_errors = self._counters(names.PROVIDER_ERRORS)
        self._dropped = self._counters(names.TELEMETRY_DROPPED)
        self.background = Level()
        for signal in names.SIGNALS:
            self._dropped.preset((signal,))

    def workflow(self, workflow: str) -> WorkflowSeries:
        """The series of a workflow."""
        return self._workflows.get((workflow,), (OVERFLOW,))

    def task(self, workflow: str, task: str) -> TaskSeries:
        """The series of a task, and with them those of its workflow."""
        return self._tasks.find((workflow, task)) or self._new_task(workflow, task)

    def errors(self, task: TaskSeries, error_type: str) -> CounterSeries:
        """The errors of this type of a task."""
        return self._errors.get((*task.labels, error_type), (*task.labels, OVERFLOW))

    def record(self, task: TaskSeries, recorded: Mapping[str, float]) -> None:
        """What a task measured itself, by name: each replaces what was there.

        The negative zero becomes 0: it equals 0, so a page that holds 0 could not tell that the number has changed.
        """
        for name, value in recorded.items():
            self._recorded.get((*task.labels, name), (*task.labels, OVERFLOW)).value = value + 0.0

    def skipped(self, workflow: WorkflowSeries, reason: str) -> CounterSeries:
        """The scheduled runs of a workflow not made for this reason."""
        return self._skipped.get((*workflow.labels, reason), (*workflow.labels, OVERFLOW))

    def provider_errors(self, provider: str, method: str) -> CounterSeries:
        """The errors of a provider's method."""
        return self._provider_errors.get((provider, method), (OVERFLOW, OVERFLOW))

    def dropped(self, signal: str) -> CounterSeries:
        """What was lost of a signal."""
        return self._dropped.get((signal,), (OVERFLOW,))

    def read(self) -> Iterator[Reading]:
        """Everything, now."""
        yield Reading(names.BUILD, (version(),), 1)
        yield Reading(names.BACKGROUND_QUEUED, (), self.background.value)
        for series in self._workflows:
            yield from series.read()
        for each in self._tasks:
            yield from each.read()
        for gauge in self._recorded:
            yield from gauge.read()
        for counters in (self._errors, self._skipped, self._provider_errors, self._dropped):
            for counter in counters:
                yield from counter.read()

    def _new_task(self, workflow: str, task: str) -> TaskSeries:
        (label,) = self.workflow(workflow).labels
        return self._tasks.get((label, task if label != OVERFLOW else OVERFLOW), (label, OVERFLOW))

    def _counters(self, metric: Metric) -> LabelSets[CounterSeries]:
        return LabelSets(lambda labels: CounterSeries(metric, labels), self._max_series, self._overflow)

    def _overflow(self, labels: tuple[str, ...]) -> None:
        self.dropped(_OWN_SIGNAL).add()
        with self._lock:
            is_first, self._has_overflowed = not self._has_overflowed, True
        if is_first:
            _logger.warning(
                "more than max_series=%d sets of metric labels: %s and what comes after share %r; labels must be few,"
                " so look for ids in the names of workflows and tasks; more of the same is only counted",
                self._max_series,
                labels,
                OVERFLOW,
            )
