"""What is current inside a step. A tracer sets it where it makes a span current, a log reads it at every line."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.task import SpanContext

__all__ = ["current_span", "span_source"]

span_source: ContextVar[Callable[[], SpanContext | None] | None] = ContextVar("dotflow_span_source", default=None)
"""Asks the tracer for the span that is current at this moment, which may be one that the step has opened itself."""


def current_span() -> SpanContext | None:
    """The span that is current here, or None outside of a step and without a tracer."""
    source = span_source.get()
    return source() if source is not None else None
