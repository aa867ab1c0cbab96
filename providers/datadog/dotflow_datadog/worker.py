"""The half of TracerDatadog that goes along to worker processes."""

from __future__ import annotations

import importlib
import sys
import threading
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.abc.provider import Dropped
from dotflow.abc.worker import WorkerSide
from dotflow.model.current import span_source
from dotflow.model.task import SpanContext
from dotflow.names import spans as names
from dotflow_datadog.carriers import BAGGAGE, TRACEPARENT, TRACESTATE, Current, activate, context_of, the_tracer
from dotflow_datadog.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["Origin", "WorkerTracing"]

_LIBRARY = "ddtrace"
_carried: ContextVar[Mapping[str, str] | None] = ContextVar("dotflow_datadog_carried", default=None)


class Origin(NamedTuple):
    """What the worker's ddtrace is told of the coordinator's.

    `service`, `env` and `version` are as they are there, whoever has set them. `is_auto` says that the program has imported
    `ddtrace.auto` (under `ddtrace-run` a worker is instrumented anyhow); `set_up` is called once, after all of that.
    """

    service: str | None = None
    env: str | None = None
    version: str | None = None
    seconds: float = 2.0
    is_auto: bool = False
    set_up: Callable[[], object] | None = None


class WorkerTracing(WorkerSide):
    """Makes the attempt's span, which lives in the coordinator, the parent of what the step opens.

    ddtrace takes 0.3 s to import, so that is left to the step: it is told of the span when it has been imported.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._is_set_up = False
        self._lock = threading.Lock()
        self._delivery: Delivery | None = None

    def __reduce__(self) -> tuple[type[WorkerTracing], tuple[Origin]]:
        return WorkerTracing, (self._origin,)

    def attach(self, carried: Mapping[str, Any]) -> _AttachedThere:
        """Make the span that the headers name the active one."""
        if not self._is_set_up:
            self._set_up()
        return _AttachedThere(carried, self)

    @property
    def is_buffering(self) -> bool:
        """Whether a step has used ddtrace here, so that there may be something to send."""
        return self._delivery is not None

    def flush(self, timeout: float) -> None:
        """Send the spans that have ended, within `timeout` seconds, or the tracer's `shutdown_timeout`."""
        if self._delivery is not None:
            self._delivery.flush(the_tracer(), min(timeout, self._origin.seconds))

    def take_dropped(self) -> Sequence[Dropped]:
        """What could not be sent: at least so many spans."""
        lost = self._delivery.take_lost() if self._delivery is not None else []
        return [Dropped(names.SIGNAL, items, why) for items, why in lost]

    @property
    def is_loaded(self) -> bool:
        """Whether ddtrace is there."""
        return self._delivery is not None

    def _set_up(self) -> None:
        with self._lock:
            if self._is_set_up:
                return
            self._is_set_up = True
            if _LIBRARY in sys.modules:
                self._loaded()
            else:
                sys.meta_path.insert(0, _WhenLoaded(self._loaded))
            if self._origin.is_auto:
                importlib.import_module("ddtrace.auto")
            if self._origin.set_up is not None:
                self._origin.set_up()

    def _loaded(self) -> None:
        """The library has been imported: by this attempt, so its span is made active here, or before it."""
        import ddtrace

        for name in ("service", "env", "version"):
            value = getattr(self._origin, name)
            if value is not None:
                setattr(ddtrace.config, name, value)
        delivery = Delivery()
        delivery.begin()
        self._delivery = delivery
        headers = _carried.get()
        if headers is not None:
            activate(the_tracer(), context_of(headers))


class _AttachedThere:
    """Makes headers current, for ddtrace if it is loaded, or as soon as it is."""

    __slots__ = ("_before", "_carried", "_side", "_source", "_token")

    def __init__(self, carried: Mapping[str, str], side: WorkerTracing) -> None:
        self._carried = carried
        self._side = side

    def __enter__(self) -> None:
        self._token = _carried.set(self._carried)
        self._source = span_source.set(_CurrentThere(self._carried, self._side))
        self._before = None
        if self._side.is_loaded:
            tracer = the_tracer()
            self._before = tracer.context_provider.active()
            activate(tracer, context_of(self._carried))

    def __exit__(self, *_: object) -> None:
        if self._side.is_loaded:
            the_tracer().context_provider.activate(self._before)
        span_source.reset(self._source)
        _carried.reset(self._token)


class _CurrentThere:
    """What ddtrace says is active, or the headers as long as it is not there."""

    def __init__(self, carried: Mapping[str, str], side: WorkerTracing) -> None:
        self._carried = carried
        self._side = side

    def span(self) -> SpanContext | None:
        return Current(the_tracer()).span() if self._side.is_loaded else SpanContext.of(self._carried)

    def headers(self) -> dict[str, str]:
        if self._side.is_loaded:
            return Current(the_tracer()).headers()
        return {name: self._carried[name] for name in (TRACEPARENT, TRACESTATE, BAGGAGE) if name in self._carried}


class _WhenLoaded(MetaPathFinder):
    """Calls a function once, when ddtrace has been imported, in the thread that imports it."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if fullname != _LIBRARY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self._followed(spec.loader.exec_module)  # type: ignore[method-assign,assignment]
        return spec

    def _followed(self, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def run(module: ModuleType) -> None:
            execute(module)
            self._then()

        return run
