"""All series of one meter provider."""

from __future__ import annotations

import logging
import threading
import weakref
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.metrics import Counter, MeterProvider, Observation

from dotflow.names import logs
from dotflow.names import metrics as names
from dotflow.names.spans import SCOPE
from dotflow.toolkit.label_sets import OVERFLOW, LabelSets
from dotflow.version import version
from dotflow_otel.metrics.exemplars import NO_SPAN
from dotflow_otel.metrics.instruments import Histogram, Instruments, SdkHistogram, observe
from dotflow_otel.metrics.tasks import TaskSeries
from dotflow_otel.metrics.workflows import WorkflowSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter

    from dotflow.names.metrics import Metric

__all__ = ["Count", "Series", "series_of"]

_logger = logging.getLogger(logs.LOGGER)

_OWN_SIGNAL: Final = "metrics"

# What is read of each series when the meter is collected; None is not reported.
_OF_WORKFLOW: Final[Mapping[Metric, str]] = {
    names.WORKFLOW_STARTED: "started",
    names.WORKFLOW_COMPLETED: "completed",
    names.WORKFLOW_ACTIVE: "active_runs",
    names.WORKFLOW_OLDEST_ACTIVE: "oldest_active_start",
    names.WORKFLOW_LAST_SUCCESS: "last_success",
    names.WORKFLOW_LAST_COMPLETION: "last_completion",
    names.WORKFLOW_LAST_RUN_SUCCESS: "last_run_success",
    names.WORKFLOW_EXPECTED_INTERVAL: "expected_interval",
}
_OF_TASK: Final[Mapping[Metric, str]] = {
    names.TASK_STARTED: "started",
    names.TASK_COMPLETED: "completed",
    names.TASK_RESTORED: "restored",
    names.TASK_SKIPPED: "skipped",
    names.TASK_ACTIVE: "active",
}


class Count(NamedTuple):
    """A counter with its attributes, made once for all its measurements."""

    counter: Counter
    attributes: Mapping[str, str]

    def add(self, amount: int = 1, context: Context = NO_SPAN) -> None:
        """Count so many."""
        self.counter.add(amount, self.attributes, context)


class Value:
    """What was recorded last, with its attributes."""

    __slots__ = ("attributes", "value")

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = attributes
        self.value: float | None = None


