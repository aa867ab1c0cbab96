"""The lines that steps write with stdlib `logging`, taken up as log records."""

from __future__ import annotations

import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from dotflow.model.current import current_span
from dotflow.model.outcome import ErrorInfo
from dotflow.names import logs, spans
from dotflow_otel.logs import attributes as names
from dotflow_otel.shortened import LINE, MESSAGE, STACKTRACE, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context

    from dotflow_otel.logs.pipeline import LogPipeline

__all__ = ["OfStep", "Tap", "severity_of"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", logs.LOGGER}
# What exporters are made of.
_PLUMBING = frozenset({"opentelemetry", "urllib3", "requests", "grpc", "http"})
# As the SDK's own handler names them: https://opentelemetry.io/docs/specs/otel/logs/data-model/#displaying-severity
_SEVERITY_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}

_writing = threading.local()


class OfStep:
    """Makes a step's lines known as its own, from here to the end of the attempt's own `contextvars` context."""

    __slots__ = ("_attributes", "_ids", "_without_span", "tap")

    def __init__(self, tap: Tap, ids: Mapping[str, Any]) -> None:
        self.tap = tap
        self._ids = ids
        self._attributes: dict[str, Any] | None = None
        self._without_span: Context | None = None

    def __enter__(self) -> None:
        _current.set(self)

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The ids of the attempt."""
        if self._attributes is None:
            self._attributes = names.attributes_of_ids(self._ids)
        return self._attributes

    def context(self) -> Context:
        """A context in which the span is current that is current now; where no tracer knows of one, the run's trace."""
        if trace.get_current_span().get_span_context().is_valid:
            return otel_context.get_current()
        span = current_span()  # of a tracer that is not OpenTelemetry's
        if span is None:
            self._without_span = self._without_span or names.span_context(self._ids)
            return self._without_span
        return names.span_context({logs.TRACE_ID: span.trace_id, logs.SPAN_ID: span.span_id}, sampled=span.sampled)

    def added(self, name: str, value: object) -> bool:
        """Whether a filter (LogStructlog's `RunIds`) has put this on the record, and not the user."""
        if name not in names.IDS:
            return False
        span = current_span()
        now = {logs.TRACE_ID: span.trace_id, logs.SPAN_ID: span.span_id} if span is not None else {}
        return value in ("", now.get(name), self._ids.get(name))


_current: contextvars.ContextVar[OfStep | None] = contextvars.ContextVar("dotflow_otel_log_step", default=None)


class Tap(logging.Handler):
    """A handler of the root logger that records what steps write; what anybody else writes is none of its business.

    Where nobody has configured `logging`, its level is lowered to that of the log, and warnings still go to standard
    error as they would without a handler. Where somebody has, both stay as they are.
    """

    def __init__(self, level: int, begin: Callable[[], LogPipeline]) -> None:
        super().__init__(level)
        self._begin = begin
        self._lock = threading.Lock()
        self._lost = 0
        self._why = ""
        self._found: int | None = None

    def open(self) -> None:
        """Listen, if it does not yet: the application may have configured `logging` anew since."""
        root = logging.getLogger()
        with self._lock:
            if self in root.handlers:
                return
            unconfigured = all(isinstance(handler, Tap) for handler in root.handlers)
            root.addHandler(self)
            if unconfigured and root.level > self.level:
                self._found = root.level
                root.setLevel(self.level)

    def close(self) -> None:
        """Leave `logging` as it was found."""
        root = logging.getLogger()
        with self._lock:
            root.removeHandler(self)
            if self._found is not None and root.level == self.level:
                root.setLevel(self._found)
            self._found = None
        super().close()

    def handle(self, record: logging.LogRecord) -> bool:
        """Record a line. Without the handler's lock: what is done here may take long, and waits for other locks."""
        if passed := bool(self.filter(record)):
            self.emit(record)
        if record.levelno >= logging.WARNING:
            self._leave_to_last_resort(record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Record a line if a step wrote it, unless it comes from recording or exporting another."""
        step = _current.get()
        if step is None or step.tap is not self or getattr(_writing, "on", False) or _is_of_exporter(record):
            return
        _writing.on = True
        try:
            _write(self._begin(), step, record)
        except Exception as error:  # noqa: BLE001 - there is nobody here to raise it to but the step
            with self._lock:
                self._lost += 1
                self._why = f"recording them raised {type(error).__name__}"
        finally:
            _writing.on = False

    def take_lost(self) -> list[tuple[int, str]]:
        """How many lines could not be recorded since this was last asked, and why."""
        with self._lock:
            lost, self._lost = self._lost, 0
            return [(lost, self._why)] if lost else []

    def _leave_to_last_resort(self, record: logging.LogRecord) -> None:
        """Do what `logging` does with a record for which there is no handler: there is none but us."""
        last = logging.lastResort
        if last is None or record.levelno < last.level:
            return
        taps = [handler for handler in logging.getLogger().handlers if isinstance(handler, Tap)]
        if taps and taps[0] is self and not _has_other_handlers(record.name):
            last.handle(record)


def severity_of(level: int) -> SeverityNumber:
    """Python's level as OpenTelemetry's, where each has four steps."""
    if level < logging.DEBUG:
        return SeverityNumber.TRACE
    tens, ones = divmod(min(level, logging.CRITICAL + 3), 10)
    return SeverityNumber(4 * tens + 1 + min(ones, 3))


def _write(pipeline: LogPipeline, step: OfStep, record: logging.LogRecord) -> None:
    pipeline.logger(record.name).emit(
        timestamp=int(record.created * 1e9),
        context=step.context(),
        severity_number=severity_of(record.levelno),
        severity_text=names.text(_SEVERITY_TEXTS.get(record.levelname, record.levelname)),
        body=_message_of(record),
        # Where there are too many attributes, the SDK leaves out the first ones.
        attributes={**_extra_of(record, step), **_place_of(record), **step.attributes},
    )


def _message_of(record: logging.LogRecord) -> str:
    try:
        return shortened(names.text(record.getMessage()), LINE)
    except Exception:  # noqa: BLE001 - arguments that do not fit; a handler that prints would tell of it
        return str(names.plain(record.msg))


def _extra_of(record: logging.LogRecord, step: OfStep) -> dict[str, Any]:
    return {
        str(names.text(str(name))): names.plain(value)
        for name, value in vars(record).items()
        if name and name not in _STANDARD and not step.added(name, value)
    }


def _place_of(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        names.CODE_FILE_PATH: names.plain(record.pathname),
        names.CODE_LINE_NUMBER: names.plain(record.lineno),
        spans.CODE_FUNCTION_NAME: names.plain(record.funcName),
    }
    if record.stack_info:
        found[names.CODE_STACKTRACE] = names.text(record.stack_info)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        info = ErrorInfo.of(error)
        found[spans.EXCEPTION_TYPE] = names.text(info.exception)
        found[spans.EXCEPTION_MESSAGE] = shortened(info.message, MESSAGE)
        found[spans.EXCEPTION_STACKTRACE] = shortened(info.traceback, STACKTRACE)
    return found


def _is_of_exporter(record: logging.LogRecord) -> bool:
    """Whether an exporter, ours or not, wrote it while it was at work: it would have to export that too, without end."""
    return record.name.partition(".")[0] in _PLUMBING and bool(otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))


def _has_other_handlers(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(not isinstance(handler, Tap) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
