"""LogStructlog: one JSON object a line, or a coloured line on a terminal."""

from __future__ import annotations

import contextvars
import errno
import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog

from dotflow.abc import Log
from dotflow.abc.worker import WorkerSide
from dotflow.errors import InvalidChoice
from dotflow.model.current import current_span
from dotflow.names import logs
from dotflow.providers.logs.render import ConsoleLine, JsonLine
from dotflow.toolkit.log_fields import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

__all__ = ["LogStructlog", "RunIds"]

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FORMATS = ("auto", "json", "console")
_STREAMS = ("stderr", "stdout")
_NO_IDS: Mapping[str, str | int] = {}
_current: contextvars.ContextVar[Mapping[str, str | int]] = contextvars.ContextVar("dotflow_log_ids", default=_NO_IDS)


class _Logger(Protocol):
    """What a structlog logger of the user's must be able to do."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class LogStructlog(Log):
    """Writes through a structlog logger of its own; `structlog.configure` stays the application's.

    The lines that a step writes itself get the ids of `dotflow.names.logs` as well: those of structlog by its
    context variables (`structlog.contextvars.merge_contextvars`, part of its default set-up), those of the stdlib's
    `logging` by `capture`. Threads that a step starts do not inherit them before Python 3.14.

    Args:
        level: the lowest level that is written.
        format: `json`, `console`, or `auto`: console on a terminal, JSON elsewhere.
        output: `stderr`, `stdout`, or the path of a file that is appended to.
        logger: a structlog logger of the application's own, used as it is; `level`, `format` and `output` are its own.
        capture: whether lines of stdlib `logging` are written here too. None: only if the application has not
            configured `logging` (its root logger has no handlers) when the first run starts. True: always, from now on, and
            `structlog.configure` is called so that the lines of unconfigured structlog loggers are written here.
            False: never. Whichever it is, the application's handlers see the ids as attributes of the record, for instance
            `%(run_id)s`: all that there are, on any logger, when a run starts.

    Raises:
        InvalidChoice: a level or a format that is not known.
        OSError: the file cannot be opened.
    """

    def __init__(
        self,
        level: str = "INFO",
        format: Literal["auto", "json", "console"] = "auto",  # noqa: A002 - the contract's name
        output: str | Path = "stderr",
        logger: _Logger | None = None,
        *,
        capture: bool | None = None,
    ) -> None:
        where = output if output in _STREAMS else Path(output).absolute()
        self._for_worker = (level, format, str(where), capture if logger is None else False, logger is None)
        self._level: int = logging.getLevelName(_choice("level", str(level).upper(), _LEVELS))
        self._format = _choice("format", format, _FORMATS)
        self._sink = _Sink(output)
        self._capture = capture if logger is None or capture is not None else False
        self._tap: _Tap | None = None
        self._configured = False
        self._marks: list[tuple[logging.Handler, RunIds]] = []
        self._log: _Logger = logger if logger is not None else self._own_logger()
        if self._capture:
            self.look_at_logging()

    def info(self, **kwargs: Any) -> None:
        """Write at INFO."""
        event = kwargs.pop("event", "")
        if event == logs.WORKFLOW_STARTED:
            self.look_at_logging()
        if self._level <= logging.INFO:
            self._log.info(event, **fields_of(**kwargs))

    def error(self, **kwargs: Any) -> None:
        """Write at ERROR."""
        if self._level <= logging.ERROR:
            self._log.error(kwargs.pop("event", ""), **fields_of(**kwargs))

    def warning(self, **kwargs: Any) -> None:
        """Write at WARNING."""
        if self._level <= logging.WARNING:
            self._log.warning(kwargs.pop("event", ""), **fields_of(**kwargs))

    def debug(self, **kwargs: Any) -> None:
        """Write at DEBUG."""
        if self._level <= logging.DEBUG:
            self._log.debug(kwargs.pop("event", ""), **fields_of(**kwargs))

    def attach(self, ids: Mapping[str, str | int]) -> AbstractContextManager[None]:
        """Put the ids on the lines that the step writes."""
        return _Attached(ids)

    def for_worker(self) -> WorkerLog:
        """The same log in a worker process, for the lines that steps write there."""
        return WorkerLog(*self._for_worker)

    def close(self, timeout: float) -> None:
        """Leave `logging` as it was found, and close the file."""
        del timeout
        self._leave_logging()
        self._sink.close()

    # --- the lines of others

    def look_at_logging(self) -> None:
        """Take up the lines of `logging`: at the start of a run, when the application has had its chance to configure it."""
        root = logging.getLogger()
        is_open = self._tap in root.handlers
        if not is_open and (self._capture or (self._capture is None and not root.handlers)):
            self._open_tap(root)
        self._mark_handlers()

    def _open_tap(self, root: logging.Logger) -> None:
        if self._tap is None:
            self._tap = _Tap(self._level, self._own_logger(of_others=True))
            self._tap.previous_level = root.level
        root.addHandler(self._tap)
        if root.getEffectiveLevel() > self._level:
            root.setLevel(self._level)
        if self._capture and not structlog.is_configured():
            structlog.configure(
                processors=[structlog.contextvars.merge_contextvars, _name_the_span, *self._processors(of_others=True)],
                logger_factory=self._sink.logger,
                wrapper_class=self._wrapper(),
            )
            self._configured = True

    def _mark_handlers(self) -> None:
        root = logging.getLogger()
        loggers = [
            root,
            *(found for found in list(root.manager.loggerDict.values()) if isinstance(found, logging.Logger)),
        ]
        marked = [self._tap, *(handler for handler, _ in self._marks)]
        for handler in (handler for logger in loggers for handler in list(logger.handlers)):
            if handler not in marked:
                marked.append(handler)
                ids = RunIds()
                handler.addFilter(ids)
                self._marks.append((handler, ids))

    def _leave_logging(self) -> None:
        root = logging.getLogger()
        if self._tap is not None and self._tap in root.handlers:
            root.removeHandler(self._tap)
            root.setLevel(self._tap.previous_level)
        for handler, ids in self._marks:
            handler.removeFilter(ids)
        if self._configured:
            structlog.reset_defaults()
        self._tap, self._configured = None, False
        self._marks.clear()

    # --- structlog

    def _own_logger(self, *, of_others: bool = False) -> Any:
        return structlog.wrap_logger(
            self._sink.logger(), processors=self._processors(of_others=of_others), wrapper_class=self._wrapper()
        ).bind()

    def _wrapper(self) -> Any:
        return structlog.make_filtering_bound_logger(self._level)

    def _processors(self, *, of_others: bool) -> list[Any]:
        """How a line is made. Only the lines of others have a stack or an exception to format, and fields in any order."""
        console = self._format == "console" or (self._format == "auto" and self._sink.is_terminal)
        for_others = [structlog.processors.StackInfoRenderer(), structlog.processors.format_exc_info]
        return [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key=logs.TIMESTAMP),
            *(for_others if of_others else []),
            ConsoleLine(colors=self._sink.is_terminal) if console else JsonLine(tidy=of_others),
        ]


class WorkerLog(WorkerSide):
    """LogStructlog where a step runs, when that is another process: its lines get the ids, and go to the same place.

    A worker process starts with unconfigured `logging`, whatever the application has configured in its own.
    """

    def __init__(self, level: str, format: Any, output: str, capture: bool | None, is_own: bool) -> None:  # noqa: A002, FBT001
        self._arguments = (level, format, output, capture, is_own)
        self._log: LogStructlog | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[WorkerLog], tuple[Any, ...]]:
        return WorkerLog, self._arguments

    def attach(self, carried: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Put the ids on the lines that the step writes."""
        if self._log is None:
            self._set_up()
        return _Attached(carried)

    def provider(self) -> LogStructlog | None:
        """The log itself; None where the lines go to a logger of the application's, which is not here."""
        if self._log is None:
            self._set_up()
        return self._log if self._arguments[-1] else None

    def _set_up(self) -> None:
        with self._lock:
            if self._log is None:
                level, format_, output, capture, _ = self._arguments
                log = LogStructlog(level=level, format=format_, output=output, capture=capture)
                log.look_at_logging()
                self._log = log


