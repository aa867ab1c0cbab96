"""One attempt: everything that an executor needs to know, and nothing of the coordinator."""

from __future__ import annotations

import contextvars
import os
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.errors import AttemptCancelled, Skip
from dotflow.executors.inner import NONE, PATIENCE_SECONDS
from dotflow.executors.inputs import copied, given
from dotflow.executors.verdict import judge
from dotflow.model.context import Context
from dotflow.model.outcome import Outcome, bare_copy, end_of_program
from dotflow.model.running import running_attempt
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from dotflow.executors.event_loop import CallersLoop, Loop
    from dotflow.executors.inner import InnerRuns, Surroundings
    from dotflow.executors.inputs import Arguments, Source
    from dotflow.model.clock import Clock
    from dotflow.model.current import Facts
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
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple, set})  # asked first, as it is quicker


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
    """One execution of one step.

    `initial` and `previous` are what its contexts come to, `arguments` its other parameters; all of them are sources, whose
    values are looked up and copied when it runs. `owns_inputs`: they are its own already, for they came here as bytes.
    `inner` are the runs that its step starts, and `surroundings` what those take over; `in_thread` says that it runs beside
    who waits for it, and may be left alone.
    """

    __slots__ = (
        *(
            "arguments",
            "callers_loop",
            "carrier",
            "facts",
            "ids",
            "in_thread",
            "initial",
            "inner",
            "loop",
            "number",
            "outcome",
            "owns_inputs",
        ),
        *("previous", "step", "surroundings", "task_id", "timeout", "workflow_id"),
    )

    def __init__(
        self,
        step: Step,
        initial: Context,
        previous: Source,
        arguments: Arguments | None = None,
        task_id: str = "",
        workflow_id: str = "",
        carrier: Carried = _NOTHING,
        ids: Carried = _NOTHING,
        facts: Facts | None = None,
        number: int = 1,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.outcome: Outcome
        self.step = step
        self.initial = initial
        self.previous = previous
        self.arguments = arguments
        self.task_id = task_id
        self.workflow_id = workflow_id
        self.carrier = carrier
        self.ids = ids
        self.facts = facts
        self.number = number
        self.surroundings = surroundings
        self.inner: InnerRuns | None = None
        self.in_thread = False
        self.timeout: float = step.options.timeout
        self.owns_inputs = False
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
    outcome = attempt.outcome = Outcome(0, 0, _process.pid, _HOST)
    running_attempt.set(attempt)
    entered = _enter(attempt, sides, outcome) if attempt.carrier or attempt.ids else ()
    # In this order, so that the end, start plus duration, is not before anything that the step did.
    started = clock.monotonic_ns()
    outcome.started_ns = clock.time_ns()
    try:
        outcome.value = None if outcome.interrupt else _call_step(attempt)
    except Skip as reason:
        outcome.skip(reason)
    except BaseException as error:  # noqa: BLE001 - reported, and raised again by the coordinator where it must be
        _fail(outcome, error)
        if outcome.result is TypeResult.FAILURE:
            failed_with = judge(outcome, error, attempt.step.options)
            if outcome.final or attempt.number >= attempt.step.options.retry:
                outcome.cause = bare_copy(failed_with)
    inner = attempt.inner
    if inner is None:
        attempt.inner = NONE
    elif outcome.pid == os.getpid():
        _finish_inner(inner, outcome)
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
    outcome.interrupt = end_of_program(error)
    if outcome.interrupt is not None or isinstance(error, AttemptCancelled):
        outcome.result = TypeResult.CANCELLATION


def _finish_inner(inner: InnerRuns, outcome: Outcome) -> None:
    """Wait for the runs that the step has left behind; if the program is being ended, they are ended first."""
    try:
        if outcome.interrupt is None:
            inner.finish()
            return
    except BaseException as error:  # noqa: BLE001 - ends the program, and so the attempt
        _fail(outcome, error)
    inner.give_up()
    inner.settle(time.monotonic() + PATIENCE_SECONDS)


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
        except BaseException as error:  # noqa: BLE001 - counted by the coordinator, from the outcome
            if end_of_program(error) is not None:
                _fail(outcome, error)  # the step does not begin
                break
            outcome.provider_errors += ((provider, "attach", error),)
        else:
            entered.append((provider, manager))
    return entered


def _leave(provider: str, manager: AbstractContextManager[None], outcome: Outcome) -> None:
    try:
        # The step's own exception is none of the provider's business: it is recorded once, by `end_attempt`.
        manager.__exit__(None, None, None)
    except BaseException as error:  # noqa: BLE001
        if end_of_program(error) is not None:
            _fail(outcome, error)
        else:
            outcome.provider_errors += ((provider, "attach", error),)


def _call_step(attempt: Attempt) -> Any:
    step, call = attempt.step, attempt.step.call
    copy = None if attempt.owns_inputs or step.options.readonly else copied
    if step.is_class:
        return _call_class(attempt, copy)
    arguments: dict[str, Any] = {}
    if attempt.arguments:
        arguments = {name: given(source, copy) for name, source in attempt.arguments.items()}
    if call.wants_initial:
        arguments["initial_context"] = _context(attempt.initial, copy)
    if call.wants_previous:
        arguments["previous_context"] = _context(attempt.previous, copy)
    value = call.target(**arguments)
    if call.is_async or (type(value) not in _PLAIN and _is_awaitable(value)):
        with _loop_of(attempt) as loop:
            return loop.run(value)
    return value


def _context(source: Source, copy: Callable[[Any], Any] | None) -> Context:
    """A context of the attempt's own: the step may write to it."""
    if type(source) is not Context:
        return Context(given(source, copy))
    context = source.copy()
    if copy is not None:
        context.storage = copy(context.storage)
    return context


def _call_class(attempt: Attempt, copy: Callable[[Any], Any] | None) -> list[Context]:
    """Make the instance and call its methods in order, each seeing the one before. Their contexts are the result."""
    initial, previous = _context(attempt.initial, copy), _context(attempt.previous, copy)
    plain = {name: given(source, copy) for name, source in (attempt.arguments or {}).items()}
    contexts: list[Context] = []
    with _loop_of(attempt) as loop:
        instance = _call(attempt.step.call, attempt.step.source, initial, previous, plain)
        for name, method in attempt.step.methods:
            value = _call(method, getattr(instance, name), initial, previous, {})
            if method.is_async or (type(value) not in _PLAIN and _is_awaitable(value)):
                value = loop.run(value)
            previous = Context(value, task_id=attempt.task_id, workflow_id=attempt.workflow_id, time=time.time_ns())
            contexts.append(previous)
    return contexts


def _call(call: Call, target: Callable[..., Any], initial: Context, previous: Context, plain: Mapping[str, Any]) -> Any:
    arguments = dict(plain)
    if call.wants_initial:
        arguments["initial_context"] = initial
    if call.wants_previous:
        arguments["previous_context"] = previous
    return target(**arguments)


@contextmanager
def _loop_of(attempt: Attempt) -> Iterator[Loop | CallersLoop]:
    from dotflow.executors.event_loop import CallersLoop, Loop

    callers = attempt.callers_loop
    with Loop() if callers is None else CallersLoop(callers) as attempt.loop:
        yield attempt.loop


def _is_awaitable(value: object) -> bool:
    """Whether the step has returned something to be awaited: behind a plain decorator, or for want of an `await`."""
    return hasattr(type(value), "__await__")  # on the type, where `await` looks
