"""Which span is current: as W3C headers on their way, and as ddtrace's context where they arrive.

The headers are written and read by hand, because what ddtrace's own propagator does with them depends on
`DD_TRACE_PROPAGATION_STYLE`, which is about the services that an application talks to.
https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from dotflow.model.current import span_source
from dotflow.model.task import SpanContext
from dotflow_datadog.names import DECISION_MAKER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace.trace import Context, Span, Tracer

__all__ = [
    "BAGGAGE",
    "TRACEPARENT",
    "TRACESTATE",
    "Attached",
    "Current",
    "activate",
    "context_of",
    "environment",
    "headers_of",
    "the_tracer",
]

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"

_OURS = "dd="


class _State(NamedTuple):
    """Datadog's part of a `tracestate`: the sampling priority (-1, 0, 1 or 2; None: not told) and who decided it."""

    priority: int | None = None
    decision: str = ""


def the_tracer() -> Tracer:
    """The tracer of this process: ddtrace has one."""
    from ddtrace.trace import tracer

    return tracer


def headers_of(context: Context) -> dict[str, str]:
    """The W3C headers of a span's context, whose sampling must have been decided."""
    priority = int(context.sampling_priority or 0)
    decision = context._meta.get(DECISION_MAKER)  # noqa: SLF001 - it has no public name, but must travel with the priority
    headers = {
        TRACEPARENT: f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(priority > 0):02x}",
        TRACESTATE: f"{_OURS}s:{priority}" + (f";t.dm:{decision}" if decision else ""),
    }
    if baggage := context.get_all_baggage_items():
        headers[BAGGAGE] = ",".join(f"{quote(str(key))}={quote(str(value))}" for key, value in baggage.items())
    return headers


def context_of(headers: Mapping[str, str]) -> Context | None:
    """The context that W3C headers name; None if they name none."""
    from ddtrace.trace import Context

    ids = SpanContext.of(headers)
    if ids is None:
        return None
    try:
        trace_id, span_id = int(ids.trace_id, 16), int(ids.span_id, 16)
    except ValueError:
        return None
    if not (trace_id and span_id):
        return None
    state = _state_of(headers.get(TRACESTATE, ""))
    priority = int(ids.sampled) if state.priority is None or (state.priority > 0) != ids.sampled else state.priority
    return Context(
        trace_id=trace_id,
        span_id=span_id,
        sampling_priority=priority,
        meta={DECISION_MAKER: state.decision} if state.decision else None,
        baggage=_baggage_of(headers.get(BAGGAGE, "")),
    )


def activate(tracer: Tracer, found: Span | Context | None) -> None:
    """Make it the active one. A context stays so when a span below it has ended, as a span does by itself."""
    if found is not None and hasattr(found, "_reactivate"):
        found._reactivate = True  # noqa: SLF001 - as `ddtrace.trace.Tracer._activate_context` does
    tracer.context_provider.activate(found)


def environment() -> dict[str, str]:
    """The headers that the environment has: https://opentelemetry.io/docs/specs/otel/context/env-carriers/."""
    names = (TRACEPARENT, TRACESTATE, BAGGAGE)
    return {name: os.environ[name.upper()] for name in names if name.upper() in os.environ}


class Attached:
    """Makes a span, or the context of one in another process, the active one of ddtrace, and takes it back."""

    __slots__ = ("_before", "_source", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span | Context | None) -> None:
        self._tracer = tracer
        self._span = span

    def __enter__(self) -> None:
        self._before = self._tracer.context_provider.active()
        activate(self._tracer, self._span)
        self._source = span_source.set(Current(self._tracer))

    def __exit__(self, *_: object) -> None:
        span_source.reset(self._source)
        self._tracer.context_provider.activate(self._before)


class Current:
    """What ddtrace says is active at the moment."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def span(self) -> SpanContext | None:
        """The ids of the active span."""
        found = self._tracer.current_trace_context()
        if found is None or found.trace_id is None or found.span_id is None:
            return None
        return SpanContext(f"{found.trace_id:032x}", f"{found.span_id:016x}", int(found.sampling_priority or 0) > 0)

    def headers(self) -> dict[str, str]:
        """The W3C headers that name it."""
        found = self._tracer.current_trace_context()
        return headers_of(found) if found is not None and found.trace_id and found.span_id else {}


def _state_of(header: str) -> _State:
    for member in header.split(","):
        if member.strip().startswith(_OURS):
            pairs = dict(pair.partition(":")[::2] for pair in member.strip()[len(_OURS) :].split(";"))
            priority = pairs.get("s", "")
            known = re.fullmatch("-?[0-9]{1,3}", priority)
            return _State(int(priority) if known else None, pairs.get("t.dm", ""))
    return _State()


def _baggage_of(header: str) -> dict[str, str] | None:
    """https://www.w3.org/TR/baggage/: `key=value` by commas, percent-encoded; what stands after a `;` is not for us."""
    pairs = (member.partition(";")[0].partition("=") for member in header.split(",") if "=" in member)
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in pairs} or None