class RunIds(logging.Filter):
    """A filter that lets everything through, and puts the ids of the step that writes on the record.

    LogStructlog adds it to the handlers of the root logger; add it to others by hand. Outside of a step the ids are
    empty texts, so that a format like `%(run_id)s` always works. An attribute that is there already is left alone.
    """

    _NAMES = (
        *(logs.WORKFLOW, logs.WORKFLOW_ID, logs.RUN_ID, logs.TASK, logs.TASK_ID),
        *(logs.ATTEMPT, logs.TRACE_ID, logs.SPAN_ID),
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; always True."""
        ids = _ids_now()
        for name in self._NAMES:
            if name not in record.__dict__:
                record.__dict__[name] = ids.get(name, "")
        return True


class _Attached:
    """The ids, from here to the end of the attempt's own `contextvars` context: nothing has to be taken back."""

    __slots__ = ("_ids",)

    def __init__(self, ids: Mapping[str, str | int]) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        _current.set(self._ids)
        structlog.contextvars.bind_contextvars(**self._ids)

    def __exit__(self, *_: object) -> None:
        return None


class _Tap(logging.Handler):
    """Writes the records of stdlib `logging` as lines of ours, with the ids of the step that wrote them."""

    _STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "dotflow"}

    def __init__(self, level: int, log: Any) -> None:
        super().__init__(level)
        self._log = log
        self.previous_level = logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message, the logger's name, the ids, what was passed as `extra`, and the traceback if there is one."""
        try:
            extra = {name: value for name, value in vars(record).items() if name not in self._STANDARD}
            fields = {logs.LOGGER_NAME: record.name, **_ids_now(), **extra, "exc_info": record.exc_info or None}
            fields.pop(logs.EVENT, None)
            fields.pop("level", None)
            self._log.log(record.levelno, record.getMessage(), **fields)
        except Exception:  # noqa: BLE001 - the disk is full or the stream gone: the line goes where a person may still look
            fallback = logging.lastResort
            if fallback is not None and record.levelno >= fallback.level:
                fallback.handle(record)


