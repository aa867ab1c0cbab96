"""What a step measures itself."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, SupportsFloat

from dotflow.errors import InvalidOption
from dotflow.model.running import running_attempt

if TYPE_CHECKING:
    from dotflow.model.outcome import Outcome

__all__ = ["record"]

# The names become labels and attributes: few, and of characters that every backend takes.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_MOST: Final = 100
_EXACT: Final = 2**53  # whole numbers up to here are the same in every backend


def record(name: str, value: SupportsFloat) -> None:
    """Note a measurement of the step that runs: `record("rows_loaded", 1200)`.

    It becomes the attribute `dotflow.recorded.<name>` of the spans of the attempt and its task, an entry of the field
    `recorded` of their log lines, and `dotflow_task_recorded{workflow, task, name}`; `Task.recorded` has it too. A second
    value of the same name replaces the first. Works in steps, classes and async code in every mode, and in threads that
    were given the step's `contextvars`. It travels with the result, so a worker that is killed or timed out takes it along.

    In a run it never raises: a name or a value that is none is counted and told once, like an error of a provider.
    Outside of a run it only checks, so that a step can be called and tested directly.

    Args:
        name: 1 to 100 letters, digits, `_`, `.` and `-`, the first a letter or `_`; never with an id in it. At most 100
            names an attempt.
        value: a finite number, or what `float()` makes one of. Put its unit in the name, as in `loaded_bytes`.

    Raises:
        InvalidOption: outside of a run, a name or a value that is none.
    """
    attempt = running_attempt.get()
    outcome = attempt.outcome if attempt is not None else None
    try:
        number = _number(name, value)
        if outcome is not None:
            _note(outcome, name, number)
    except InvalidOption as error:
        if outcome is None:
            raise
        outcome.provider_errors += (("step", "record", error),)


def _note(outcome: Outcome, name: str, number: float) -> None:
    if outcome.recorded is None:
        outcome.recorded = {}
    if len(outcome.recorded) >= _MOST and name not in outcome.recorded:
        raise InvalidOption(f"record({name!r}, …): more than {_MOST} names in one attempt; look for an id in the name")
    outcome.recorded[name] = number


def _number(name: object, value: object) -> float:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidOption(
            f"record({_short(name)}, …): a name is 1 to 100 letters, digits, '_', '.' and '-', the first a letter or '_'"
        )
    if type(value) is int and -_EXACT <= value <= _EXACT:
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError as error:
        raise InvalidOption(
            f"record({name!r}, …): a number beyond 1.8e308, the largest that telemetry can hold"
        ) from error
    except Exception as error:  # what a user's __float__ raises
        raise InvalidOption(f"record({name!r}, …): {type(value).__name__} is not a number") from error
    if isinstance(value, (str, bytes, bytearray)) or not math.isfinite(number):
        raise InvalidOption(f"record({name!r}, …): {_short(value)} is not a finite number")
    return number


def _short(given: object) -> str:
    return (
        repr(given)
        if isinstance(given, float)
        else f"{given[:40]!r}"
        if isinstance(given, str)
        else type(given).__name__
    )
