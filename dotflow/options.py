"""What `start` was told, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from dotflow.errors import InvalidChoice, InvalidOption, UnknownKeyword
from dotflow.model.binding import check_params
from dotflow.model.modes import BACKGROUND, EXECUTORS, MODES, ON_INPUT_CHANGE, RERUN, SEQUENTIAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from dotflow.model.modes import ExecutorName, Mode, OnInputChange

__all__ = ["ScheduleKeywords", "StartKeywords", "StartOptions"]


class _Keywords(TypedDict, total=False):
    background: bool
    keep_going: bool
    on_success: Callable[..., Any] | None
    on_failure: Callable[..., Any] | None
    resume: bool
    rerun: Sequence[str]
    on_input_change: OnInputChange
    fingerprint: Callable[[Any], str] | None
    executor: ExecutorName | Executor | None
    max_workers: int | None


class StartKeywords(_Keywords, total=False):
    """The keywords of `DotFlow.start`, for a type checker: those that `start_async` takes behind the mode."""

    params: Mapping[str, Any] | None


class ScheduleKeywords(_Keywords, total=False):
    """The keywords of `DotFlow.schedule`."""

    mode: Mode
    params: Mapping[str, Any] | Callable[[datetime], Mapping[str, Any]] | None


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The keywords of `DotFlow.start`, with their defaults.

    Raises:
        InvalidChoice: a word that is none of the allowed ones.
        InvalidOption: something to be called that cannot be, or a number of workers that is none.
    """

    mode: Mode = SEQUENTIAL
    background: bool = False
    params: Mapping[str, Any] | Callable[[datetime], Mapping[str, Any]] | None = None
    keep_going: bool = False
    on_success: Callable[..., Any] | None = None
    on_failure: Callable[..., Any] | None = None
    resume: bool = False
    rerun: Sequence[str] = ()
    on_input_change: OnInputChange = RERUN
    fingerprint: Callable[[Any], str] | None = None
    executor: ExecutorName | Executor | None = None
    max_workers: int | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        """The `params` of one run.

        Raises:
            InvalidOption: it is a function, which only a schedule can call.
        """
        if callable(self.params):
            raise InvalidOption("params= is a function: schedule() calls it for each tick, start() takes a dict")
        return self.params or {}

    def at(self, tick: datetime) -> StartOptions:
        """Those of the run for a tick.

        Raises:
            InvalidOption: what the function `params` has returned is no dict.
        """
        if not callable(self.params):
            return self
        params = self.params(tick)
        check_params(params)
        return replace(self, params=params)

    @property
    def resumes(self) -> bool:
        """Whether the run continues the latest one; to run some tasks again is to take over the others."""
        return self.resume or bool(self.rerun)

    @property
    def is_background(self) -> bool:
        """Whether `start` returns at once."""
        return self.background or self.mode == BACKGROUND

    @classmethod
    def of(cls, call: str, keywords: Mapping[str, Any]) -> StartOptions:
        """Those that the caller of `call` has given.

        Raises:
            UnknownKeyword: one that `start` does not take.
        """
        allowed = [field.name for field in fields(cls)]
        if unknown := set(keywords).difference(allowed):
            raise UnknownKeyword(call, unknown, allowed)
        return cls(**keywords)

    def __post_init__(self) -> None:
        _check_choice("mode", self.mode, MODES)
        if not isinstance(self.background, bool):
            raise InvalidOption(f"background={self.background!r}: use True or False")
        if self.params is not None and not callable(self.params):
            check_params(self.params)
        if isinstance(self.rerun, str) or not all(isinstance(name, str) for name in self.rerun):
            raise InvalidOption(f"rerun={self.rerun!r}: a list of names or ids of tasks")
        _check_choice("on_input_change", self.on_input_change, ON_INPUT_CHANGE)
        _check_executor(self.executor)
        _check_callable("on_success", self.on_success, "on_success(tasks=...)")
        _check_callable("on_failure", self.on_failure, "on_failure(tasks=...)")
        _check_callable("fingerprint", self.fingerprint, "fingerprint(value)")
        workers = self.max_workers
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise InvalidOption(f"max_workers={workers!r}: a whole number, at least 1")


def _check_executor(given: object) -> None:
    if given is None or (isinstance(given, str) and given in EXECUTORS):
        return
    if not isinstance(given, str):
        from concurrent.futures import Executor

        if isinstance(given, Executor):
            return
    raise InvalidChoice("executor", given, (*EXECUTORS, "an instance of concurrent.futures.Executor"))


def _check_choice(name: str, given: object, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise InvalidChoice(name, given, allowed)


def _check_callable(name: str, given: object, how: str) -> None:
    if given is not None and not callable(given):
        raise InvalidOption(f"{name}={given!r}: it is called as {how}, this cannot be")