class _Sink:
    """Where lines go. A standard stream is looked up at every line, because programs and tests replace it.

    A file that was closed is opened again by the next line: several workflows may share a log, and end one after another.
    """

    def __init__(self, output: str | Path) -> None:
        self._path = None if output in _STREAMS else Path(output).absolute()
        self._file = None if self._path is None else _open(self._path)
        self._stream = str(output)
        self._is_torn = False
        self._lock = threading.Lock()

    @property
    def is_terminal(self) -> bool:
        stream = getattr(sys, self._stream, None) if self._path is None else None
        return bool(stream is not None and stream.isatty())

    def logger(self, name: str | None = None, *_: object) -> _Writer:
        return _Writer(self.write, name)

    def write(self, line: bytes) -> None:
        if self._path is not None:
            self._append(self._path, line + b"\n")
            return
        stream = getattr(sys, self._stream)
        if stream is not None:  # a program without a console has none
            stream.write(line.decode("utf-8", "backslashreplace") + "\n")
            stream.flush()

    def close(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _append(self, path: Path, data: bytes) -> None:
        """Unbuffered and appending: one system call, so lines of several processes never mix.

        Raises:
            OSError: the disk is full. The line after one of which only a part was written begins on a line of its own.
        """
        # No lock is held while it is written: a step that forks could take a held one along.
        file = self._file or self._opened(path)
        if self._is_torn:
            data = b"\n" + data
        self._is_torn = file.write(data) != len(data)
        if self._is_torn:
            raise OSError(errno.ENOSPC, "only a part of a log line was written")

    def _opened(self, path: Path) -> Any:
        with self._lock:
            self._file = self._file or _open(path)
            return self._file


class _Writer:
    """What structlog calls a logger: it takes a rendered line. `name` is that of the user's logger, if it has one."""

    __slots__ = ("_write", "name")

    def __init__(self, write: Callable[[bytes], None], name: str | None) -> None:
        self._write = write
        self.name = name

    def msg(self, line: bytes) -> None:
        self._write(line)

    debug = info = warning = warn = error = critical = exception = fatal = failure = err = log = msg


def _name_the_span(logger: Any, method: str, fields: Any) -> Any:
    """The logger's name, and the span that is current at this very line, which may be one of the step's own."""
    del method
    if logger.name:
        fields.setdefault(logs.LOGGER_NAME, logger.name)
    span = current_span()
    if span is not None:
        fields.update({logs.TRACE_ID: span.trace_id, logs.SPAN_ID: span.span_id})
    return fields


def _ids_now() -> Mapping[str, str | int]:
    """The ids of the step that is writing, with the span that is current at this moment."""
    ids, span = _current.get(), current_span()
    return ids if span is None else {**ids, logs.TRACE_ID: span.trace_id, logs.SPAN_ID: span.span_id}


def _open(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab", buffering=0)


def _choice(name: str, given: str, allowed: tuple[str, ...]) -> str:
    if given not in allowed:
        raise InvalidChoice(name, given, allowed)
    return given
