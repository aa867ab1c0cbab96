"""Who is called when: one table, bound once a run to the providers that are there.

What is not configured drops out when the table is bound, so it costs nothing per task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.abc.hooks import condition_of, overridden
from dotflow.model.outcome import end_of_program
from dotflow.model.task import SpanContext, Task
from dotflow.names import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.abc.workflow import Workflow
    from dotflow.config import Config
    from dotflow.engine.background_queue import BackgroundQueue
    from dotflow.engine.containment import Containment
    from dotflow.model.run import Run

__all__ = ["Dispatch", "Handler", "name_of", "wants_run"]


class Handler(NamedTuple):
    """One call to make at a moment, with the names under which its errors are counted."""

    provider: str
    method: str
    call: Callable[[Any], object]


class _Row(NamedTuple):
    """One line of the table: at this moment call this method, with the arguments that `shape` makes of the subject."""

    provider: str
    method: str
    shape: _Shape


class _Moment(NamedTuple):
    """The rows of a moment in the order written, and the name of the event that listeners get after all of them."""

    rows: tuple[_Row, ...]
    event: str | None


class _Binding(NamedTuple):
    """What a shape knows beside the method: the run's dispatch, and the names under which a call is counted."""

    dispatch: Dispatch
    provider: str
    method: str

    def post(self, deliver: Callable[[], object]) -> None:
        """Queue a call of a network provider with the background_queue."""
        self.dispatch.post(self.provider, self.method, deliver)


# --- shapes: from the subject of a moment (the run or a task) to the arguments of a provider's method


def _task(_: _Binding, method: Callable[..., Any]) -> Callable[[Task], object]:
    return method


def _span_of_task(_: _Binding, carrier: Callable[..., Any]) -> Callable[[Task], object]:
    def note(task: Task) -> None:
        task.carrier = task.span_carrier = _checked(carrier(task))

    return note


def _span_of_attempt(_: _Binding, carrier: Callable[..., Any]) -> Callable[[Task], object]:
    def note(task: Task) -> None:
        found = carrier(task)
        if found is not task.carrier:
            task.take_carrier(_checked(found))

    return note


def _checked(headers: Any) -> Mapping[str, str]:
    """What a tracer calls headers, if it is that: they are read later, where nothing is contained any more."""
    if type(headers) not in _mappings:
        if not isinstance(headers, Mapping):
            raise TypeError(
                f"carrier() gave {type(headers).__name__} in place of W3C headers, a mapping of text to text"
            )
        _mappings.add(type(headers))  # to ask a second time takes longer than to know, and this is done for every task
    found: Mapping[str, str] = headers
    return found


_mappings: set[type] = {dict}


def _span_of_run(_: _Binding, carrier: Callable[..., Any]) -> Callable[[Run], object]:
    def note(run: Run) -> None:
        run.span = SpanContext.of(carrier(run))

    return note


def _opening(_: _Binding, method: Callable[..., Any]) -> Callable[[Run], object]:
    extra = wants_run(method)
    return lambda run: method(
        run.workflow_id,
        run_id=run.run_id,
        name=run.workflow_name,
        mode=run.mode,
        tasks_count=len(run.tasks),
        trigger=run.trigger,
        **extra(run),
    )


def _closing(_: _Binding, method: Callable[..., Any]) -> Callable[[Run], object]:
    extra = wants_run(method)
    return lambda run: method(
        run.workflow_id, run_id=run.run_id, duration=run.duration, failed=run.failed, **extra(run)
    )


def _duration(_: _Binding, method: Callable[..., Any]) -> Callable[[Run], object]:
    extra = wants_run(method)
    return lambda run: method(run.workflow_id, run.duration, **extra(run))


def _task_line(event: str) -> _Shape:
    def shape(_: _Binding, method: Callable[..., Any]) -> Callable[[Task], object]:
        wanted = condition_of(method)
        if wanted is None:
            return lambda task: method(event=event, task=task)
        return lambda task: method(event=event, task=task) if wanted() else None

    return shape


def _run_line(event: str) -> _Shape:
    return lambda _, method: lambda run: method(event=event, run=run)


def _post_task(binding: _Binding, method: Callable[..., Any]) -> Callable[[Task], object]:
    """Through the background_queue, with the task as it is at this moment."""

    def call(task: Task) -> None:
        seen = task.capture()
        binding.post(lambda: method(Task.captured(seen)))

    return call


def _post_first(binding: _Binding, method: Callable[..., Any]) -> Callable[[Run], object]:
    return lambda _: binding.post(lambda: method(binding.dispatch.workflow)) if binding.dispatch.is_first_run else None


