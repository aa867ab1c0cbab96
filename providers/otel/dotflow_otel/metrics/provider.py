"""MetricsOpenTelemetry: the metrics of runs and tasks, sent by OTLP."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dotflow.abc import Metrics
from dotflow.abc.provider import Dropped
from dotflow.errors import InvalidOption
from dotflow.names import metrics as names
from dotflow.toolkit.label_sets import ActiveRuns, check_max_series, checked_buckets
from dotflow_otel.export.target import without_credentials
from dotflow_otel.metrics.exemplars import context_of
from dotflow_otel.metrics.pipeline import (
    MeterPipeline,
    foreign_provider,
    idle_pipeline,
    load,
    metrics_target,
    private_pipeline,
)
from dotflow_otel.metrics.series import Series, series_of
from dotflow_otel.options import check_provider, check_timeout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider

    from dotflow.model.run import Run
    from dotflow.model.task import Task
    from dotflow_otel.metrics.tasks import TaskSeries
    from dotflow_otel.metrics.workflows import WorkflowSeries

__all__ = ["MetricsOpenTelemetry"]

_SIGNAL: Final = "metrics"
# An int: 1e9 would first round the nanoseconds since the epoch to a float, which is off by up to 128 of them.
_SECOND_NS: Final = 1_000_000_000


class MetricsOpenTelemetry(Metrics):
    """Counts and times runs and tasks as `dotflow.*`; see the table in `dotflow.names.metrics`.

    Prometheus makes of them the series that `MetricsPrometheus` has. They are there, at 0, from the moment the workflow
    knows its tasks, and a private provider sends them before the first run makes them more than 0. (Histograms of a
    provider of the application's come with their first value: its instruments know none without.)

    Which meter provider is used: `meter_provider`; else, if no `endpoint` is given, the global one if the application has
    set one; else a private one, which honours the `OTEL_*` variables. The private one is begun with the first run or
    schedule, so a process that only imports a workflow sends nothing, and is the only one that is flushed at the end of a
    run, and shut down. One instance may serve several workflows, and several threads.

    Args:
        service_name: `service.name` of the private provider; default: `OTEL_SERVICE_NAME`, else `dotflow`.
        meter_provider: an SDK provider of the application's own.
        endpoint: base URL for OTLP; default: `OTEL_EXPORTER_OTLP_ENDPOINT`. With none, nothing is sent.
        shutdown_timeout: seconds that a flush, and the end of the program, wait at most for metrics to be sent.
        protocol: `http/protobuf` or `grpc` (extra `otel-grpc`); default: `OTEL_EXPORTER_OTLP_PROTOCOL`, else HTTP.
        buckets: upper bounds, in seconds, of all duration histograms; default: from 5 ms to 6 h.
        max_series: how many workflows, tasks and so on get labels of their own; the rest shares `_overflow`.

    Instances that share a provider of the application's share its series, with the `buckets` and `max_series` of the
    first one.

    Raises:
        InvalidOption: an option that makes no sense, or a provider together with `endpoint`.
        InvalidChoice: a protocol that is not known.
        MissingExtra: (an `ImportError`) `grpc` without the extra `otel-grpc`.
    """

    def __init__(
        self,
        service_name: str | None = None,
        meter_provider: MeterProvider | None = None,
        endpoint: str | None = None,
        shutdown_timeout: float = 2.0,
        *,
        protocol: str | None = None,
        buckets: Iterable[float] | None = None,
        max_series: int = 1000,
    ) -> None:
        check_provider("meter_provider", meter_provider, "MeterProvider")
        check_timeout(shutdown_timeout)
        check_max_series(max_series)
        self._bounds = checked_buckets(buckets)
        if meter_provider is not None and endpoint:
            raise InvalidOption("meter_provider=... exports by itself: leave out endpoint")
        target = metrics_target(endpoint, protocol)
        self._service_name = service_name
        self._given = meter_provider
        self._endpoint = endpoint or None
        self._protocol = protocol
        self._seconds = shutdown_timeout
        self._max_series = max_series
        self._active = ActiveRuns()
        self._runs: set[object] = set()
        self._lock = threading.Lock()
        self._settled: _Settled | None = None
        self._declared: dict[tuple[str, str | None], None] = {}
        self._queued = 0
        self._closed = False
        if target is not None and self._foreign() is None:
            load(target, shutdown_timeout)

    @property
    def provider(self) -> MeterProvider:
        """The meter provider in use; asking for it settles which one that is."""
        return self._begin().pipeline.provider

    def declare(self, workflow: str, tasks: Sequence[str]) -> None:
        """Make the series of a workflow and its tasks, at 0. A private provider has them whenever it is begun."""
        room = 2 * self._max_series - len(self._declared)
        self._declared.update(dict.fromkeys([(workflow, None), *((workflow, task) for task in tasks)][: max(0, room)]))
        if self._begun is not None or self._foreign() is not None:
            _declare(self._begin().series, workflow, tasks)

    def workflow_started(self, workflow_id: str, *, run: Run | None = None, **kwargs: Any) -> None:
        """A run starts. Without `run`, the keywords `run_id` and `name` tell which."""
        name = (run.workflow_name if run else kwargs.get("name")) or workflow_id
        self._closed = False
        settled = self._begin()
        series = settled.series.workflow(name)
        settled.show_zeros(series)
        key = self._active.open(workflow_id, run.run_id if run else kwargs.get("run_id"), name)
        self._runs.add(key)
        series.start(key, _seconds(run.started_ns if run else None))

    def workflow_completed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run ended well after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        key, series = self._close(workflow_id, run)
        series.complete(key, _seconds(run.finished_ns if run else None), duration, _context(run))

    def workflow_failed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run failed after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        key, series = self._close(workflow_id, run)
        series.fail(key, _seconds(run.finished_ns if run else None), duration, _context(run))

    def task_started(self, task: Task) -> None:
        """A task leaves the queue for its first attempt."""
        queued, started = task.queued_ns, task.started_ns
        self._task(task).start(None if queued is None or started is None else (started - queued) / _SECOND_NS)

    def task_completed(self, task: Task) -> None:
        """A task ended well."""
        series = self._task(task)
        series.complete(task.duration, context_of(task.span))
        self._note_recorded(series, task)

    def task_failed(self, task: Task) -> None:
        """A task finally failed."""
        series, context = self._task(task), context_of(task.span)
        series.fail(task.duration, context)
        self._count_error(series, task, context)
        self._note_recorded(series, task)

    def task_retried(self, task: Task) -> None:
        """An attempt failed and another follows."""
        series, context = self._task(task), context_of(task.span)
        series.retry(context)
        self._count_error(series, task, context)
        self._note_recorded(series, task)

    def task_restored(self, task: Task) -> None:
        """A task's result was taken from the storage."""
        self._task(task).restore()

    def task_skipped(self, task: Task) -> None:
        """A task did not run, because of what became of its parents."""
        self._task(task).skip()

    def provider_failed(self, provider: str, method: str) -> None:
        """A provider raised; the engine contained it."""
        if not self._closed:
            self._begin().series.provider_errors(provider, method).add()

    def telemetry_dropped(self, signal: str, count: int) -> None:
        """`count` items of a signal were lost before they were sent."""
        if not self._closed:
            self._begin().series.dropped(signal).add(count)

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        """`count` scheduled runs of a workflow were not made; 0 makes the series of a reason that may come."""
        found = self._begin().series
        series = found.workflow(workflow)
        series.schedule()
        found.skipped(series, reason).add(count)

    def expected_interval(self, workflow: str, seconds: float) -> None:
        """A workflow is scheduled to run every so many seconds."""
        series = self._begin().series.workflow(workflow)
        series.schedule()
        series.expected_interval = seconds

    def schedule_ticked(self, workflow: str, lateness: float) -> None:
        """A scheduled run starts `lateness` seconds after its tick was due."""
        self._closed = False
        settled = self._begin()
        series = settled.series.workflow(workflow)
        series.schedule()
        settled.show_zeros(series)
        series.tick(lateness)

    def background_queued(self, change: int) -> None:
        """So many calls more, or less, wait for the background thread. Never begins a provider: it may come after all."""
        with self._lock:
            self._queued += change
            if self._settled is not None:
                self._settled.series.queue(change)

    def flush(self, timeout: float) -> None:
        """Send what there is by a private provider, within `shutdown_timeout`."""
        if self._settled is not None:
            self._settled.pipeline.flush(min(timeout, self._seconds))

    def take_dropped(self) -> list[Dropped]:
        """The data points that our own exporter could not deliver, and that nothing later has made up for."""
        lost, why = self._settled.pipeline.take_lost() if self._settled is not None else (0, "")
        return [Dropped(_SIGNAL, lost, why)] if lost else []

    def close(self, timeout: float) -> None:
        """Shut the private provider down; one of the application's is left alone. A later run begins a new one.

        As long as another workflow with these metrics has a run, it is only flushed: a new one would not know of that.
        """
        if self._runs:
            self.flush(timeout)
            return
        with self._lock:
            self._closed, settled = True, self._settled
            if settled is not None and settled.pipeline.is_ours:
                self._settled = None
        if settled is not None:
            settled.pipeline.close(min(timeout, self._seconds))

    def _begin(self) -> _Settled:
        """Settle which provider is used, at the first run: the application has had its time to set one up."""
        with self._lock:
            begun = self._begun
            if begun is None:
                try:
                    begun = self._settled = self._settle(self._choose())
                except BaseException:
                    # So that a failure is told once, and not tried again for every task.
                    self._settled = self._settle(idle_pipeline())
                    raise
            return begun

    @property
    def _begun(self) -> _Settled | None:
        """What is settled in this process; a forked child settles anew."""
        settled = self._settled
        return None if settled is None or settled.pipeline.is_forked else settled

    def _settle(self, pipeline: MeterPipeline) -> _Settled:
        series = series_of(pipeline.provider, self._bounds, self._max_series, pipeline.make_histogram)
        for workflow, task in self._declared:
            _declare(series, workflow, () if task is None else (task,))
        series.queue(self._queued)
        return _Settled(pipeline, series)

    def _choose(self) -> MeterPipeline:
        foreign = self._foreign()
        if foreign is not None:
            return MeterPipeline(foreign)
        return private_pipeline(
            service_name=self._service_name,
            target=metrics_target(self._endpoint, self._protocol),
            seconds=self._seconds,
            bounds=self._bounds,
            max_series=self._max_series,
        )

    def _foreign(self) -> MeterProvider | None:
        return self._given or (None if self._endpoint else foreign_provider())

    def _task(self, task: Task) -> TaskSeries:
        settled = self._settled or self._begin()
        return settled.series.task(task.workflow_name or task.workflow_id, task.name)

    def _close(self, workflow_id: str, run: Run | None) -> tuple[object, WorkflowSeries]:
        key, name = self._active.close(workflow_id, run.run_id if run else None)
        self._runs.discard(key)
        return key, self._begin().series.workflow((run.workflow_name if run else name) or workflow_id)

    def _count_error(self, series: TaskSeries, task: Task, context: Context) -> None:
        error = task.error
        settled = self._settled or self._begin()
        settled.series.errors(series, error.exception if error else names.OTHER_ERROR).add(1, context)

    def _note_recorded(self, series: TaskSeries, task: Task) -> None:
        if task.recorded:
            settled = self._settled or self._begin()
            for name, value in task.recorded.items():
                settled.series.recorded(series, name).value = value

    def __repr__(self) -> str:
        endpoint = without_credentials(self._endpoint) if self._endpoint else None
        return f"MetricsOpenTelemetry({endpoint or self._given or 'by the environment'})"


class _Settled(NamedTuple):
    """The provider that is used, and what is measured with it."""

    pipeline: MeterPipeline
    series: Series

    def show_zeros(self, workflow: WorkflowSeries) -> None:
        """Send everything as it is, unless all of this workflow has been sent before."""
        if workflow.take_unseen():
            self.pipeline.send_zeros()


def _declare(series: Series, workflow: str, tasks: Sequence[str]) -> None:
    of_workflow = series.workflow(workflow)
    for task in tasks:
        if not series.has_task(workflow, task):
            series.task(workflow, task)
            of_workflow.has_unseen = True


def _context(run: Run | None) -> Context:
    return context_of(run.span if run else None)


def _seconds(time_ns: int | None) -> float:
    """A Unix time in seconds; now, if there is none."""
    return (time.time_ns() if time_ns is None else time_ns) / _SECOND_NS
