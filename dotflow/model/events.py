"""What happens in a run, as frozen values. `Config(listeners=[f])` calls `f(event)` for each, in order.

Per task that runs: `TaskQueued`, then exactly one `TaskStarted` or `TaskRestored`, for each attempt `AttemptStarted` and
`AttemptEnded` (with a `TaskRetrying` between two attempts), and exactly one `TaskEnded`. A mapped task has no attempts;
each of its items has all of these events for itself. A task that does not run because of what became of its parents has
`TaskSkipped` only; one that does not run because the run was stopped or cancelled has none, or, if it was ready by then, `TaskQueued` only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from inspect import getattr_static
from typing import TYPE_CHECKING, Any

from dotflow.model.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.run import Run

__all__ = [
    "AttemptEnded",
    "AttemptStarted",
    "Event",
    "TaskEnded",
    "TaskEvent",
    "TaskQueued",
    "TaskRestored",
    "TaskRetrying",
    "TaskSkipped",
    "TaskStarted",
    "WorkflowEnded",
    "WorkflowStarted",
    "maker",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `time_ns`: nanoseconds since the epoch, never going backwards within a run."""

    time_ns: int
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """Base of the events of a task. `task` is a snapshot: the task as it was at the event, whenever it is looked at."""

    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStarted(Event):
    """A run has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEnded(Event):
    """A run has ended; `run.status` and `run.result` say how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueued(TaskEvent):
    """A task is ready: all that it waits for is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(TaskEvent):
    """A task leaves the queue for its first attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRestored(TaskEvent):
    """A task's result was taken from the storage; it does not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSkipped(TaskEvent):
    """A task will not run: `task.result` is `skip` or `upstream_failed`, `task.reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(TaskEvent):
    """Attempt `task.attempt` starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(TaskEvent):
    """Attempt `task.attempt` has ended; `task.outcome` says how, where and how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetrying(TaskEvent):
    """An attempt failed and another one follows, in `task.retry_in` seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnded(TaskEvent):
    """A task has ended; `task.status` and `task.result` say how."""


class _TaskOfEvent:
    """`TaskEvent.task`, in front of its slot: a task that was only captured is made when somebody first looks at it."""

    __slots__ = ("slot",)
    _making = threading.Lock()  # whoever looks gets the same task

    def __init__(self, slot: Any) -> None:
        self.slot = slot

    def __get__(self, event: TaskEvent | None, owner: type | None = None) -> Any:
        if event is None:
            return self
        found = self.slot.__get__(event, owner)
        if type(found) is not tuple:
            return found
        with self._making:
            found = self.slot.__get__(event, owner)
            if type(found) is tuple:
                found = Task.captured(found)
                self.slot.__set__(event, found)
            return found

    def __set__(self, event: TaskEvent, task: Task) -> None:
        self.slot.__set__(event, task)


for _event in (TaskEvent, *TaskEvent.__subclasses__()):
    if "task" in vars(_event):  # the first releases of Python 3.10 give each subclass a slot of its own
        setattr(_event, "task", _TaskOfEvent(vars(_event)["task"]))  # noqa: B010 - a field to the type checker


def maker(event: type[TaskEvent]) -> Callable[[Run, Task], TaskEvent]:
    """What makes such an event of a run and its live task: without `__init__`, which takes longer than all the rest."""
    new = event.__new__
    set_time_ns, set_run = getattr_static(event, "time_ns").__set__, getattr_static(event, "run").__set__
    set_task = getattr_static(event, "task").slot.__set__

    def make(run: Run, task: Task) -> TaskEvent:
        made = new(event)
        set_time_ns(made, run.now_ns)
        set_run(made, run)
        set_task(made, task.capture())
        return made

    return make
