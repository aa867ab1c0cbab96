"""What is current inside a step. A tracer sets it where it makes a span current, a log reads it at every line."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotflow.model.task import SpanContext

__all__ = ["SpanSource", "carrier", "current_span", "span_source"]


class SpanSource(Protocol):
    """Knows the span that is current at this moment, which may be one that the step has opened itself."""

    def span(self) -> SpanContext | None:
        """Its ids."""

    def headers(self) -> Mapping[str, str]:
        """The W3C headers that name it."""


span_source: ContextVar[SpanSource | None] = ContextVar("dotflow_span_source", default=None)


def current_span() -> SpanContext | None:
    """The span that is current here, or None outside of a step and without a tracer."""
    source = span_source.get()
    return source.span() if source is not None else None


def carrier() -> dict[str, str]:
    """The span that is current here, for a child process: `env={**os.environ, **dotflow.carrier()}`.

    `TRACEPARENT`, and `TRACESTATE` and `BAGGAGE` where there are any; empty outside of a step and without a tracer. A
    workflow that the child starts becomes part of the same trace.
    https://opentelemetry.io/docs/specs/otel/context/env-carriers/
    """
    source = span_source.get()
    return {name.upper(): value for name, value in source.headers().items()} if source is not None else {}
