"""Exemplars: the context of a measurement, in which the span that it came from is current."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, TraceFlags, set_span_in_context
from opentelemetry.trace import SpanContext as OtelSpanContext

from dotflow.model.task import SpanContext

__all__ = ["NO_SPAN", "context_of"]

# Without a context, and with an empty one, the SDK would take the caller's, and with it a span that is not ours.
NO_SPAN: Final = Context({"dotflow": "no span"})

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


def context_of(span: object) -> Context:
    """The context for what was measured in this span (`Task.span`, `Run.span`).

    Only a sampled span is put in, because only one that is stored can be found later; the SDK's filter, `trace_based`
    unless `OTEL_METRICS_EXEMPLAR_FILTER` says otherwise, makes an exemplar of it.
    """
    if not isinstance(span, SpanContext) or not span.sampled:
        return NO_SPAN
    try:
        ids = OtelSpanContext(int(span.trace_id, 16), int(span.span_id, 16), is_remote=False, trace_flags=_SAMPLED)
    except ValueError:
        return NO_SPAN
    return set_span_in_context(NonRecordingSpan(ids), NO_SPAN) if ids.is_valid else NO_SPAN
