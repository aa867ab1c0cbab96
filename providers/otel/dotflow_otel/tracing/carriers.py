"""Which span is current: taken from headers, from the environment or from the caller, and made so around a step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dotflow.model.current import span_source
from dotflow.model.task import SpanContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext as OtelSpanContext

__all__ = ["TRACEPARENT", "Attached", "Headers", "baggage_of", "callers_context", "extract", "has_span"]

TRACEPARENT = "traceparent"

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_BAGGAGE = W3CBaggagePropagator()
_HEADERS = (TRACEPARENT, "tracestate", "baggage")


class Headers(Mapping[str, str]):
    """The W3C headers that name a span. They are written when they are first read, which may be never.

    `context` is the one in which the span is current, for whoever is in this process; None once the span has ended.
    By hand and not by a propagator, as it is done for every task: https://www.w3.org/TR/trace-context/#traceparent-header

    A task keeps its headers for as long as the run is kept. So the ids are here as plain numbers, and not in the context
    that they came in, of whose objects the garbage collector would have to look at every one again and again.
    """

    __slots__ = ("_flags", "_is_valid", "_span_id", "_trace_id", "_trace_state", "_written", "baggage", "context")

    def __init__(self, ids: OtelSpanContext, context: Context, baggage: Mapping[str, str]) -> None:
        self._trace_id, self._span_id, _, flags, self._trace_state, self._is_valid = ids
        self._flags = int(flags)
        self._written: dict[str, str] | None = None
        self.context: Context | None = context
        self.baggage = baggage

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __bool__(self) -> bool:
        return self._is_valid

    def __reduce__(self) -> tuple[type, tuple[dict[str, str]]]:
        return dict, (self._read(),)

    def __repr__(self) -> str:
        return repr(self._read())

    def _read(self) -> dict[str, str]:
        if self._written is None:
            self._written = self._write()
        return self._written

    def _write(self) -> dict[str, str]:
        if not self._is_valid:
            return {}
        headers = {TRACEPARENT: f"00-{self._trace_id:032x}-{self._span_id:016x}-{self._flags:02x}"}
        if self._trace_state:
            headers["tracestate"] = self._trace_state.to_header()
        headers.update(self.baggage)
        return headers


class Attached:
    """Makes a context current, and takes it back."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = otel_context.attach(self._context)
        span_source.set(_CURRENT)  # not taken back: it tells what is current, which may be nothing

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)


def callers_context() -> Context:
    """The current context; if no span is current in it, with the one that the environment names.

    https://opentelemetry.io/docs/specs/otel/context/env-carriers/
    """
    current = otel_context.get_current()
    if has_span(current):
        return current
    found = {name: os.environ[name.upper()] for name in _HEADERS if name.upper() in os.environ}
    return extract(found, current) if found else current


def extract(carrier: Mapping[str, str], base: Context | None = None) -> Context:
    """The context that W3C headers name."""
    return _BAGGAGE.extract(carrier, _TRACE_CONTEXT.extract(carrier, base))


def baggage_of(context: Context) -> dict[str, str]:
    """The `baggage` header of a context; empty if it has none."""
    headers: dict[str, str] = {}
    _BAGGAGE.inject(headers, context)
    return headers


def has_span(context: Context) -> bool:
    """Whether a span is current in a context."""
    return trace.get_current_span(context).get_span_context().is_valid


class _CurrentSpan:
    """What OpenTelemetry's own context says at the moment."""

    def span(self) -> SpanContext | None:
        ids = trace.get_current_span().get_span_context()
        if not ids.is_valid:
            return None
        return SpanContext(f"{ids.trace_id:032x}", f"{ids.span_id:016x}", ids.trace_flags.sampled)

    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        _TRACE_CONTEXT.inject(headers)
        _BAGGAGE.inject(headers)
        return headers


_CURRENT = _CurrentSpan()
