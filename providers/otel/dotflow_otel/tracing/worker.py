"""The half of TracerOpenTelemetry that goes along to worker processes."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from dotflow.abc.provider import Dropped
from dotflow.abc.worker import WorkerSide
from dotflow.names import spans as names
from dotflow_otel.tracing.carriers import Attached, extract

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from dotflow.abc import Tracer
    from dotflow_otel.tracing.destination import Destination
    from dotflow_otel.tracing.pipeline import Pipeline

__all__ = ["WorkerTracing"]


class WorkerTracing(WorkerSide):
    """Makes the attempt's span, which lives in the coordinator, the current one; exports what the step opens below it.

    The spans of a step need a global tracer provider, so one is set in the worker, unless something there has done it
    already. It costs nothing before the first tracer is asked for.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._is_set_up = False
        self._ours: _LazyProvider | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[WorkerTracing], tuple[Destination]]:
        return WorkerTracing, (self._destination,)

    def attach(self, carried: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Make the span that the headers name current."""
        if not self._is_set_up:
            self._set_up()
        return Attached(extract(carried))

    def provider(self) -> Tracer | None:
        """A tracer on the provider that is global here; None if none is, for then nothing is exported from here."""
        if not self._is_set_up:
            self._set_up()
        if self._ours is not None:
            provider: trace.TracerProvider = self._ours.real
        else:
            provider = trace.get_tracer_provider()
            if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider, _LazyProvider)):
                return None
        # By its name: it needs the SDK, which most workers never load, and it imports this module in turn.
        inner = importlib.import_module("dotflow_otel.tracing.inner")
        made: Tracer = inner.InnerTracer(provider, self, cicd=self._destination.cicd)
        return made

    @property
    def is_buffering(self) -> bool:
        """Whether a span may not have been sent yet."""
        pipeline = self._pipeline()
        return pipeline is not None and pipeline.is_buffering

    def flush(self, timeout: float) -> None:
        """Send the spans that have ended.

        Raises:
            TimeoutError: it takes longer than `timeout` seconds, or than the tracer's `shutdown_timeout`.
        """
        pipeline = self._pipeline()
        if pipeline is not None:
            pipeline.flush(min(timeout, self._destination.seconds))

    def take_dropped(self) -> list[Dropped]:
        """The spans that could not be delivered."""
        pipeline = self._pipeline()
        return [Dropped(names.SIGNAL, items, why) for items, why in pipeline.take_lost()] if pipeline else []

    def _set_up(self) -> None:
        with self._lock:
            if self._is_set_up:
                return
            self._is_set_up = True
            there = self._destination
            try:
                if there.auto_instrumented and not is_auto_instrumented():
                    _instrument()
                if there.set_up is not None:
                    there.set_up()
            finally:
                if (there.target or there.file) and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                    self._ours = _LazyProvider(there)
                    trace.set_tracer_provider(self._ours)

    def _pipeline(self) -> Pipeline | None:
        """What exports here: the provider that is global, if it is a real one, whoever has set it."""
        if self._ours is not None:
            return self._ours.pipeline
        provider = trace.get_tracer_provider()
        if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider, _LazyProvider)):
            return None
        from dotflow_otel.tracing.pipeline import Pipeline

        return Pipeline(provider)


def is_auto_instrumented() -> bool:
    """Whether this program was started by `opentelemetry-instrument`, which works through a `sitecustomize`."""
    module = sys.modules.get("sitecustomize")
    return "auto_instrumentation" in (getattr(module, "__file__", None) or "")


def _instrument() -> None:
    """As `opentelemetry-instrument` does for a program; the processes that this one starts are none of its business."""
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    initialize()


class _LazyProvider(trace.TracerProvider):
    """A tracer provider that is made when the first tracer is asked for: most steps never do."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._lock = threading.Lock()
        self.pipeline: Pipeline | None = None

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """A tracer of the real provider."""
        return self._made().provider.get_tracer(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._made().provider, name)

    @property
    def real(self) -> trace.TracerProvider:
        """The provider that it stands for."""
        return self._made().provider

    def _made(self) -> Pipeline:
        with self._lock:
            if self.pipeline is None:
                from dotflow_otel.tracing.pipeline import worker_pipeline

                self.pipeline = worker_pipeline(self._destination)
            return self.pipeline
