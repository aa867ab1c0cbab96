"""MetricsPrometheus: the metrics of runs and tasks, for Prometheus to scrape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import make_asgi_app, make_wsgi_app

from dotflow.abc.metrics import Metrics
from dotflow.errors import InvalidOption
from dotflow.model.task import SpanContext
from dotflow.names import metrics as names
from dotflow.toolkit.label_sets import ActiveRuns, check_max_series, checked_buckets
from dotflow_prometheus import options
from dotflow_prometheus.collector import SeriesCollector
from dotflow_prometheus.delivery import Delivery
from dotflow_prometheus.endpoint import Endpoint, PortUnavailable
from dotflow_prometheus.exposition import Exposition
from dotflow_prometheus.pages import OwnRegistry, Page
from dotflow_prometheus.series import Series
from dotflow_prometheus.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import CollectorRegistry

    from dotflow.abc.provider import Dropped
    from dotflow.model.run import Run
    from dotflow.model.task import Task
    from dotflow_prometheus.task_series import TaskSeries
    from dotflow_prometheus.tls import Path
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
        pushgateway: URL of a Pushgateway; at the end of every run the series of its workflow are pushed there, once, to
            the group `{job=..., workflow=...}`. May hold user and password: `https://user:password@host/prefix`.
        pushgateway_auth: user and password, if the URL holds none.
        pushgateway_job: the label `job` of what is pushed.
        pushgateway_timeout: seconds that a push takes at most, and never longer than the engine's flush.
        textfile: write everything to this file at the end of every run, for node_exporter's textfile collector.
        max_series: how many workflows, tasks and so on get labels of their own; the rest shares `_overflow`.
        certfile, keyfile: serve over TLS with this certificate and key (PEM).
        client_cafile, client_capath: who may sign the certificates of clients; a file, a directory as OpenSSL has them.
        client_auth_required: answer only clients that show such a certificate.

    Raises:
        InvalidOption: an option that makes no sense, or a registry that has these series already. Never shows credentials.
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
        pushgateway: str | None = None,
        pushgateway_auth: tuple[str, str] | None = None,
        pushgateway_job: str = "dotflow",
        pushgateway_timeout: float = 2.0,
        textfile: Path | None = None,
        max_series: int = 1000,
        certfile: Path | None = None,
        keyfile: Path | None = None,
        client_cafile: Path | None = None,
        client_capath: Path | None = None,
        client_auth_required: bool = False,
    ) -> None:
        options.check_port(port)
        options.check_host(host)
        check_max_series(max_series)
        options.check_seconds_above_0("pushgateway_timeout", pushgateway_timeout)
        bounds = checked_buckets(buckets)
        self._gateway = options.checked_gateway(pushgateway, pushgateway_auth, pushgateway_job)
        self._textfile = options.checked_textfile(textfile)
        tls = Tls(certfile, keyfile, client_cafile, client_capath, client_auth_required).context()
        if tls is not None and port is None:
            raise InvalidOption("certfile=: nothing is served; say where, with port=")
        self.registry = options.checked_registry(registry)
        self._exemplars = exemplars
        self._series = Series(bounds, max_series)
        self._page = _page(self.registry, self._series, bounds)
        self._active = ActiveRuns()
        self._delivery = Delivery(self.registry, self._gateway, self._textfile, pushgateway_timeout)
        if not self._delivery.has_target and type(self).flush is MetricsPrometheus.flush:
            # The engine starts no thread at the end of a run for a hook that is not overridden.
            self.flush = super().flush  # type: ignore[method-assign]
        collector = SeriesCollector(self._series, bounds)
        _register(self.registry, collector)
        self._endpoint: Endpoint | None = None
        try:
            self._endpoint = Endpoint(host, port, self.wsgi_app(), tls) if port is not None else None
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

    def asgi_app(self) -> Callable[..., Any]:
        """An ASGI application that answers with the metrics, to mount where an application serves already.

        It writes them in the event loop: a millisecond for every thousand series, and ten times that in a `registry=` that was
        given.
        """
        return self._page.asgi_app() if self._page else make_asgi_app(self.registry)

    def wsgi_app(self) -> Callable[..., Any]:
        """A WSGI application that answers with the metrics, to mount where an application serves already."""
        return self._page.wsgi_app() if self._page else make_wsgi_app(self.registry)

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
        self._delivery.note(*series.labels)

    def workflow_failed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run failed after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        key, series = self._close(workflow_id, run)
        series.failed(key, _seconds(run.finished_ns if run else None), duration, self._span(run))
        self._delivery.note(*series.labels)

    def task_started(self, task: Task) -> None:
        """A task leaves the queue for its first attempt."""
        queued, started = task.queued_ns, task.started_ns
        self._task(task).started(None if queued is None or started is None else (started - queued) / _SECOND_NS)

    def task_completed(self, task: Task) -> None:
        """A task ended well."""
        series = self._task(task)
        series.completed(task.duration, self._span(task))
        self._record(series, task)

    def task_failed(self, task: Task) -> None:
        """A task finally failed."""
        series, span = self._task(task), self._span(task)
        series.failed(task.duration, span)
        self._count_error(series, task, span)
        self._record(series, task)

    def task_retried(self, task: Task) -> None:
        """An attempt failed and another follows."""
        series, span = self._task(task), self._span(task)
        series.retried(span)
        self._count_error(series, task, span)
        self._record(series, task)

    def task_restored(self, task: Task) -> None:
        """A task's result was taken from the storage."""
        self._task(task).restored()

    def task_skipped(self, task: Task) -> None:
        """A task did not run, because of what became of its parents."""
        self._task(task).skipped()

    def provider_failed(self, provider: str, method: str) -> None:
        """A provider raised; the engine contained it."""
        self._series.provider_errors(provider, method).add()

    def telemetry_dropped(self, signal: str, count: int) -> None:
        """`count` items of a signal were lost before they were sent."""
        self._series.dropped(signal).add(count)

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        """`count` scheduled runs of a workflow were not made; 0 makes the series of a reason that may come."""
        series = self._series.workflow(workflow)
        series.expect_ticks()
        self._series.skipped(series, reason).add(count)

    def schedule_ticked(self, workflow: str, lateness: float) -> None:
        """A scheduled run starts `lateness` seconds after its tick was due."""
        self._series.workflow(workflow).ticked(lateness)

    def expected_interval(self, workflow: str, seconds: float) -> None:
        """A workflow is scheduled to run every so many seconds."""
        self._series.workflow(workflow).expect_every(seconds)

    def background_queued(self, change: int) -> None:
        """So many calls more, or less, wait for the background thread."""
        self._series.background.change(change)

    def flush(self, timeout: float) -> None:
        """Push and write the textfile, if a run has ended, within `timeout` seconds."""
        self._delivery.flush(timeout)

    def take_dropped(self) -> list[Dropped]:
        """What the gateway or the file did not take."""
        return self._delivery.take_dropped()

    def close(self, timeout: float) -> None:
        """Stop serving and let go of the port within `timeout` seconds. `.registry` keeps its series.

        Raises:
            OSError: the textfile cannot be written a last time.
        """
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close(timeout)
        self._delivery.close()

    def __repr__(self) -> str:
        places = [str(place) for place in (self.url, self._gateway, self._textfile) if place is not None]
        return f"MetricsPrometheus({', '.join(places) or 'not served'})"

    def _task(self, task: Task) -> TaskSeries:
        return self._series.task(task.workflow_name or task.workflow_id, task.name)

    def _close(self, workflow_id: str, run: Run | None) -> tuple[object, WorkflowSeries]:
        key, name = self._active.close(workflow_id, run.run_id if run else None)
        return key, self._series.workflow((run.workflow_name if run else name) or workflow_id)

    def _count_error(self, series: TaskSeries, task: Task, span: SpanContext | None) -> None:
        error = task.error
        self._series.errors(series, error.exception if error else names.OTHER_ERROR).add(1, span)

    def _record(self, series: TaskSeries, task: Task) -> None:
        recorded = task.recorded
        if recorded:
            self._series.record(series, recorded)

    def _span(self, owner: Run | Task | None) -> SpanContext | None:
        """The span for an exemplar; only a sampled one can be found later."""
        span = owner.span if self._exemplars and owner is not None else None
        return span if isinstance(span, SpanContext) and span.sampled else None


def _seconds(time_ns: int | None) -> float:
    """A Unix time in seconds; now, if there is none."""
    return (time.time_ns() if time_ns is None else time_ns) / _SECOND_NS


def _page(registry: CollectorRegistry, series: Series, bounds: tuple[float, ...]) -> Page | None:
    if not isinstance(registry, OwnRegistry):
        return None
    text, openmetrics = (Exposition(series, bounds, openmetrics=openmetrics) for openmetrics in (False, True))
    return Page(registry, text, openmetrics)


def _register(registry: CollectorRegistry, collector: SeriesCollector) -> None:
    try:
        registry.register(collector)
    except ValueError as error:
        raise InvalidOption(
            "this registry has dotflow's series already: share one MetricsPrometheus between the workflows of a"
            " process (Config(metrics=shared)), or give each a registry of its own"
        ) from error
