"""The tracer of the runs that a step starts in a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.abc.hooks import does_nothing
from dotflow_otel.tracing.tracer import TracerOpenTelemetry

if TYPE_CHECKING:
    from opentelemetry import trace

    from dotflow.abc.provider import Dropped
    from dotflow_otel.tracing.worker import WorkerTracing

__all__ = ["InnerTracer"]


@does_nothing
class _Unowned(TracerOpenTelemetry):
    """What it buffers is sent, and what is lost is told, by the half of the outer run's tracer that is here."""

    def flush(self, timeout: float) -> None:
        """Do nothing."""

    def take_dropped(self) -> list[Dropped]:
        """Do nothing."""
        return []

    def close(self, timeout: float) -> None:
        """Do nothing."""


class InnerTracer(_Unowned):
    """As `TracerOpenTelemetry`, on a provider of the worker's."""

    def __init__(self, provider: trace.TracerProvider, side: WorkerTracing, *, cicd: bool) -> None:
        super().__init__(tracer_provider=provider, cicd=cicd)
        self._side = side

    def for_worker(self) -> WorkerTracing:
        """The workers of an inner run send to where this one does."""
        return self._side
