"""What the inner runs of a step in another process tell the providers that stay with the coordinator.

The calls are noted there, travel with the report of an attempt, and are made again by the coordinator on the providers
themselves. So none of those has to know about processes, and nothing is counted twice.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dotflow.abc.hooks import overridden
from dotflow.model.events import Event
from dotflow.model.record import record_of_run, record_of_task
from dotflow.model.run import Run
from dotflow.model.task import Task
from dotflow.providers import defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["LISTENER", "Relay", "RelayedCall", "relayed_methods"]

LISTENER: Final = "listener"

_METHODS: Mapping[str, tuple[str, ...]] = {
    "tracer": (
        *("start_workflow", "end_workflow", "start_task", "end_task", "start_attempt", "end_attempt", "restore_task"),
        "skip_task",
    ),
    "metrics": (
        *("workflow_started", "workflow_completed", "workflow_failed", "task_completed", "task_failed", "task_retried"),
        *("declare", "task_started", "task_restored", "task_skipped", "expected_interval", "schedule_skipped"),
        *("schedule_ticked", "provider_failed", "telemetry_dropped"),
    ),
    "log": ("info", "error", "warning", "debug"),
    "notify": ("hook_status_task",),
    "server": ("create_workflow", "update_workflow", "create_task", "update_task"),
}
_IDLE: Mapping[str, Callable[[], Any]] = {
    "tracer": defaults.TracerDefault,
    "metrics": defaults.MetricsDefault,
    "log": defaults.LogDefault,
    "notify": defaults.NotifyDefault,
    "server": defaults.ServerDefault,
}


class RelayedCall(NamedTuple):
    """A call of a provider, or of all listeners, to be made by the coordinator. `run` is for a method that asks for it."""

    provider: str
    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    run: Run | None


def relayed_methods(config: Any) -> dict[str, tuple[str, ...]]:
    """What of a config's providers is to be called: their methods that do anything."""
    found = {
        provider: tuple(method for method in methods if overridden(getattr(config, provider), method))
        for provider, methods in _METHODS.items()
    }
    return {**found, LISTENER: ("",) if config.listeners else ()}


class Relay:
    """Notes the calls of the inner runs of one run in this process, until a report takes them along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[RelayedCall] = []
        self._runs: dict[tuple[str, str], Run] = {}

    def provider(self, name: str, methods: Sequence[str]) -> Any:
        """A provider whose calls of these methods are noted; it does nothing else."""
        made = _IDLE[name]() if name != "log" else _Silent()
        for method in methods:
            setattr(made, method, functools.partial(self._named_run, name, method))
        return made

    def listen(self, event: Event) -> None:
        """A listener."""
        self._note(RelayedCall(LISTENER, "", (self._sent(event),), {}, None))

    def take(self) -> list[RelayedCall]:
        """The calls since this was last asked."""
        with self._lock:
            calls, self._calls = self._calls, []
            self._runs.clear()
            return calls

    def _named_run(self, provider: str, method: str, *args: Any, run: Run | None = None, **kwargs: Any) -> None:
        """The parameter `run` is named, so that the engine passes it."""
        sent = {name: self._sent(value) for name, value in kwargs.items()}
        of = self._run(run) if run is not None else None
        if provider == "log" and of is not None:
            sent, of = {**sent, "run": of}, None
        self._note(RelayedCall(provider, method, tuple([self._sent(value) for value in args]), sent, of))

    def _note(self, call: RelayedCall) -> None:
        with self._lock:
            self._calls.append(call)

    def _sent(self, value: Any) -> Any:
        """What is sent of an argument: records in place of what lives here."""
        if isinstance(value, Task):
            return record_of_task(value)
        if isinstance(value, Run):
            return self._run(value)
        if isinstance(value, Event):
            found = {field.name: self._sent(getattr(value, field.name)) for field in fields(value)}
            return replace(value, **found)
        if hasattr(value, "workflow_id") and hasattr(value, "task"):
            return _WorkflowRecord.of(value)
        return value

    def _run(self, run: Run) -> Run:
        """One record for each status, as many events are about the same run."""
        key = run.run_id, run.status.value
        found = self._runs.get(key)
        if found is None:
            found = self._runs[key] = record_of_run(run)
        return found


class _Silent(defaults.LogDefault):
    """A log that is only relayed."""

    def info(self, **kwargs: Any) -> None:
        """Do nothing."""

    error = warning = debug = info


@dataclass(frozen=True)
class _TasksRecord:
    """See `dotflow.abc.workflow.TaskList`."""

    tasks: tuple[Task, ...]
    description: dict[str, Any]

    def count(self) -> int:
        """How many tasks there are."""
        return len(self.tasks)

    def schema(self) -> dict[str, Any]:
        """The workflow as plain data."""
        return self.description

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)


@dataclass(frozen=True)
class _WorkflowRecord:
    """See `dotflow.abc.workflow.Workflow`."""

    name: str
    workflow_id: str
    task: _TasksRecord

    @classmethod
    def of(cls, workflow: Any) -> _WorkflowRecord:
        tasks = tuple(record_of_task(task) for task in workflow.task)
        return cls(workflow.name, workflow.workflow_id, _TasksRecord(tasks, workflow.task.schema()))
