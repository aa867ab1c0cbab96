"""What `start` was told, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dotflow.errors import InvalidChoice, InvalidOption, UnknownKeyword
from dotflow.model.modes import EXECUTORS, MODES, ON_INPUT_CHANGE, SEQUENTIAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

__all__ = ["StartOptions"]


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """The keywords of `DotFlow.start`, with their defaults.

    Raises:
        InvalidChoice: a word that is none of the allowed ones.
        InvalidOption: something to be called that cannot be, or a number of workers that is none.
    """

    mode: str = SEQUENTIAL
    keep_going: bool = False
    on_success: Callable[..., Any] | None = None
    on_failure: Callable[..., Any] | None = None
    resume: bool = False
    on_input_change: str = "reuse"
    fingerprint: Callable[[Any], str] | None = None
    executor: str | Executor | None = None
    max_workers: int | None = None

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
