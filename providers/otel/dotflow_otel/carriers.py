"""Which span is current: taken from headers, from the environment or from the caller, and made so around a step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dotflow.current import span_source
from dotflow.task import SpanContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

__all__ = ["TRACEPARENT", "Attached", "baggage_of", "callers_context", "extract", "has_span"]

TRACEPARENT = "traceparent"

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_BAGGAGE = W3CBaggagePropagator()
_HEADERS = (TRACEPARENT, "tracestate", "baggage")


class Attached:
    """Makes a context current, and takes it back."""

    __slots__ = ("_context", "_source", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = otel_context.attach(self._context)
        self._source = span_source.set(_CURRENT)

    def __exit__(self, *_: object) -> None:
        span_source.reset(self._source)
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
