"""What one attempt reports back, and how a failed one is written down."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dotflow.model.status import TypeResult
from dotflow.model.text import storable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from dotflow.errors import Skip

__all__ = ["ErrorInfo", "Outcome", "TaskError", "bare_copy", "end_of_program", "errors_of"]


@dataclass(frozen=True)
class TaskError:
    """One failed attempt of a task: its number (from 1), the exception's type name, message and traceback as text."""

    attempt: int
    exception: str
    message: str
    traceback: str


@dataclass(frozen=True)
class ErrorInfo:
    """An exception as text, so that it can cross processes. Holds no local variables."""

    exception: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException, told_by: BaseException | None = None) -> ErrorInfo:
        """Describe `error`; the frames of dotflow itself above the user's code are left out. The traceback is that of `told_by`."""
        try:
            message = str(error)
        except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything, the report must not
            message = f"<no message: {type(broken).__name__} in __str__>"
        return cls(type(error).__name__, storable(message), storable(_format(told_by or error)))


@dataclass(slots=True)
class Outcome:
    """How one attempt ended: a value or an error, and where and when it ran.

    `started_ns` is wall-clock time (nanoseconds since the epoch), `duration_ns` is monotonic. `interrupt` is what ended
    the program while the step ran in the coordinator's own process; `provider_errors` are (provider, method, error).
    `recorded` is what the step measured itself, by name.
    `reason` is why the step has skipped itself (`result` is `skip`).
    `final` says that another attempt could not go better, whatever the step's `retry` is. `retry_after` are the seconds to wait
    for the next one, where the step itself says so.
    `cause` is a copy of the exception, without a traceback, of an attempt that no other follows, if it could be made.
    `inner` is of the runs that the step has started in another process: their records, and the calls of providers that are
    in the coordinator's.
    """

    started_ns: int
    duration_ns: int
    pid: int
    host: str
    value: Any = None
    error: ErrorInfo | None = None
    result: TypeResult = TypeResult.SUCCESS
    interrupt: BaseException | None = None
    provider_errors: tuple[tuple[str, str, BaseException], ...] = ()
    final: bool = False
    retry_after: float | None = None
    cause: BaseException | None = None
    recorded: dict[str, float] | None = None
    reason: str = ""
    inner: tuple[list[Any], list[Any]] | None = None

    def fail(self, error: BaseException, result: TypeResult = TypeResult.FAILURE) -> Outcome:
        """Make it a failure, and return it."""
        self.value, self.error, self.result = None, ErrorInfo.of(error), result
        return self

    def skip(self, reason: Skip) -> Outcome:
        """Make it one of a step that had nothing to do, and return it."""
        self.value, self.result, self.reason = None, TypeResult.SKIP, storable(str(reason))
        return self

    def contained(self) -> Outcome:
        """The same, where what ends a program (`sys.exit` in a step) only fails the attempt: in a worker."""
        if self.interrupt is not None:
            self.interrupt, self.result = None, TypeResult.FAILURE
        return self


def end_of_program(error: BaseException) -> BaseException | None:
    """The KeyboardInterrupt or SystemExit that `error` is, or that it holds if it is a group. None: the program goes on.

    An event loop that runs tasks side by side raises a Ctrl-C in a group. Anything else is a failure like any other, whatever
    its base class: a panic of native code, a time limit of a library's own.
    """
    return next((each for each in errors_of(error) if isinstance(each, (KeyboardInterrupt, SystemExit))), None)


def errors_of(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, of groups within it too; of any other exception itself."""
    members = getattr(error, "exceptions", None) if hasattr(error, "derive") else None
    if not isinstance(members, tuple):
        yield error
        return
    for each in members:
        if isinstance(each, BaseException):
            yield from errors_of(each)


def bare_copy(error: BaseException) -> BaseException | None:
    """The exception as pickle would bring it: without its traceback, which holds the values of every frame. None if it cannot be."""
    import copy  # here, because few steps fail

    try:
        found = copy.copy(error)
    except BaseException:  # noqa: BLE001 - made again by code of the user's; the error is told as text in any case
        return None
    if type(found) is not type(error) or found is error:
        return None
    # tblib, which comes with Dask, has taught `copy` and pickle to bring all of these along.
    found.__traceback__ = found.__cause__ = found.__context__ = None
    return found


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _users_frames(error.__traceback__)))
    except Exception:  # noqa: BLE001 - an exception with a broken __str__, or a traceback that cannot be read
        return f"{type(error).__name__}: <no traceback>\n"


def _users_frames(tb: TracebackType | None) -> TracebackType | None:
    """Skip the leading frames of dotflow's own modules; keep all if there are no others."""
    first = tb
    while first is not None and _is_ours(first):
        first = first.tb_next
    return first or tb


def _is_ours(tb: TracebackType) -> bool:
    name = tb.tb_frame.f_globals.get("__name__", "")
    return isinstance(name, str) and (name == "dotflow" or name.startswith("dotflow."))
