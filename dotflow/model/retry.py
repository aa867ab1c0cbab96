"""What `@action` says of exceptions: which of them are worth another attempt."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dotflow.errors import InvalidOption

__all__ = ["Errors", "check_errors"]

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""An exception type, a tuple of them, or a function that is given the exception and says yes or no."""


def check_errors(field: str, value: object) -> None:
    """Raise InvalidOption, naming the field, unless the value is `Errors` or None."""
    if value is None or _is_error_type(value):
        return
    if isinstance(value, type):
        raise InvalidOption(f"{field}={value.__qualname__}: a class that is no exception")
    if isinstance(value, (tuple, list, set, frozenset)):
        _check_types(field, value)
    elif callable(value):
        _check_function(field, value)
    else:
        raise InvalidOption(
            f"{field}={value!r}: an exception type, a tuple of them, or a function of the exception that returns True or False"
        )


def _check_types(field: str, value: tuple[object, ...] | list[object] | set[object] | frozenset[object]) -> None:
    wrong = [each for each in value if not _is_error_type(each)]
    if wrong:
        raise InvalidOption(f"{field}=...: {wrong[0]!r} in it is no exception type")
    if not isinstance(value, tuple):
        names = ", ".join(each.__name__ for each in value if isinstance(each, type))
        raise InvalidOption(f"{field}=...: write a tuple, ({names},), in place of a {type(value).__name__}")
    if not value and field == "retry_on":
        raise InvalidOption("retry_on=(): no error would ever be retried; leave retry_on out, or write retry=1")


def _check_function(field: str, value: Callable[..., Any]) -> None:
    call = getattr(type(value), "__call__", None)  # noqa: B004 - asks how it is called, not whether
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(call):
        raise InvalidOption(f"{field}={value!r}: it is `async def`, and nobody would await it; write `def`")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    try:
        signature.bind(Exception())
    except TypeError as error:
        raise InvalidOption(f"{field}={value!r}: it is called with the exception alone ({error})") from None


def _is_error_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
