"""LogOpenTelemetry: everything that happens, and what steps log, as OpenTelemetry's log records."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from dotflow.abc import Log
from dotflow.abc.provider import Dropped
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.names import logs, spans
from dotflow_otel.logs import attributes as names
from dotflow_otel.logs.capture import OfStep, Tap, severity_of
from dotflow_otel.logs.pipeline import LogDestination, LogPipeline, foreign_pipeline, log_target, private_pipeline
from dotflow_otel.logs.worker import WorkerLogs
from dotflow_otel.options import check_provider, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry._logs import LoggerProvider

    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["LogOpenTelemetry"]

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SEVERITY_TEXTS = {logging.DEBUG: "DEBUG", logging.INFO: "INFO", logging.WARNING: "WARN", logging.ERROR: "ERROR"}
_ENDS = frozenset(
    (logs.TASK_COMPLETED, logs.TASK_FAILED, logs.TASK_RESTORED, logs.WORKFLOW_COMPLETED, logs.WORKFLOW_FAILED)
)


class LogOpenTelemetry(Log):
    """Makes a log record of every event, in the span that it is about, and sends it over OTLP.

    Which logger provider is used: `logger_provider`; else, if no `endpoint` is given, the global one if the application
    has set one; else a private one, which honours the `OTEL_*` variables. Only the private one is shut down. What cannot
    be sent by the end of a run is counted in `Run.dropped`, and not sent later.

    The lines that a step writes itself with stdlib `logging` become records too, with the ids of the attempt and in the
    span that is current where they are written. Where the application has configured `logging`, its levels decide which
    lines that are. Where it has OpenTelemetry's own handler there and its own provider here, they are left to those.
    Threads that a step starts are not known as its own before Python 3.14.

    Args:
        service_name: `service.name` of the private provider; default: `OTEL_SERVICE_NAME`, else `dotflow`.
        logger_provider: an SDK provider of the application's own.
        endpoint: base URL for OTLP; default: `OTEL_EXPORTER_OTLP_ENDPOINT`. With none, nothing is recorded.
        level: the lowest level that is recorded.
        shutdown_timeout: seconds that a flush, and the end of the program, wait at most for records to be sent.
        protocol: `http/protobuf` or `grpc` (extra `otel-grpc`); default: `OTEL_EXPORTER_OTLP_PROTOCOL`, else HTTP.
        capture: whether the lines that steps write are recorded.
        worker_provider: makes the logger provider of a worker process, for the lines that steps write there. Needed where
            the application's own provider is used and the environment does not say where it sends to.

    Raises:
        InvalidOption: an option that makes no sense, or a provider together with `endpoint`.
        InvalidChoice: a level or a protocol that is not known.
    """

    def __init__(
        self,
        service_name: str | None = None,
        logger_provider: LoggerProvider | None = None,
        endpoint: str | None = None,
        level: str = "INFO",
        shutdown_timeout: float = 2.0,
        *,
        protocol: str | None = None,
        capture: bool = True,
        worker_provider: Callable[[], LoggerProvider] | None = None,
    ) -> None:
        if worker_provider is not None and not callable(worker_provider):
            raise InvalidOption(f"worker_provider={worker_provider!r}: a function that makes a LoggerProvider")
        if logger_provider is not None and endpoint:
            raise InvalidOption("logger_provider=... exports by itself: leave out endpoint")
        check_provider("logger_provider", logger_provider, "LoggerProvider")
        check_timeout(shutdown_timeout)
        if str(level).upper() not in _LEVELS:
            raise InvalidChoice("level", str(level).upper(), _LEVELS)
        if log_target(endpoint, protocol) is not None:
            # Now, because it starts threads when it is imported, and a run in the background may begin when there are none.
            importlib.import_module("opentelemetry.sdk._logs")
        self._service_name = service_name
        self._given = logger_provider
        self._endpoint = endpoint or None
        self._level: int = logging.getLevelName(str(level).upper())
        self._seconds = shutdown_timeout
        self._protocol = protocol
        self._capture = capture
        self._worker_provider = worker_provider
        self._lock = threading.Lock()
        self._pipeline: LogPipeline | None = None
        self._lost: list[tuple[int, str]] = []
        self._runs: set[str] = set()
        self._tap = Tap(self._level, self._begin)

    @property
    def provider(self) -> LoggerProvider:
        """The logger provider in use; asking for it settles which one that is."""
        return self._begin().provider

    def info(self, **kwargs: Any) -> None:
        """Record at INFO."""
        self._record(logging.INFO, **kwargs)

    def error(self, **kwargs: Any) -> None:
        """Record at ERROR."""
        self._record(logging.ERROR, **kwargs)

    def warning(self, **kwargs: Any) -> None:
        """Record at WARN."""
        self._record(logging.WARNING, **kwargs)

    def debug(self, **kwargs: Any) -> None:
        """Record at DEBUG."""
        self._record(logging.DEBUG, **kwargs)

    def attach(self, ids: Mapping[str, str | int]) -> AbstractContextManager[None]:
        """Put the ids on the lines that the step writes."""
        return OfStep(self._tap, ids) if self._capture else nullcontext()

    def for_worker(self) -> WorkerLogs | None:
        """Where the lines go that steps write in worker processes."""
        target = log_target(self._endpoint, self._protocol)
        if not self._capture or (target is None and self._worker_provider is None):
            return None
        resource = self._begin().resource
        return WorkerLogs(LogDestination(resource, self._level, target, self._seconds, self._worker_provider))

    def flush(self, timeout: float) -> None:
        """Send what is buffered, within `shutdown_timeout`."""
        if self._pipeline is not None:
            self._pipeline.flush(timeout, self._seconds)

    def take_dropped(self) -> list[Dropped]:
        """The records that our own exporter could not deliver, and the lines that could not be recorded."""
        lost, self._lost = self._lost + self._tap.take_lost(), []
        lost += self._pipeline.take_lost() if self._pipeline is not None else []
        return [Dropped(names.SIGNAL, items, why) for items, why in lost]

    def close(self, timeout: float) -> None:
        """Leave `logging` as it was found, and shut the private provider down; one of the application's is left alone.

        A later run begins a new one. As long as another workflow with this log has a run, it is only flushed.
        """
        if self._runs:
            self.flush(timeout)
            return
        self._tap.close()
        if self._pipeline is not None:
            self._pipeline.close(timeout, self._seconds)

    def _record(self, level: int, event: str = "", task: Task | None = None, run: Run | None = None) -> None:
        self._follow(event, run)
        if level < self._level:
            return
        pipeline = self._begin()
        if pipeline.is_idle:
            return
        attributes, context = names.attributes_of(task, run)
        pipeline.logger(spans.SCOPE).emit(
            timestamp=_time_of(event, task, run),
            context=context,
            severity_number=severity_of(level),
            severity_text=_SEVERITY_TEXTS[level],
            body=event,
            attributes=attributes,
            event_name=event,
        )

    def _follow(self, event: str, run: Run | None) -> None:
        """Begin with a run, and know which ones have not ended."""
        if run is None:
            return
        if event == logs.WORKFLOW_STARTED:
            self._begin(anew=True)
            self._runs.add(run.run_id)
            self._look_at_logging()
        elif event in _ENDS:
            self._runs.discard(run.run_id)

    def _begin(self, *, anew: bool = False) -> LogPipeline:
        """Settle which provider is used, at the first run: the application has had its time to set one up.

        `anew`: one that has been closed will not do.
        """
        found = self._pipeline
        if found is not None and not (anew and found.is_closed):
            return found
        with self._lock:
            if self._pipeline is None or (anew and self._pipeline.is_closed):
                self._lost += self._pipeline.take_lost() if self._pipeline is not None else []
                self._pipeline = self._choose()
            return self._pipeline

    def _choose(self) -> LogPipeline:
        found = None if self._endpoint else foreign_pipeline(self._given)
        target = log_target(self._endpoint, self._protocol)
        return found or private_pipeline(self._service_name, target, self._seconds)

    def _look_at_logging(self) -> None:
        """Take up the lines of steps: at the start of a run, when the application has had its time to configure `logging`."""
        if not self._capture or self._begin().is_idle:
            return
        handlers = logging.getLogger().handlers
        if self._begin().is_ours or not any(type(h).__module__.startswith("opentelemetry.") for h in handlers):
            self._tap.open()


def _time_of(event: str, task: Task | None, run: Run | None) -> int:
    """When it happened, nanoseconds since the epoch: as the engine has written it down, else now."""
    found: int | None = None
    if event == logs.TASK_RETRYING and task is not None and task.outcome is not None:
        found = task.outcome.started_ns + task.outcome.duration_ns
    elif event in (logs.TASK_STARTED, logs.WORKFLOW_STARTED):
        found = getattr(task or run, "started_ns", None)
    elif event in _ENDS:
        found = getattr(task or run, "finished_ns", None)
    return found or time.time_ns()
