"""What happens in a run, as frozen values: `Config(listeners=[f])` calls `f(event)` for each, in order."""

from dotflow.model.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    TaskEnded,
    TaskEvent,
    TaskQueued,
    TaskRestored,
    TaskRetrying,
    TaskSkipped,
    TaskStarted,
    WorkflowEnded,
    WorkflowStarted,
)

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
]
