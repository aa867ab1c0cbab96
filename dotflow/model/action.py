"""`@action`: marks a function, an async function or a class as a step, and leaves it as it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dotflow.errors import InvalidOption, StepSignatureError
from dotflow.model.retry import check_errors
from dotflow.model.text import is_text

if TYPE_CHECKING:
    from dotflow.model.clock import Randomness
    from dotflow.model.retry import Errors

__all__ = ["MARK", "ActionOptions", "action", "check_seconds", "is_async", "named_part", "options_of"]

F = TypeVar("F", bound=Callable[..., Any])
_TOO_LONG = 1e300  # no number from here on, infinity and NaN included, is a time
_LONGEST_DELAY = 1e18  # seconds; that is longer than the universe is old, and fits a clock's nanoseconds
_LARGEST_DOUBLING = 60  # beyond it a delay is longer than the universe is old
MARK = "__dotflow_action__"


@dataclass(frozen=True)
class ActionOptions:
    """How a step is to be run. Times are seconds; 0 means no limit (`timeout`, `max_delay`) or no wait (`retry_delay`)."""

    name: str | None = None
    retry: int = 1
    retry_delay: float = 0.0
    backoff: bool = False
    timeout: float = 0.0
    keep: bool = True
    readonly: bool = False
    max_delay: float = 0.0
    jitter: float = 0.0
    retry_on: Errors | None = None
    give_up_on: Errors | None = None

    def __post_init__(self) -> None:
        if isinstance(self.retry, bool) or not isinstance(self.retry, int) or self.retry < 1:
            raise InvalidOption(f"retry={self.retry!r}: the number of attempts is a whole number, at least 1")
        for field in ("retry_delay", "timeout", "max_delay"):
            check_seconds(field, getattr(self, field))
        if not isinstance(self.backoff, bool):
            raise InvalidOption(f"backoff={self.backoff!r}: use True (the delay doubles) or False")
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, (int, float)) or not 0 <= self.jitter <= 1:
            raise InvalidOption(f"jitter={self.jitter!r}: the share of a delay by which it is spread, from 0 to 1")
        for field in ("retry_on", "give_up_on"):
            check_errors(field, getattr(self, field))
        for field in ("keep", "readonly"):
            if not isinstance(getattr(self, field), bool):
                raise InvalidOption(f"{field}={getattr(self, field)!r}: use True or False")
        if self.name is not None and not is_text(self.name):
            raise InvalidOption(f"name={self.name!r}: a step's name is a non-empty text that UTF-8 can hold")

    def delay_before(self, attempt: int, rng: Randomness, asked: float | None = None) -> float:
        """Seconds to wait before the given attempt (2 is the first retry). One that was `asked` for is never cut short.

        A ceiling cuts off the range that the delay is spread over, not the delays: else many would come back at its end.
        """
        if asked is not None:
            shortest, longest = asked, asked * (1 + self.jitter)
        else:
            doubled = 2.0 ** min(attempt - 2, _LARGEST_DOUBLING) if self.backoff else 1.0
            ceiling = self.max_delay or _LONGEST_DELAY
            delay = min(self.retry_delay * doubled, ceiling)
            shortest, longest = delay * (1 - self.jitter), min(delay * (1 + self.jitter), ceiling)
        spread = rng.random() * (longest - shortest) if shortest < longest else 0.0
        return min(shortest + spread, _LONGEST_DELAY)


@overload
def action(func: F, /) -> F: ...
@overload
def action(
    *,
    retry: int = 1,
    retry_delay: float = 0,
    backoff: bool = False,
    max_delay: float = 0,
    jitter: float = 0,
    retry_on: Errors | None = None,
    give_up_on: Errors | None = None,
    timeout: float = 0,
    name: str | None = None,
    keep: bool = True,
    readonly: bool = False,
) -> Callable[[F], F]: ...
def action(
    func: F | None = None,
    /,
    *,
    retry: int = 1,
    retry_delay: float = 0,
    backoff: bool = False,
    max_delay: float = 0,
    jitter: float = 0,
    retry_on: Errors | None = None,
    give_up_on: Errors | None = None,
    timeout: float = 0,
    name: str | None = None,
    keep: bool = True,
    readonly: bool = False,
) -> F | Callable[[F], F]:
    """Mark a step. Called directly, a marked function or class behaves as if it were not marked.

    Args:
        retry: how many attempts the step gets; 1 is no retry.
        retry_delay: seconds between an attempt that failed and the next.
        backoff: double the delay with every retry.
        max_delay: seconds that the delay never exceeds; 0 is no ceiling.
        jitter: from 0 to 1: spread the delay by that share, so that what failed together does not come back together.
        retry_on: what is worth another attempt: an exception type, a tuple of them, or a function of the exception.
        give_up_on: what is not, whatever `retry_on` says.
        timeout: seconds an attempt may take; 0 is no limit.
        name: the step's name in traces, metrics and logs; default: the function's own. Keep it one of few.
        keep: False: its result is never stored, so it runs in every run, resumed ones too. For what sets something up.
        readonly: True promises that the step changes nothing of what it is given, which it then gets without a copy.

    Raises:
        InvalidOption: (a `ValueError`) `retry` below 1, a negative or non-numeric time, a `retry_on` that is none of these.
        StepSignatureError: (a `TypeError`) what is decorated cannot be called.
    """
    options = ActionOptions(
        name=name,
        retry=retry,
        retry_delay=retry_delay,
        backoff=backoff,
        timeout=timeout,
        keep=keep,
        readonly=readonly,
        max_delay=max_delay,
        jitter=jitter,
        retry_on=retry_on,
        give_up_on=give_up_on,
    )
    if func is not None:
        return _mark(func, options)
    return lambda decorated: _mark(decorated, options)


def options_of(step: object) -> ActionOptions | None:
    """The options that `@action` left on a step, or None if it was never marked.

    A class is marked only itself: neither a subclass nor an instance of a step is a step.
    """
    while isinstance(step, functools.partial) and MARK not in vars(step):
        step = step.func  # what it binds is no parameter any more; the rest is as `@action` said
    if inspect.ismethod(step):
        step = step.__func__
    found = getattr(step, "__dict__", {}).get(MARK)
    return found if isinstance(found, ActionOptions) else None


def _mark(func: F, options: ActionOptions) -> F:
    if isinstance(func, (staticmethod, classmethod)):
        raise StepSignatureError(f"put @action below @{type(func).__name__}, next to the function")
    if not callable(func):
        raise StepSignatureError(f"@action marks functions and classes, got {func!r}")
    if isinstance(func, type):
        _refuse_method_options(func)
    if options_of(func) is not None:
        func = _stand_in(func)  # marked before, under other options: leave the original alone
    try:
        setattr(func, MARK, options)
    except (AttributeError, TypeError):  # a builtin, a bound method, an object with __slots__: it cannot hold a mark
        func = _stand_in(func)
        setattr(func, MARK, options)
    return func


def is_async(target: Callable[..., Any]) -> bool:
    """True if calling it gives a coroutine: an async function, or an object whose class has an async `__call__`."""
    if inspect.iscoroutinefunction(target):
        return True
    call = getattr(type(target), "__call__", None)  # noqa: B004 - asks how it is called, not whether
    return not isinstance(target, type) and inspect.iscoroutinefunction(call)


def _stand_in(func: F) -> F:
    if isinstance(func, type):
        named = {name: getattr(func, name) for name in ("__module__", "__qualname__", "__doc__")}
        return type(func)(func.__name__, (func,), named)
    if is_async(func):

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await func(*args, **kwargs)

        return _dressed(call_async, func)

    def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return _dressed(call, func)


def _dressed(wrapper: Callable[..., Any], func: F) -> F:
    """The wrapper under the name and signature of what it calls, also of an object that has no name of its own."""
    functools.update_wrapper(wrapper, func)
    named = named_part(func)
    wrapper.__module__ = getattr(named, "__module__", None) or "builtins"
    wrapper.__name__, wrapper.__qualname__ = named.__name__, named.__qualname__
    return wrapper  # type: ignore[return-value]


def named_part(step: Callable[..., Any]) -> Callable[..., Any]:
    """What the step is known by: the function inside a partial; the class of an object that has no name itself."""
    while isinstance(step, functools.partial):
        step = step.func
    return step if hasattr(step, "__qualname__") else type(step)


def _refuse_method_options(cls: type) -> None:
    for name in {name for base in cls.__mro__ for name in vars(base)}:
        member = inspect.getattr_static(cls, name)
        options = options_of(getattr(member, "__func__", member)) if not isinstance(member, type) else None
        if options is not None and options != ActionOptions(name=options.name):
            raise InvalidOption(
                f"{cls.__qualname__}.{name}: a class is one step, retried and timed as a whole; "
                "move retry, timeout and the other options to the @action of the class"
            )


def check_seconds(field: str, value: object) -> None:
    """Raise InvalidOption, naming the field, unless the value is a number of seconds: finite and not below 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _TOO_LONG:
        raise InvalidOption(f"{field}={value!r}: seconds, a finite number not below 0")
