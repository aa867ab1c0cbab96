"""The log of the runs that a step starts in a worker process."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING

from dotflow.abc.hooks import does_nothing
from dotflow_otel.logs.provider import LogOpenTelemetry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from opentelemetry._logs import LoggerProvider

    from dotflow.abc.provider import Dropped
    from dotflow_otel.logs.worker import WorkerLogs

__all__ = ["InnerLog"]


@does_nothing
class _Unowned(LogOpenTelemetry):
    """What it buffers is sent, and what is lost is told, by the half of the outer run's log that is here."""

    def flush(self, timeout: float) -> None:
        """Do nothing."""

    def take_dropped(self) -> list[Dropped]:
        """Do nothing."""
        return []

    def close(self, timeout: float) -> None:
        """Do nothing."""


class InnerLog(_Unowned):
    """As `LogOpenTelemetry`, on a provider of the worker's; the lines of steps are taken up by the worker's half."""

    def __init__(self, provider: LoggerProvider, side: WorkerLogs, level: int) -> None:
        super().__init__(logger_provider=provider, level=logging.getLevelName(level), capture=False)
        self._side = side

    def attach(self, ids: Mapping[str, str | int]) -> AbstractContextManager[None]:
        """Put the ids on the lines that the step writes."""
        return self._side.attach(ids) if ids else nullcontext()

    def for_worker(self) -> WorkerLogs:
        """The workers of an inner run send to where this one does."""
        return self._side
