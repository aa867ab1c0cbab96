"""What stands on log records: the names, and values that OTLP can hold.

Where a span has an attribute for the same thing, it is that one (`dotflow.names.spans`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from dotflow.names import logs, spans
from dotflow.toolkit.log_fields import fields_of
from dotflow.toolkit.text import storable
from dotflow_otel.shortened import LINE, MESSAGE, STACKTRACE, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["attributes_of", "attributes_of_ids", "plain", "span_context", "text"]

SIGNAL: Final = "logs"

RUN_STATUS: Final = "dotflow.run.status"
DURATION: Final = "dotflow.duration"
RETRY_IN: Final = "dotflow.retry_in"

# https://opentelemetry.io/docs/specs/semconv/registry/attributes/code/
CODE_FILE_PATH: Final = "code.file.path"
CODE_LINE_NUMBER: Final = "code.line.number"
CODE_STACKTRACE: Final = "code.stacktrace"

_OF_IDS: Final = {
    logs.WORKFLOW: spans.WORKFLOW_NAME,
    logs.WORKFLOW_ID: spans.WORKFLOW_ID,
    logs.RUN_ID: spans.RUN_ID,
    logs.TASK: spans.TASK_NAME,
    logs.TASK_ID: spans.TASK_ID,
    logs.ATTEMPT: spans.ATTEMPT,
}
# https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-logs/
_OF_TASK: Final = {
    **_OF_IDS,
    logs.STATUS: spans.TASK_STATUS,
    logs.DURATION: DURATION,
    logs.RETRY_IN: RETRY_IN,
    logs.ERROR_TYPE: spans.EXCEPTION_TYPE,
    logs.ERROR: spans.EXCEPTION_MESSAGE,
    logs.TRACEBACK: spans.EXCEPTION_STACKTRACE,
}
IDS: Final = frozenset((*_OF_IDS, logs.TRACE_ID, logs.SPAN_ID))
_OF_RUN: Final = {**_OF_IDS, logs.STATUS: RUN_STATUS, logs.DURATION: DURATION}

_MOST: Final = {spans.EXCEPTION_MESSAGE: MESSAGE, spans.EXCEPTION_STACKTRACE: STACKTRACE}
_DEPTH = 5
_INT64 = 1 << 63
_TRACE_ID_DIGITS, _SPAN_ID_DIGITS = 32, 16

Attributes = dict[str, Any]


def attributes_of(task: Task | None, run: Run | None) -> tuple[Attributes, Context]:
    """The fields of a line about a task or a run as attributes, and a context in which its span is the current one."""
    fields = fields_of(task, run)
    names = _OF_TASK if task is not None else _OF_RUN
    found: Attributes = {name: text(fields[field]) for field, name in names.items() if field in fields}
    if logs.ERROR_TYPE in fields:
        found[spans.ERROR_TYPE] = found[spans.EXCEPTION_TYPE]
    for name, most in _MOST.items():
        if name in found:
            found[name] = shortened(found[name], most)
    for name, value in task.recorded.items() if task is not None and logs.RECORDED in fields else ():
        found[spans.RECORDED_PREFIX + name] = value
    if RETRY_IN in found:
        found[RETRY_IN] = float(found[RETRY_IN])  # a backend may hold a name to the type that it had first
    owner = task if task is not None else run
    sampled = owner is not None and owner.span is not None and owner.span.sampled
    return found, span_context(fields, sampled=sampled)


def attributes_of_ids(ids: Mapping[str, Any]) -> Attributes:
    """The ids of the attempt that writes a line."""
    return {name: text(ids[field]) for field, name in _OF_IDS.items() if field in ids}


def span_context(fields: Mapping[str, Any], *, sampled: bool = False) -> Context:
    """A context in which the span that the ids name is current; without a span, it still has the trace."""
    trace_id = _number(fields.get(logs.TRACE_ID), _TRACE_ID_DIGITS)
    span_id = _number(fields.get(logs.SPAN_ID), _SPAN_ID_DIGITS)
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags))
    return trace.set_span_in_context(span, Context())


def text(value: Any) -> Any:
    """The value; if it is text that UTF-8 cannot hold, with what it cannot hold written as an escape."""
    return storable(value) if isinstance(value, str) else value


def plain(value: object) -> Any:
    """The value if OTLP can hold it, else its text. Never raises: one bad value would lose the whole batch."""
    try:
        return _plain(value, _DEPTH)
    except Exception:  # noqa: BLE001 - values are the user's, and may do anything when looked at
        return f"<{type(value).__name__}>"


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return value
    if isinstance(value, str):
        return shortened(text(value), LINE)
    if depth and type(value) in (list, tuple):
        items = [_plain(item, depth - 1) for item in value]
        # Of one type, since the SDK before 1.45, like many a backend, knows no other arrays.
        is_mixed = len({type(item) for item in items if item is not None}) > 1
        return [None if item is None else text(_described(item)) for item in value] if is_mixed else items
    if depth and type(value) is dict:
        return {text(str(key)) or '""': _plain(item, depth - 1) for key, item in value.items()}
    return shortened(text(_described(value)), LINE)


def _described(value: object) -> str:
    with suppress(Exception):
        return str(value)
    return f"<{type(value).__name__}>"


def _number(digits: object, length: int) -> int:
    """An id as a number; 0, which means none, if it is not one: an id that is too large would lose the whole batch."""
    try:
        number = int(str(digits), 16) if len(str(digits)) == length else 0
    except ValueError:
        return 0
    return max(number, 0)