class Series:
    """Finds the series of a workflow, a task and so on; makes them, at 0, when it first hears of them.

    Of each kind at most `max_series` are made, so labels that turn out to be ids cannot fill the memory here and behind
    the collector. What comes later shares series under `_overflow`: where the workflow, or the task, is known it keeps
    its name, so it can be seen who does it. (The SDK's own limit would drop all labels, tell nobody, and is not in all
    its versions.)
    """

    def __init__(self, meter: Meter, make_histogram: Callable[[Metric], Histogram], max_series: int) -> None:
        self._max_series = max_series
        self._has_overflowed = False
        self._lock = threading.Lock()
        self._instruments = of = Instruments(meter, make_histogram)
        self._workflows = LabelSets(lambda labels: WorkflowSeries(labels, of), max_series, self._overflow)
        self._tasks = LabelSets(lambda labels: TaskSeries(labels, of), max_series, self._overflow)
        self._errors = self._counts(names.TASK_ERRORS, of.task_errors)
        self._skipped = self._counts(names.SCHEDULE_SKIPPED, of.schedule_skipped)
        self._provider_errors = self._counts(names.PROVIDER_ERRORS, of.provider_errors)
        self._dropped = self._counts(names.TELEMETRY_DROPPED, of.telemetry_dropped)
        self._recorded = LabelSets(_value, max_series, self._overflow)
        self._queued = 0
        for signal in names.SIGNALS:
            self._dropped.preset((signal,)).add(0)
        self._observe(meter)

    def workflow(self, workflow: str) -> WorkflowSeries:
        """The series of a workflow."""
        return self._workflows.find((workflow,)) or self._new_workflow(workflow)

    def task(self, workflow: str, task: str) -> TaskSeries:
        """The series of a task, and with them those of its workflow."""
        return self._tasks.find((workflow, task)) or self._new_task(workflow, task)

    def has_task(self, workflow: str, task: str) -> bool:
        """Whether there are series of this task already."""
        return self._tasks.find((workflow, task)) is not None

    def errors(self, task: TaskSeries, error_type: str) -> Count:
        """The errors of this type of a task."""
        return self._errors.get((*task.labels, error_type), (*task.labels, OVERFLOW))

    def skipped(self, workflow: WorkflowSeries, reason: str) -> Count:
        """The scheduled runs of a workflow not made for this reason."""
        return self._skipped.get((*workflow.labels, reason), (*workflow.labels, OVERFLOW))

    def provider_errors(self, provider: str, method: str) -> Count:
        """The errors of a provider's method."""
        return self._provider_errors.get((provider, method), (OVERFLOW, OVERFLOW))

    def dropped(self, signal: str) -> Count:
        """What was lost of a signal."""
        return self._dropped.get((signal,), (OVERFLOW,))

    def recorded(self, task: TaskSeries, name: str) -> Value:
        """What the steps of a task have recorded under this name."""
        return self._recorded.get((*task.labels, name), (*task.labels, OVERFLOW))

    def queue(self, change: int) -> None:
        """So many calls more, or less, wait for the background thread; threads may tell it in another order."""
        with self._lock:
            self._queued += change

    def _new_workflow(self, workflow: str) -> WorkflowSeries:
        found = self._workflows.get((workflow,), (OVERFLOW,))
        found.begin_at_zero()
        return found

    def _new_task(self, workflow: str, task: str) -> TaskSeries:
        (label,) = self.workflow(workflow).labels
        found = self._tasks.get((label, task if label != OVERFLOW else OVERFLOW), (label, OVERFLOW))
        found.begin_at_zero()
        return found

    def _counts(self, metric: Metric, counter: Counter) -> LabelSets[Count]:
        def make(labels: tuple[str, ...]) -> Count:
            return Count(counter, dict(zip(metric.labels, labels, strict=True)))

        return LabelSets(make, self._max_series, self._overflow)

    def _observe(self, meter: Meter) -> None:
        build = [Observation(1, {names.VERSION: version()}, NO_SPAN)]
        observe(meter, names.BUILD, lambda: build)
        observe(meter, names.BACKGROUND_QUEUED, lambda: [Observation(max(0, self._queued), {}, NO_SPAN)])
        observe(meter, names.TASK_RECORDED, _reader(self._recorded, "value"))
        for metric, attribute in _OF_WORKFLOW.items():
            observe(meter, metric, _reader(self._workflows, attribute))
        for metric, attribute in _OF_TASK.items():
            observe(meter, metric, _reader(self._tasks, attribute))

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


_known: weakref.WeakKeyDictionary[MeterProvider, Series] = weakref.WeakKeyDictionary()
_known_lock = threading.Lock()


def series_of(
    provider: MeterProvider,
    bounds: Sequence[float],
    max_series: int,
    make_histogram: Callable[[Metric], Histogram] | None = None,
) -> Series:
    """The series of this meter provider, made once: a meter reads the callbacks of an instrument's first maker only.

    So whoever shares a provider shares its series, and the bounds and limit of the first. Histograms are the meter's,
    unless `make_histogram` makes others.
    """
    with _known_lock:
        found = _known.get(provider)
        if found is None:
            meter = provider.get_meter(SCOPE)
            make = make_histogram or (lambda metric: SdkHistogram(meter, metric, bounds))
            found = _known[provider] = Series(meter, make, max_series)
        return found


def _reader(
    children: LabelSets[WorkflowSeries] | LabelSets[TaskSeries] | LabelSets[Value], attribute: str
) -> Callable[[], Iterable[Observation]]:
    value_of: Callable[[Any], float | None] = attrgetter(attribute)

    def read() -> Iterable[Observation]:
        for child in children:
            value = value_of(child)
            if value is not None:
                yield Observation(value, child.attributes, NO_SPAN)

    return read


def _value(labels: tuple[str, ...]) -> Value:
    return Value(dict(zip(names.TASK_RECORDED.labels, labels, strict=True)))
