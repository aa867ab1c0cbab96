"""One attempt: everything that an executor needs to know, and nothing of the coordinator."""

from __future__ import annotations

import contextvars
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.model.context import Context
from dotflow.model.measurements import current_outcome
from dotflow.model.outcome import Outcome
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractContextManager

    from dotflow.executors.event_loop import CallersLoop, Loop
    from dotflow.model.clock import Clock
    from dotflow.model.step import Call, Step

__all__ = ["Attempt", "Carried", "Sides", "blank_outcome", "run_attempt"]

Carried = Mapping[str, Any]
"""What goes along with an attempt for a provider: W3C headers for the tracer, ids for the log."""

_NOTHING: Carried = {}


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()


_HOST = _host()


class _Process:
    """This process, and after a fork the child: to ask the system twice an attempt would take a tenth of a bare task."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._look)

    def _look(self) -> None:
        self.pid = os.getpid()


_process = _Process()


class Sides(NamedTuple):
    """What the providers enter around an attempt in the process that runs it; None where there is nothing to do.

    In the coordinator's own process these are their `attach`, elsewhere that of their `WorkerSide`.
    """

    tracer: Callable[[Carried], AbstractContextManager[None]] | None = None
    log: Callable[[Carried], AbstractContextManager[None]] | None = None


class Attempt:
    """One execution of one step."""

    __slots__ = (
        *("callers_loop", "carrier", "ids", "initial", "loop", "previous"),
        *("step", "task_id", "timeout", "workflow_id"),
    )

    def __init__(
        self,
        step: Step,
        initial: Context,
        previous: Context,
        task_id: str = "",
        workflow_id: str = "",
        carrier: Carried = _NOTHING,
        ids: Carried = _NOTHING,
    ) -> None:
        self.step = step
        self.initial = initial
        self.previous = previous
        self.task_id = task_id
        self.workflow_id = workflow_id
        self.carrier = carrier
        self.ids = ids
        self.timeout: float = step.options.timeout
        self.loop: Loop | CallersLoop | None = None
        self.callers_loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"Attempt({self.task_id!r})"


def run_attempt(attempt: Attempt, clock: Clock, sides: Sides) -> Outcome:
    """Run a step once, here and now, and report how it went. Never raises.

    The step gets a `contextvars` context of its own, so that nothing that it or a provider sets is seen by the next.
    What ends the program (KeyboardInterrupt, SystemExit) is reported as `interrupt`; the coordinator raises it again.
    """
    return contextvars.copy_context().run(_run, attempt, clock, sides)


def _run(attempt: Attempt, clock: Clock, sides: Sides) -> Outcome:
    outcome = Outcome(0, 0, _process.pid, _HOST)
    current_outcome.set(outcome)
    entered = _enter(attempt, sides, outcome) if attempt.carrier or attempt.ids else ()
    # In this order, so that the end, start plus duration, is not before anything that the step did.
    started = clock.monotonic_ns()
    outcome.started_ns = clock.time_ns()
    try:
        outcome.value = None if outcome.interrupt else _call_step(attempt)
    except BaseException as error:  # noqa: BLE001 - reported, and raised again by the coordinator where it must be
        _fail(outcome, error)
    outcome.duration_ns = clock.monotonic_ns() - started
    if outcome.pid != _process.pid:
        _end_forked_child(outcome)
    for provider, manager in reversed(entered):
        _leave(provider, manager, outcome)
    return outcome


def blank_outcome(clock: Clock) -> Outcome:
    """An outcome of an attempt that starts here and now, yet to be filled in."""
    return Outcome(clock.time_ns(), 0, _process.pid, _HOST)


def _fail(outcome: Outcome, error: BaseException) -> None:
    outcome.fail(error)
    if not isinstance(error, Exception) and not _is_cancelled_error(error):
        outcome.result = TypeResult.CANCELLATION
        outcome.interrupt = error


def _is_cancelled_error(error: BaseException) -> bool:
    # Looked at by name: importing asyncio to learn of its class would cost every program that does not use it.
    return any(cls.__name__ == "CancelledError" for cls in type(error).__mro__)


def _end_forked_child(outcome: Outcome) -> None:
    """A step that forks, and whose child comes back from it too: only one process can go on with the run.

    The child ends here, as at the end of a program, without what the parent had buffered being written twice.
    """
    if outcome.error is not None and not isinstance(outcome.interrupt, SystemExit):
        os.write(2, outcome.error.traceback.encode(errors="backslashreplace"))
    code = outcome.interrupt.code if isinstance(outcome.interrupt, SystemExit) else outcome.error is not None
    os._exit(code if isinstance(code, int) else int(code is not None))


def _enter(attempt: Attempt, sides: Sides, outcome: Outcome) -> list[tuple[str, AbstractContextManager[None]]]:
    entered: list[tuple[str, AbstractContextManager[None]]] = []
    for provider, attach, carried in (("tracer", sides.tracer, attempt.carrier), ("log", sides.log, attempt.ids)):
        if attach is None or not carried:
            continue
        try:
            manager = attach(carried)
            manager.__enter__()
        except Exception as error:  # noqa: BLE001 - counted by the coordinator, from the outcome
            outcome.provider_errors += ((provider, "attach", error),)
        except BaseException as error:  # noqa: BLE001 - ends the program: the step does not begin
            _fail(outcome, error)
            break
        else:
            entered.append((provider, manager))
    return entered


def _leave(provider: str, manager: AbstractContextManager[None], outcome: Outcome) -> None:
    try:
        # The step's own exception is none of the provider's business: it is recorded once, by `end_attempt`.
        manager.__exit__(None, None, None)
    except Exception as error:  # noqa: BLE001
        outcome.provider_errors += ((provider, "attach", error),)
    except BaseException as error:  # noqa: BLE001
        _fail(outcome, error)


def _call_step(attempt: Attempt) -> Any:
    step = attempt.step
    if not step.is_class and not step.call.is_async:
        return _call(step.call, attempt.initial, attempt.previous)
    from dotflow.executors.event_loop import CallersLoop, Loop

    callers = attempt.callers_loop
    with Loop() if callers is None else CallersLoop(callers) as attempt.loop:
        if step.is_class:
            return _call_class(attempt, attempt.loop)
        return attempt.loop.run(_call(step.call, attempt.initial, attempt.previous))


def _call(call: Call, initial: Context, previous: Context) -> Any:
    if call.wants_initial:
        if call.wants_previous:
            return call.target(initial_context=initial, previous_context=previous)
        return call.target(initial_context=initial)
    if call.wants_previous:
        return call.target(previous_context=previous)
    return call.target()


def _call_class(attempt: Attempt, loop: Loop | CallersLoop) -> list[Context]:
    """Make the instance and call its methods in order, each seeing the one before. Their contexts are the result."""
    instance = _call(attempt.step.call, attempt.initial, attempt.previous)
    previous, contexts = attempt.previous, []
    for name, method in attempt.step.methods:
        value = _call(method.bound_to(getattr(instance, name)), attempt.initial, previous)
        if method.is_async:
            value = loop.run(value)
        previous = Context(value, task_id=attempt.task_id, workflow_id=attempt.workflow_id, time=time.time_ns())
        contexts.append(previous)
    return contexts
