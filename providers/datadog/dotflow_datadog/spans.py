"""A span of ddtrace that is open, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dotflow.toolkit.text import shorten
from dotflow_datadog import names
from dotflow_datadog.carriers import headers_of

if TYPE_CHECKING:
    from ddtrace.trace import Span, Tracer

    from dotflow.model.outcome import TaskError

__all__ = ["OpenSpan", "end_strays", "mark_failed", "on_grid"]

_SECOND_NS = 1e9
_LONGEST = 25_000  # characters of a tag; ddtrace cuts what is longer down to a tenth, and at the wrong end


class OpenSpan:
    """A span that is open, and the W3C headers that name it.

    `headers` is always the same object, so whoever asks twice can see that nothing has changed. Of `root`, the span
    of the run, `spans` counts how many there are, and `has_strays` says that a step was given up, which may leave more open;
    `marks` are the spans of tasks that did not run.
    """

    __slots__ = ("has_strays", "headers", "marks", "root", "span", "span_id", "spans")

    def __init__(self, span: Span, parent: OpenSpan | None = None) -> None:
        self.span = span
        self.span_id = f"{span.span_id:016x}"
        self.headers = headers_of(span.context)
        self.has_strays = False
        self.spans = 0
        self.marks: dict[str, Span] = {}
        self.root: OpenSpan = parent.root if parent else self
        self.root.spans += 1

    def end(self, end_ns: int | None) -> None:
        """End it at a time in nanoseconds since the epoch; now, if there is none."""
        self.span.finish(None if end_ns is None else end_ns / _SECOND_NS)


def on_grid(time_ns: int) -> int:
    """The time as ddtrace would have it, which takes ends as seconds and so has them to a quarter of a microsecond only.

    With starts cut in the same way, whatever was in order stays in order.
    """
    return int(time_ns / _SECOND_NS * _SECOND_NS)


def mark_failed(span: Span, error: TaskError, *, with_stack: bool) -> None:
    """Make the span an error: https://docs.datadoghq.com/tracing/error_tracking/."""
    span.error = 1
    span.set_tag(names.ERROR_TYPE, error.exception)
    span.set_tag(names.ERROR_MESSAGE, shorten(error.message, _LONGEST))
    if with_stack:
        span.set_tag(names.ERROR_STACK, shorten(error.traceback, _LONGEST, keep_end=True))


def end_strays(tracer: Tracer, above: Span, end_ns: int | None) -> None:
    """End the spans below `above` that a step which was given up still has open: it may never come to that.

    ddtrace holds a trace back until all its spans have ended, and throws it away if they have not when the program ends.
    Which ones are open it tells nobody; should it keep them elsewhere one day, it is as with any ddtrace program.
    """
    traces: Any = getattr(getattr(tracer, "_span_aggregator", None), "_traces", {})
    trace = traces.get(above.trace_id)
    spans: list[Span] = list(getattr(trace, "spans", ()))
    below = {above.span_id}
    for span in spans:  # in the order they were opened, so a parent comes before its children
        if span.parent_id in below:
            below.add(span.span_id)
    for span in reversed(spans):
        if span.span_id in below and span is not above and not span.finished:
            span.finish(None if end_ns is None else max(span.start_ns, end_ns) / _SECOND_NS)
