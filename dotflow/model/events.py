"""What happens in a run, as frozen values. `Config(listeners=[f])` calls `f(event)` for each, in order.

Per task: `TaskQueued`, then exactly one `TaskStarted` or `TaskRestored`, for each attempt `AttemptStarted` and
`AttemptEnded` (with a `TaskRetrying` between two attempts), and exactly one `TaskEnded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = [
    "AttemptEnded",
    "AttemptStarted",
    "Event",
    "TaskEnded",
    "TaskEvent",
    "TaskQueued",
    "TaskRestored",
    "TaskRetrying",
    "TaskStarted",
    "WorkflowEnded",
    "WorkflowStarted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `time_ns`: nanoseconds since the epoch, never going backwards within a run."""

    time_ns: int
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """Base of the events of a task. `task` is a snapshot: the task as it was at the event."""

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
