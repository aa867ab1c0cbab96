"""The half of LogOpenTelemetry that goes along to worker processes."""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Dropped
from dotflow.abc.worker import WorkerSide
from dotflow_otel.logs import attributes as names
from dotflow_otel.logs.capture import OfStep, Tap
from dotflow_otel.logs.pipeline import LogDestination, LogPipeline, worker_pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from dotflow.abc import Log

__all__ = ["WorkerLogs"]


class WorkerLogs(WorkerSide):
    """Sends the lines that steps write in this process, with the ids of the attempt and in its span."""

    def __init__(self, destination: LogDestination) -> None:
        self._destination = destination
        self._tap: Tap | None = None
        self._pipeline: LogPipeline | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[WorkerLogs], tuple[LogDestination]]:
        return WorkerLogs, (self._destination,)

    def attach(self, carried: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Put the ids on the lines that the step writes."""
        with self._lock:
            if self._tap is None:
                self._tap = Tap(self._destination.level, self._begin)
        self._tap.open()
        return OfStep(self._tap, carried)

    def provider(self) -> Log:
        """A log on the provider that is used here."""
        inner = importlib.import_module("dotflow_otel.logs.inner")  # by its name: it imports this module in turn
        made: Log = inner.InnerLog(self._begin().provider, self, self._destination.level)
        return made

    @property
    def is_buffering(self) -> bool:
        """Whether a line may not have been sent yet."""
        return self._pipeline is not None and self._pipeline.is_buffering

    def flush(self, timeout: float) -> None:
        """Send the lines that have been written; what our own exporter cannot send in time is given up.

        Raises:
            TimeoutError: the provider that the application made takes longer than `timeout` seconds, or than the log's
                `shutdown_timeout`.
        """
        if self._pipeline is not None:
            self._pipeline.flush(timeout, self._destination.seconds)

    def take_dropped(self) -> list[Dropped]:
        """The lines that were lost."""
        lost = self._tap.take_lost() if self._tap is not None else []
        lost += self._pipeline.take_lost() if self._pipeline is not None else []
        return [Dropped(names.SIGNAL, items, why) for items, why in lost]

    def _begin(self) -> LogPipeline:
        with self._lock:
            if self._pipeline is None:
                self._pipeline = worker_pipeline(self._destination)
            return self._pipeline
