"""MetricsPrometheus: the metrics of runs and tasks, for Prometheus to scrape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from dotflow.abc.metrics import Metrics
from dotflow.errors import InvalidOption
from dotflow.names import metrics as names
from dotflow.task import SpanContext
from dotflow_prometheus import options
from dotflow_prometheus.active import ActiveRuns
from dotflow_prometheus.collector import SeriesCollector
from dotflow_prometheus.endpoint import Endpoint, PortUnavailable
from dotflow_prometheus.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry

    from dotflow.run import Run
    from dotflow.task import Task
    from dotflow_prometheus.task_series import TaskSeries
    from dotflow_prometheus.workflow_series import WorkflowSeries

__all__ = ["MetricsPrometheus"]

# An int: 1e9 would first round the nanoseconds since the epoch to a float, which is off by up to 128 of them.
_SECOND_NS: Final = 1_000_000_000


class MetricsPrometheus(Metrics):
    """Counts and times runs and tasks as `dotflow_*` series; see the table in `dotflow.names.metrics`.

    Every series of a workflow exists, at 0, from the moment the workflow knows its tasks: a counter that is born at 1 is
    invisible to `increase()`. One instance may serve several workflows, and several threads.

    Args:
        registry: where the series are registered; default: a registry of its own, at `.registry`.
        port: serve `/metrics` on this port from now on; 0 picks a free one, at `.port`; default: no server.
        host: the address to serve at. The default is reached from this machine only; the server has no authentication.
        buckets: upper bounds, in seconds, of all duration histograms; default: from 5 ms to 6 h.
        exemplars: put `{trace_id, span_id}` on durations and failures, if a tracer made a sampled span. Prometheus keeps
            them with `--enable-feature=exemplar-storage`:
            https://prometheus.io/docs/prometheus/latest/feature_flags/#exemplars-storage
        max_series: how many workflows, tasks and so on get labels of their own; the rest shares `_overflow`.

    Raises:
        InvalidOption: an option that makes no sense, or a registry that has these series already.
        PortUnavailable: (an `OSError`) the port is taken or the host is not one of this machine.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        buckets: Iterable[float] | None = None,
        exemplars: bool = True,
        max_series: int = 1000,
    ) -> None:
        options.check_port(port)
        options.check_host(host)
        options.check_max_series(max_series)
        bounds = options.checked_buckets(buckets)
        self.registry = options.checked_registry(registry)
        self._exemplars = exemplars
        self._series = Series(bounds, max_series)
        self._active = ActiveRuns()
        collector = SeriesCollector(self._series, bounds)
        _register(self.registry, collector)
        self._endpoint: Endpoint | None = None
        try:
            self._endpoint = Endpoint(host, port, self.registry) if port is not None else None
        except PortUnavailable:
            self.registry.unregister(collector)  # so that another port can be tried with the same registry
            raise

    @property
    def port(self) -> int | None:
        """The port that `/metrics` is served on; None if it is not, or no longer."""
        return self._endpoint.port if self._endpoint else None

    @property
    def url(self) -> str | None:
        """Where `/metrics` is served; None if it is not, or no longer."""
        return self._endpoint.url if self._endpoint else None

    def declare(self, workflow: str, tasks: Sequence[str]) -> None:
        """Make the series of a workflow and its tasks, at 0."""
        self._series.workflow(workflow)
        for task in tasks:
            self._series.task(workflow, task)

    def workflow_started(self, workflow_id: str, *, run: Run | None = None, **kwargs: Any) -> None:
        """A run starts. Without `run`, the keywords `run_id` and `name` tell which."""
        name = (run.workflow_name if run else kwargs.get("name")) or workflow_id
        key = self._active.open(workflow_id, run.run_id if run else kwargs.get("run_id"), name)
        self._series.workflow(name).started(key, _seconds(run.started_ns if run else None))

    def workflow_completed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run ended well after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        key, series = self._close(workflow_id, run)
        series.completed(key, _seconds(run.finished_ns if run else None), duration, self._span(run))

    def workflow_failed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run failed after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        key, series = self._close(workflow_id, run)
        series.failed(key, _seconds(run.finished_ns if run else None), duration, self._span(run))

    def task_started(self, task: Task) -> None:
        """A task leaves the queue for its first attempt."""
        queued, started = task.queued_ns, task.started_ns
        self._task(task).started(None if queued is None or started is None else (started - queued) / _SECOND_NS)

    def task_completed(self, task: Task) -> None:
        """A task ended well."""
        self._task(task).completed(task.duration, self._span(task))

    def task_failed(self, task: Task) -> None:
        """A task finally failed."""
        series, span = self._task(task), self._span(task)
        series.failed(task.duration, span)
        self._count_error(series, task, span)

    def task_retried(self, task: Task) -> None:
        """An attempt failed and another follows."""
        series, span = self._task(task), self._span(task)
        series.retried(span)
        self._count_error(series, task, span)

    def task_restored(self, task: Task) -> None:
        """A task's result was taken from the storage."""
        self._task(task).restored()

    def provider_failed(self, provider: str, method: str) -> None:
        """A provider raised; the engine contained it."""
        self._series.provider_errors(provider, method).add()

    def telemetry_dropped(self, signal: str, count: int) -> None:
        """`count` items of a signal were lost before they were sent."""
        self._series.dropped(signal).add(count)

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        """`count` scheduled runs of a workflow were not made; 0 makes the series of a reason that may come."""
        self._series.skipped(workflow, reason).add(count)

    def expected_interval(self, workflow: str, seconds: float) -> None:
        """A workflow is scheduled to run every so many seconds."""
        self._series.workflow(workflow).expect_every(seconds)

    def close(self, timeout: float) -> None:
        """Stop serving and let go of the port within `timeout` seconds. `.registry` keeps its series."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close(timeout)

    def __repr__(self) -> str:
        return f"MetricsPrometheus({self.url or 'not served'})"

    def _task(self, task: Task) -> TaskSeries:
        return self._series.task(task.workflow_name or task.workflow_id, task.name)

    def _close(self, workflow_id: str, run: Run | None) -> tuple[object, WorkflowSeries]:
        key, name = self._active.close(workflow_id, run.run_id if run else None)
        return key, self._series.workflow((run.workflow_name if run else name) or workflow_id)

    def _count_error(self, series: TaskSeries, task: Task, span: SpanContext | None) -> None:
        error = task.error
        self._series.errors(series, error.exception if error else names.OTHER_ERROR).add(1, span)

    def _span(self, owner: Run | Task | None) -> SpanContext | None:
        """The span for an exemplar; only a sampled one can be found later."""
        span = owner.span if self._exemplars and owner is not None else None
        return span if isinstance(span, SpanContext) and span.sampled else None


def _seconds(time_ns: int | None) -> float:
    """A Unix time in seconds; now, if there is none."""
    return (time.time_ns() if time_ns is None else time_ns) / _SECOND_NS


def _register(registry: CollectorRegistry, collector: SeriesCollector) -> None:
    try:
        registry.register(collector)
    except ValueError as error:
        raise InvalidOption(
            "this registry has dotflow's series already: share one MetricsPrometheus between the workflows of a"
            " process (Config(metrics=shared)), or give each a registry of its own"
        ) from error
