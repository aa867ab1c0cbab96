"""A task: one entry of a workflow's list, and in a run its state."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dotflow.model.context import Context, from_ns
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.model.step import Step
from dotflow.model.wiring import UNWIRED, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dotflow.model.outcome import Outcome, TaskError

__all__ = ["Capture", "InnerRun", "SpanContext", "Task"]

Capture = tuple[Any, ...]
"""All that a task has at one moment, in the order of its `__slots__`."""

_TRACEPARENT_LENGTH = 55
_ODD = frozenset("13579bdf")
_NO_CARRIER: Mapping[str, str] = {}
_NOTHING_RECORDED: Mapping[str, float] = {}
_NOT_STARTED = TypeStatus.NOT_STARTED


class SpanContext(NamedTuple):
    """Which span stands for a run or a task: W3C ids as lower-case hex, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def of(cls, carrier: Mapping[str, str]) -> SpanContext | None:
        """The ids in a `traceparent` header: version, trace id, parent id and flags, joined by dashes; None if absent.

        https://www.w3.org/TR/trace-context/#traceparent-header
        """
        header = carrier.get("traceparent", "")
        if (
            not isinstance(header, str)
            or len(header) < _TRACEPARENT_LENGTH
            or not header[2] == header[35] == header[52] == "-"
        ):
            return None
        return cls(header[3:35], header[36:52], header[54] in _ODD)


class InnerRun(Protocol):
    """What a task knows of a run that its step has started; it is a `Run`."""

    run_id: str
    workflow_id: str
    workflow_name: str
    status: TypeStatus
    result: TypeResult | None
    duration: float | None

    @property
    def tasks(self) -> Sequence[Task]:
        """Its tasks, in the order they were added."""

    @property
    def trace_id(self) -> str:
        """The id of its trace."""