def _post_first_tasks(binding: _Binding, method: Callable[..., Any]) -> Callable[[Run], object]:
    def call(run: Run) -> None:
        for task in run.tasks if binding.dispatch.is_first_run else ():
            seen = task.capture()
            binding.post(lambda seen=seen: method(Task.captured(seen)))  # type: ignore[misc]

    return call


def _post_status(binding: _Binding, method: Callable[..., Any]) -> Callable[[Run], object]:
    def call(run: Run) -> None:
        status = run.status.value
        binding.post(lambda: method(binding.dispatch.workflow, status=status))

    return call


_Shape = Callable[[_Binding, Callable[..., Any]], Callable[[Any], object]]


def _before(event: str | None, *rows: tuple[str, str, _Shape]) -> _Moment:
    """A moment before something: providers are called in the order written."""
    return _Moment(tuple(_Row(*row) for row in rows), event)


def _after(event: str | None, *rows: tuple[str, str, _Shape]) -> _Moment:
    """A moment after something: providers are called in reverse, so what was opened first is closed last."""
    return _Moment(tuple(_Row(*row) for row in reversed(rows)), event)


# --- the table
# fmt: off
_MOMENTS: Mapping[str, _Moment] = {
    "workflow_started": _before(
        "WorkflowStarted",
        ("tracer", "start_workflow", _opening),
        ("tracer", "workflow_carrier", _span_of_run),
        ("metrics", "workflow_started", _opening),
        ("log", "info", _run_line(logs.WORKFLOW_STARTED)),
        ("server", "create_workflow", _post_first),
        ("server", "create_task", _post_first_tasks),
        ("server", "update_workflow", _post_status),
    ),
    "task_queued": _before("TaskQueued"),
    "task_started": _before(
        "TaskStarted",
        ("tracer", "start_task", _task),
        ("tracer", "carrier", _span_of_task),
        ("metrics", "task_started", _task),
        ("log", "info", _task_line(logs.TASK_STARTED)),
        ("notify", "hook_status_task", _post_task),
        ("server", "update_task", _post_task),
    ),
    "task_restored": _before(
        "TaskRestored",
        ("tracer", "restore_task", _task),
        ("metrics", "task_restored", _task),
        ("log", "info", _task_line(logs.TASK_RESTORED)),
        ("server", "update_task", _post_task),
    ),
    "task_skipped": _before(
        "TaskSkipped",
        ("tracer", "skip_task", _task),
        ("metrics", "task_skipped", _task),
        ("log", "info", _task_line(logs.TASK_SKIPPED)),
        ("server", "update_task", _post_task),
    ),
    "attempt_started": _before(
        "AttemptStarted",
        ("tracer", "start_attempt", _task),
        ("tracer", "carrier", _span_of_attempt),
    ),
    "attempt_ended": _after(
        "AttemptEnded",
        ("tracer", "end_attempt", _task),
    ),
    "task_retrying": _after(
        "TaskRetrying",
        ("metrics", "task_retried", _task),
        ("log", "warning", _task_line(logs.TASK_RETRYING)),
        ("notify", "hook_status_task", _post_task),
        ("server", "update_task", _post_task),
    ),
    "task_completed": _after(
        "TaskEnded",
        ("tracer", "end_task", _task),
        ("metrics", "task_completed", _task),
        ("log", "info", _task_line(logs.TASK_COMPLETED)),
        ("notify", "hook_status_task", _post_task),
        ("server", "update_task", _post_task),
    ),
    "task_failed": _after(
        "TaskEnded",
        ("tracer", "end_task", _task),
        ("metrics", "task_failed", _task),
        ("log", "error", _task_line(logs.TASK_FAILED)),
        ("notify", "hook_status_task", _post_task),
        ("server", "update_task", _post_task),
    ),
    "workflow_completed": _after(
        "WorkflowEnded",
        ("tracer", "end_workflow", _closing),
        ("metrics", "workflow_completed", _duration),
        ("log", "info", _run_line(logs.WORKFLOW_COMPLETED)),
        ("server", "update_workflow", _post_status),
    ),
    "workflow_failed": _after(
        "WorkflowEnded",
        ("tracer", "end_workflow", _closing),
        ("metrics", "workflow_failed", _duration),
        ("log", "error", _run_line(logs.WORKFLOW_FAILED)),
        ("server", "update_workflow", _post_status),
    ),
}
# fmt: on


