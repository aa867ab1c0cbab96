"""Whether a failed attempt is followed by another, and when: what its `@action` says of the exception, and what the step itself says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dotflow.errors import GiveUp, RetryAfter
from dotflow.model.outcome import ErrorInfo, end_of_program, errors_of
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.action import ActionOptions
    from dotflow.model.outcome import Outcome
    from dotflow.model.retry import Errors

__all__ = ["judge"]


def judge(outcome: Outcome, error: BaseException, options: ActionOptions) -> BaseException:
    """Say in the outcome of a failed attempt whether another may go better, and how long to wait for it. Returns what has failed.

    What the step says itself (`GiveUp`, `RetryAfter`) goes before what its `@action` says, for it knows more. Runs where the exception
    is, so the exception never has to travel.
    """
    said = [each for each in errors_of(error) if isinstance(each, (GiveUp, RetryAfter))]
    if said:
        return _obey(outcome, error, said)
    if options.retry > 1 and (options.retry_on is not None or options.give_up_on is not None):
        _ask(outcome, error, options)
    return error


def _obey(outcome: Outcome, error: BaseException, said: list[GiveUp | RetryAfter]) -> BaseException:
    delays = [each.seconds for each in said if isinstance(each, RetryAfter)]
    if len(delays) < len(said):
        outcome.final = True
        return error
    outcome.retry_after = max(delays)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None or not isinstance(error, RetryAfter):
        return error
    # What was raised on the way: that is what has failed. One that was only made has no frames to show.
    outcome.error = ErrorInfo.of(cause, told_by=error if cause.__traceback__ is None else cause)
    return cause


def _ask(outcome: Outcome, error: BaseException, options: ActionOptions) -> None:
    asked = ""
    try:
        asked = "give_up_on"
        if options.give_up_on is not None and _fits(options.give_up_on, error, any):
            outcome.final = True
            return
        asked = "retry_on"
        if options.retry_on is not None and not _fits(options.retry_on, error, all):
            outcome.final = True
    except BaseException as broken:  # noqa: BLE001 - a user's function: it must not hide the error that it was asked about
        _explain(outcome, asked, ErrorInfo.of(broken))
        outcome.interrupt = end_of_program(broken)
        if outcome.interrupt is not None:
            outcome.result = TypeResult.CANCELLATION


def _fits(wanted: Errors, error: BaseException, of_a_group: Callable[[Any], bool]) -> bool:
    """Whether it is one of these; for types, also a group of which any or all are."""
    if not isinstance(wanted, (type, tuple)):
        return bool(wanted(error))  # type: ignore[arg-type]  # few care that it may be a BaseException
    return isinstance(error, wanted) or of_a_group(isinstance(each, wanted) for each in errors_of(error))


def _explain(outcome: Outcome, asked: str, broken: ErrorInfo) -> None:
    """The function that decides has failed itself: then nobody knows that another attempt may go better."""
    outcome.final = True
    error = outcome.error
    if error is not None:
        why = f"{broken.exception}: {broken.message}".rstrip(": ")
        outcome.error = replace(
            error,
            message=f"{error.message} (not tried again: {asked} raised {why})",
            traceback=f"{error.traceback}\n{asked} was asked whether to try again, and raised:\n\n{broken.traceback}",
        )
