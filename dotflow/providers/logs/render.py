"""From the fields of a line to its bytes. A value that cannot be written never loses the line."""

from __future__ import annotations

import json
from typing import Any

import structlog

from dotflow.names import logs

try:
    import orjson
except ImportError:  # other Pythons than CPython go without: the stdlib's json does the same, slower
    orjson = None  # type: ignore[assignment]

__all__ = ["ConsoleLine", "JsonLine"]

_FIRST = (logs.TIMESTAMP, logs.LEVEL, logs.EVENT)
_IDS = (
    *(logs.LOGGER_NAME, logs.WORKFLOW, logs.WORKFLOW_ID, logs.RUN_ID, logs.TASK, logs.TASK_ID),
    *(logs.ATTEMPT, logs.TRACE_ID, logs.SPAN_ID),
)
# What a person at a terminal does not need on every line.
_QUIET = (logs.WORKFLOW_ID, logs.SPAN_ID, logs.TRACEBACK)


class JsonLine:
    """Renders a line as one JSON object: timestamp, level and event first.

    `tidy`: the ids next, in a fixed order; for lines whose fields come in any.
    """

    def __init__(self, *, tidy: bool = False) -> None:
        self._first = (*_FIRST, *_IDS) if tidy else _FIRST

    def __call__(self, logger: object, method: str, fields: Any) -> bytes:
        """The line's bytes, without the newline."""
        del logger, method
        if "exception" in fields:
            fields[logs.TRACEBACK] = fields.pop("exception")
        ordered = {name: fields.pop(name) for name in self._first if name in fields}
        ordered.update(fields)
        return _dump(ordered)


class ConsoleLine:
    """Renders a line for a person: colours on a terminal, no ids that only machines read, a traceback without locals."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )

    def __call__(self, logger: Any, method: str, fields: Any) -> bytes:
        """The line's bytes, without the newline."""
        if fields.get(logs.EVENT) == logs.TASK_FAILED and logs.TRACEBACK in fields:
            fields["exception"] = fields[logs.TRACEBACK].rstrip()
        for name in _QUIET:
            fields.pop(name, None)
        for name, same in ((logs.TASK_ID, logs.TASK), (logs.TRACE_ID, logs.RUN_ID)):
            if fields.get(name) == fields.get(same):
                fields.pop(name, None)
        return self._render(logger, method, fields).encode("utf-8", "backslashreplace")


def _dump(fields: dict[str, Any]) -> bytes:
    if orjson is not None:
        try:
            return orjson.dumps(fields, default=_describe, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # an int beyond 64 bits, a lone surrogate, a cycle: the slower writer knows some of them
            pass
    try:
        return json.dumps(fields, default=_describe, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        return json.dumps({name: _describe(value) for name, value in fields.items()}, separators=(",", ":")).encode()


def _describe(value: object) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<{type(value).__name__}>"