class Dispatch:
    """The table, bound to the providers of one run. Each attribute named like a moment is the calls to make then."""

    def __init__(
        self,
        config: Config,
        workflow: Workflow,
        run: Run,
        containment: Containment,
        background_queue: BackgroundQueue,
        *,
        first: bool,
    ) -> None:
        self.workflow = workflow
        self.is_first_run = first
        self.interrupt: BaseException | None = None
        self._run = run
        self._containment = containment
        self._background_queue = background_queue
        self._calls = {name: tuple(self._bind(config, moment)) for name, moment in _MOMENTS.items()}
        self.workflow_started = self._calls["workflow_started"]
        self.task_queued = self._calls["task_queued"]
        self.task_started = self._calls["task_started"]
        self.task_restored = self._calls["task_restored"]
        self.task_skipped = self._calls["task_skipped"]
        self.attempt_started = self._calls["attempt_started"]
        self.attempt_ended = self._calls["attempt_ended"]
        self.only_attempt_started = self._of_only_attempt(config, self.attempt_started)
        self.only_attempt_ended = self._of_only_attempt(config, self.attempt_ended)
        self.task_retrying = self._calls["task_retrying"]
        self.task_completed = self._calls["task_completed"]
        self.task_failed = self._calls["task_failed"]
        # A mapped task is one task, with a span and a line; what is counted are its items.
        self.mapped_started = _without("metrics", self.task_started)
        self.mapped_completed = _without("metrics", self.task_completed)
        self.mapped_failed = _without("metrics", self.task_failed)
        # One that fails before it has items is counted itself: else nothing would tell of it.
        self.mapped_failed_at_once = (*_only("metrics", self.task_started), *self.task_failed)
        self.workflow_completed = self._calls["workflow_completed"]
        self.workflow_failed = self._calls["workflow_failed"]

    def emit(self, calls: Sequence[Handler], subject: Run | Task) -> None:
        """Make the calls of a moment. Each provider gets its own, whatever the others do.

        What a provider raises to end the program (`sys.exit` in a listener) is kept in `interrupt`, for the coordinator
        to raise when its books are in order.
        """
        for provider, method, call in calls:
            try:
                call(subject)
            except BaseException as error:  # noqa: BLE001 - contained, counted and reported in one place
                interrupt = end_of_program(error)
                if interrupt is None:
                    self._containment.caught(self._run, provider, method, error)
                self.interrupt = self.interrupt or interrupt

    def post(self, provider: str, method: str, deliver: Callable[[], object]) -> None:
        """Queue a call with the background_queue."""
        self._background_queue.put(self._run, provider, method, deliver)

    def _bind(self, config: Config, moment: _Moment) -> Iterable[Handler]:
        for provider, method, shape in moment.rows:
            owner = getattr(config, provider)
            if overridden(owner, method):
                yield Handler(provider, method, shape(_Binding(self, provider, method), getattr(owner, method)))
        if moment.event is not None:
            for listener in config.listeners:
                yield Handler("listener", name_of(listener), self._tell(listener, moment.event))

    @staticmethod
    def _of_only_attempt(config: Config, calls: tuple[Handler, ...]) -> tuple[Handler, ...]:
        """The calls where a task has no more than one attempt, which may be nothing to the tracer."""
        return calls if config.tracer.every_attempt else _without("tracer", calls)

    def _tell(self, listener: Callable[[Any], object], name: str) -> Callable[[Any], object]:
        from dotflow.model import events  # here, because a run without listeners has no use for it

        run, event = self._run, getattr(events, name)
        if not issubclass(event, events.TaskEvent):
            return lambda _: listener(event(time_ns=run.now_ns, run=run))
        make = events.maker(event)
        return lambda task: listener(make(run, task))


def _without(provider: str, calls: tuple[Handler, ...]) -> tuple[Handler, ...]:
    return tuple(call for call in calls if call.provider != provider)


def _only(provider: str, calls: tuple[Handler, ...]) -> tuple[Handler, ...]:
    return tuple(call for call in calls if call.provider == provider)


def name_of(listener: object) -> str:
    """What errors of a listener are counted under."""
    return getattr(listener, "__qualname__", None) or type(listener).__qualname__


def wants_run(method: Callable[..., Any]) -> Callable[[Run], dict[str, Run]]:
    """`{"run": run}` for a method that names a parameter `run`, nothing for one that does not."""
    from inspect import signature  # here, because few programs have a provider that this is asked of

    if "run" in signature(method).parameters:
        return lambda run: {"run": run}
    return lambda _: {}
