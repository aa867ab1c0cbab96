"""The one place where what a provider raises stops: counted every time, reported once."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from dotflow.model.outcome import end_of_program
from dotflow.names import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.abc import Metrics
    from dotflow.model.run import Run

__all__ = ["Containment"]

_logger = logging.getLogger(logs.LOGGER)


class Containment:
    """Counts contained errors and lost telemetry; tells of each kind once, on the stdlib logger `dotflow`.

    A kind is a provider and a type of error, so a tracer that raises the same at every call makes one line. A `TypeError`, and
    what a callback of a run or a listener raises, is told once for each method and function.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._reported: set[tuple[object, ...]] = set()
        self._lock = threading.Lock()

    def call(self, run: Run | None, provider: str, method: str, function: Callable[[], object]) -> None:
        """Call `function`; nothing that it raises leaves here, except what ends the program."""
        try:
            function()
        except BaseException as error:
            if end_of_program(error) is not None:
                raise
            self.caught(run, provider, method, error)

    def call_apart(self, run: Run | None, provider: str, method: str, function: Callable[[], object]) -> None:
        """As `call`, where there is no program to end (a thread of the engine's own) or no way to: nothing at all leaves."""
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            self.caught(run, provider, method, error)

    def caught(self, run: Run | None, provider: str, method: str, error: BaseException) -> None:
        """Count an error of a provider, and report it if it is the first of its kind."""
        if run is not None:
            self._count(run.provider_errors, (provider, method), 1)
        self._tell_metrics(lambda: self._metrics.provider_failed(provider, method))
        if self._is_first(provider, _place(provider, method, error), type(error)):
            _log(
                logging.WARNING,
                "%s.%s raised %s; the run goes on without it, and more of the same is only counted",
                provider,
                method,
                type(error).__name__,
                exc_info=error,
            )

    def dropped(self, run: Run | None, signal: str, count: int, why: str) -> None:
        """Count telemetry that was lost, and report it if it is the first of its signal."""
        if run is not None:
            self._count(run.dropped, signal, count)
        self._tell_metrics(lambda: self._metrics.telemetry_dropped(signal, count))
        if self._is_first(signal, "dropped"):
            _log(
                logging.WARNING,
                "%s: %d lost%s, %s; more of the same is only counted",
                signal,
                count,
                f" in run {run.run_id}" if run else "",
                why,
            )

    def _count(
        self, counts: dict[object, int] | dict[tuple[str, str], int] | dict[str, int], key: object, n: int
    ) -> None:
        with self._lock:
            counts[key] = counts.get(key, 0) + n  # type: ignore[index,call-overload]

    def _is_first(self, *kind: object) -> bool:
        with self._lock:
            known = len(self._reported)
            self._reported.add(kind)
            return len(self._reported) > known

    def _tell_metrics(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except BaseException as error:  # noqa: BLE001
            _log(logging.DEBUG, "metrics could not count a contained error", exc_info=error)


def _place(provider: str, method: str, error: BaseException) -> str:
    """Where errors of a type are told apart: a wrong signature is a mistake of its own in each method, as in each function."""
    if provider == "callback":
        return method if method in ("on_success", "on_failure") else "of a task"
    return method if provider == "listener" or isinstance(error, TypeError) else ""


def _log(level: int, text: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Tell it on the logger; a filter of the application's that raises harms the run no more than a provider does."""
    with suppress(Exception):
        _logger.log(level, text, *args, exc_info=exc_info)
