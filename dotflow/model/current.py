"""What is current inside a step: the span, which a tracer sets and a log reads, and what is known of the task itself."""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dotflow.model.running import running_attempt
from dotflow.model.status import TypeResult, TypeStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dotflow.model.outcome import TaskError
    from dotflow.model.task import InnerRun, SpanContext, Task

__all__ = [
    "Current",
    "Facts",
    "Known",
    "ParentEnd",
    "SentFacts",
    "SpanSource",
    "carrier",
    "current",
    "current_span",
    "end_of",
    "end_of_family",
    "span_source",
]


class SpanSource(Protocol):
    """Knows the span that is current at this moment, which may be one that the step has opened itself."""

    def span(self) -> SpanContext | None:
        """Its ids."""

    def headers(self) -> Mapping[str, str]:
        """The W3C headers that name it."""


span_source: ContextVar[SpanSource | None] = ContextVar("dotflow_span_source", default=None)


def current_span() -> SpanContext | None:
    """The span that is current here, or None outside of a step and without a tracer."""
    source = span_source.get()
    return source.span() if source is not None else None


def carrier() -> dict[str, str]:
    """The span that is current here, for a child process: `env={**os.environ, **dotflow.carrier()}`.

    `TRACEPARENT`, and `TRACESTATE` and `BAGGAGE` where there are any; empty outside of a step and without a tracer. A
    workflow that the child starts becomes part of the same trace.
    https://opentelemetry.io/docs/specs/otel/context/env-carriers/
    """
    source = span_source.get()
    return {name.upper(): value for name, value in source.headers().items()} if source is not None else {}


class ParentEnd(NamedTuple):
    """How a parent of the task ended: for an alert that says why, a join that knows what is missing.

    `errors` are of its failed attempts. `items` are those of a mapped parent, or the members of a family, in order; empty
    for others.
    """

    name: str
    task_id: str
    status: TypeStatus
    result: TypeResult | None
    errors: tuple[TaskError, ...] = ()
    items: tuple[ParentEnd, ...] = ()


class Current(NamedTuple):
    """What `current()` tells of the step that runs. `parents` are by name, as `after` wrote it, else as the mode implies."""

    workflow_id: str
    workflow_name: str
    run_id: str
    trace_id: str
    trigger: str
    task_id: str
    task_name: str
    group_name: str
    attempt: int
    parents: Mapping[str, ParentEnd]


Known = tuple[str, str, str, str, str, str, str, str]
"""The fields of `Current` that stay the same in every attempt."""


class Facts(Protocol):
    """Where `Current` comes from: put together only when it is asked for."""

    @property
    def resumes(self) -> bool:
        """Whether the run takes over what an earlier one has finished; so do those that the step starts."""

    def current(self, attempt: int) -> Current:
        """What is known of the task, in this attempt."""

    def note(self, run: InnerRun) -> None:
        """The step starts a run; or one that it has started has ended, and this is its record."""


class SentFacts:
    """Facts in another process. Ends of parents that many attempts are sent come as bytes, and are read if asked for."""

    __slots__ = ("_known", "_parents", "resumes")

    def __init__(self, known: Known, parents: tuple[tuple[str, ParentEnd | bytes], ...], resumes: bool) -> None:  # noqa: FBT001
        self._known = known
        self._parents = parents
        self.resumes = resumes

    def current(self, attempt: int) -> Current:
        """What is known of the task, in this attempt."""
        import pickle  # here, because most steps do not ask

        parents = {
            label: pickle.loads(end) if isinstance(end, bytes) else end  # noqa: S301 - what the coordinator made
            for label, end in self._parents
        }
        return Current(*self._known, attempt, MappingProxyType(parents))

    def note(self, run: InnerRun) -> None:
        """It travels with the outcome."""


def current() -> Current | None:
    """What is known of the task whose step runs here; None outside of a step.

    Works in steps, classes and async code in every mode, and in threads that were given the step's `contextvars`.
    """
    attempt = running_attempt.get()
    facts: Facts | None = attempt.facts if attempt is not None else None
    return facts.current(attempt.number) if attempt is not None and facts is not None else None


def end_of(label: str, task: Task) -> ParentEnd:
    """How a task ended."""
    items = tuple(end_of(item.name, item) for item in task.items or ())
    return ParentEnd(label, task.task_id, task.status, task.result, tuple(task.errors), items)


def end_of_family(name: str, tasks: Sequence[Task]) -> ParentEnd:
    """How the members of a family ended: as the first that failed, else as the first."""
    members = tuple(end_of(name, task) for task in tasks)
    worst = next((member for member in members if member.status is TypeStatus.FAILED), members[0])
    errors = tuple(error for member in members for error in member.errors)
    return ParentEnd(name, name, worst.status, worst.result, errors, members)