class Task:
    """One entry of a workflow's list; in a run, its state too.

    Only the engine writes to a task. `parents` are the tasks whose end it waited for; `items` are those of a mapped task,
    each a task of its own, and `item_of` is the mapped task of an item; `reason` says why a task was skipped, or in a resumed
    run why it ran again. `duration` is seconds (monotonic), from its start to its end, waits between
    attempts included; `retry_in` is the wait (s) before the next attempt, while the status is `Retry`. The `*_ns` times are nanoseconds since the epoch. `span` is the task's span
    and `innermost_span` that of its attempt where it has one; `span_carrier` and `carrier` are their W3C headers. All are
    empty unless a tracer makes spans.
    """

    __slots__ = (
        "_current_context",
        "_errors",
        "_initial_context",
        "_inner_runs",
        "_innermost_span",
        "_parents",
        "_previous_context",
        "_span",
        "attempt",
        "attempt_started_ns",
        "callback",
        "carrier",
        "duration",
        "finished_ns",
        "group_name",
        "item_of",
        "items",
        "name",
        "outcome",
        "queued_ns",
        "reason",
        "result",
        "retry_count",
        "retry_in",
        "run_id",
        "span_carrier",
        "spec",
        "started_ns",
        "status",
        "task_id",
        "wiring",
        "workflow_id",
        "workflow_name",
    )

    def __init__(
        self,
        step: Any,
        *,
        initial_context: Any = None,
        callback: Callable[..., Any] | None = None,
        group_name: str = "default",
        name: str | None = None,
        task_id: str | None = None,
        workflow_id: str = "",
        workflow_name: str = "",
        run_id: str = "",
        wiring: Wiring = UNWIRED,
    ) -> None:
        """A task made by hand, for instance to test a provider; `workflow.task.add` makes those of a workflow.

        Raises:
            MissingActionDecorator, StepSignatureError, ImportModuleError: see `Step.of`.
        """
        self.spec = step if isinstance(step, Step) else Step.of(step)
        self.name = name or self.spec.name
        self.task_id = task_id or self.name
        self.group_name = group_name
        self.callback = callback
        self.wiring = wiring
        self.item_of: Task | None = None
        self._initial_context = initial_context if isinstance(initial_context, Context) else Context(initial_context)
        self._start_over(workflow_id, workflow_name, run_id)

    def _start_over(self, workflow_id: str, workflow_name: str, run_id: str) -> None:
        self.workflow_id = workflow_id
        self.workflow_name = workflow_name
        self.run_id = run_id
        self.status = _NOT_STARTED
        self.result: TypeResult | None = None
        self.attempt = 0
        self.attempt_started_ns = 0
        self.retry_count = 0
        self.retry_in = 0.0
        self._errors: list[TaskError] | None = None
        self.reason = ""
        self._inner_runs: list[InnerRun] | None = None
        self.items: list[Task] | None = None
        self._parents: (
            Task | tuple[Task, ...]
        ) = ()  # of one the task itself: a tuple for each of many costs more to keep
        self.outcome: Outcome | None = None
        self._span: SpanContext | None = None
        self._innermost_span: SpanContext | None = None
        self.span_carrier = self.carrier = _NO_CARRIER
        self.duration: float | None = None
        self.queued_ns: int | None = None
        self.started_ns: int | None = None
        self.finished_ns: int | None = None
        self._previous_context: Context | None = None
        self._current_context: Context | None = None

    def for_run(self, workflow_id: str, workflow_name: str, run_id: str) -> Task:
        """A fresh copy of this entry, for one run."""
        task = Task.__new__(Task)
        task.spec = self.spec
        task.name = self.name
        task.task_id = self.task_id
        task.group_name = self.group_name
        task.callback = self.callback
        task.wiring = self.wiring
        task.item_of = None
        task._initial_context = self._initial_context
        task._start_over(workflow_id, workflow_name, run_id)
        return task

    def capture(self) -> Capture:
        """The task as it is now, at the least cost; `Task.captured` makes a snapshot of it. Values are shared, not copied."""
        state = _capture(self)
        if self._errors is None and self._inner_runs is None:
            return state
        # All else is replaced when it changes, these are added to.
        own = list(state)
        own[_ERRORS] = list(self._errors) if self._errors else None
        own[_INNER_RUNS] = list(self._inner_runs) if self._inner_runs else None
        return tuple(own)

    @staticmethod
    def captured(state: Capture) -> Task:
        """The task as it was when it was captured."""
        task = Task.__new__(Task)
        for name, value in zip(Task.__slots__, state, strict=True):
            setattr(task, name, value)
        return task

    def item(self, key: str) -> Task:
        """An item of this task, which is mapped: it has the name of the task, and an id with its key in brackets."""
        task = self.for_run(self.workflow_id, self.workflow_name, self.run_id)
        task.task_id = f"{self.task_id}[{key}]"
        task.callback = None
        task.wiring = UNWIRED
        task.item_of = self
        return task

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Of a copy, and of what is sent elsewhere: with its parents and its items, but not with all that they hang on."""
        state = {name: getattr(self, name) for name in Task.__slots__}
        state["wiring"] = self.wiring.alone()
        state["_parents"] = tuple([parent._alone() for parent in self.parents])
        state["item_of"] = self.item_of._alone() if self.item_of is not None else None
        return None, state

    def _alone(self) -> Task:
        task = self.snapshot()
        task.wiring, task.parents, task.items, task.item_of = self.wiring.alone(), (), None, None
        return task

    def snapshot(self) -> Task:
        """The task as it is now, for a reader who looks at it later. Values are shared, not copied."""
        return Task.captured(self.capture())

    @property
    def key(self) -> str | None:
        """What is in the brackets of its id, if it is an item of a mapped task or a member of a family."""
        if self.item_of is not None:
            return self.task_id[len(self.item_of.task_id) + 1 : -1]
        return self.wiring.key

    @property
    def step(self) -> Callable[..., Any]:
        """The step as the user wrote it."""
        return self.spec.source

    @property
    def initial_context(self) -> Context:
        """What the task was added with."""
        return self._initial_context

    @property
    def previous_context(self) -> Context:
        """The result of the task before; empty if there was none."""
        if self._previous_context is None:
            self._previous_context = Context()
        return self._previous_context

    @property
    def current_context(self) -> Context:
        """The task's own result; empty until it has completed."""
        if self._current_context is None:
            self._current_context = Context()
        return self._current_context

    @property
    def parents(self) -> tuple[Task, ...]:
        """The tasks whose end it waited for, in the order they were added or named."""
        parents = self._parents
        return parents if type(parents) is tuple else (parents,)  # type: ignore[return-value]

    @parents.setter
    def parents(self, parents: Task | tuple[Task, ...]) -> None:
        self._parents = parents

    @property
    def errors(self) -> list[TaskError]:
        """One entry for each failed attempt, in order."""
        if self._errors is None:
            self._errors = []
        return self._errors

    @property
    def inner_runs(self) -> list[InnerRun]:
        """The runs that its step has started, in all of its attempts; without the values of their tasks once they have ended."""
        if self._inner_runs is None:
            self._inner_runs = []
        return self._inner_runs

    @property
    def error(self) -> TaskError | None:
        """The latest failed attempt, or None."""
        return self._errors[-1] if self._errors else None

    @property
    def span(self) -> SpanContext | None:
        """The span of the task; made of the headers when it is first asked for, which may be never."""
        if self._span is None and self.span_carrier:
            self._span = SpanContext.of(self.span_carrier)
        return self._span

    @span.setter
    def span(self, span: SpanContext | None) -> None:
        self._span = span

    @property
    def innermost_span(self) -> SpanContext | None:
        """The span of the attempt; that of the task where attempts have none of their own."""
        if self.carrier is self.span_carrier:
            return self.span
        if self._innermost_span is None:
            self._innermost_span = SpanContext.of(self.carrier)
        return self._innermost_span

    def take_carrier(self, carrier: Mapping[str, str]) -> None:
        """An attempt has a span of its own, or has none any more."""
        self.carrier = carrier
        self._innermost_span = None

    @property
    def recorded(self) -> Mapping[str, float]:
        """What the latest attempt that has ended measured itself with `dotflow.record`, by name."""
        return (self.outcome is not None and self.outcome.recorded) or _NOTHING_RECORDED

    @property
    def queued_at(self) -> datetime | None:
        """When the task was ready to start, or None."""
        return from_ns(self.queued_ns)

    @property
    def started_at(self) -> datetime | None:
        """When its first attempt started, or None."""
        return from_ns(self.started_ns)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended, or None."""
        return from_ns(self.finished_ns)

    def __repr__(self) -> str:
        return f"Task({self.task_id!r}, {str(self.status)!r})"


_capture = attrgetter(*Task.__slots__)
_ERRORS = Task.__slots__.index("_errors")
_INNER_RUNS = Task.__slots__.index("_inner_runs")
