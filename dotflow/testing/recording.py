"""Providers that write down how they are called. Each has exactly the abstract methods of its contract."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dotflow.abc import Log, Metrics, Notify, Scheduler, Server, Storage, Tracer
from dotflow.model.context import Context
from dotflow.model.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Call",
    "Calls",
    "RecordingLog",
    "RecordingMetrics",
    "RecordingNotify",
    "RecordingScheduler",
    "RecordingServer",
    "RecordingStorage",
    "RecordingTracer",
]


@dataclass(frozen=True)
class Call:
    """One call: who, which method, with what, in which thread. `task` is a snapshot taken at the call."""

    provider: str
    method: str
    arguments: dict[str, Any]
    task: Task | None = None
    thread: str = field(default_factory=lambda: threading.current_thread().name)

    @property
    def name(self) -> str:
        """`provider.method`."""
        return f"{self.provider}.{self.method}"


class Calls(list[Call]):
    """The calls, in the order they came; shared by the providers of one test."""

    def named(self, name: str) -> list[Call]:
        """The calls of one method, given as `provider.method`."""
        return [call for call in self if call.name == name]

    def names(self, *, of_task: str | None = None) -> list[str]:
        """`provider.method` of every call, or of those about one task."""
        return [call.name for call in self if of_task is None or (call.task and call.task.task_id == of_task)]

    def note(self, provider: str, method: str, **arguments: Any) -> None:
        """Write a call down."""
        task = arguments.get("task")
        seen = task.snapshot() if isinstance(task, Task) else None
        self.append(Call(provider, method, arguments, seen))


class _Recording:
    def __init__(self, calls: Calls | None = None) -> None:
        self.calls = Calls() if calls is None else calls


class RecordingTracer(_Recording, Tracer):
    """A tracer that writes down its calls."""

    def start_workflow(self, workflow_id: str, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("tracer", "start_workflow", workflow_id=workflow_id, **kwargs)

    def end_workflow(self, workflow_id: str, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("tracer", "end_workflow", workflow_id=workflow_id, **kwargs)

    def start_task(self, task: Task) -> None:
        """Note it."""
        self.calls.note("tracer", "start_task", task=task)

    def end_task(self, task: Task) -> None:
        """Note it."""
        self.calls.note("tracer", "end_task", task=task)


class RecordingMetrics(_Recording, Metrics):
    """A metrics provider that writes down its calls."""

    def workflow_started(self, workflow_id: str, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("metrics", "workflow_started", workflow_id=workflow_id, **kwargs)

    def workflow_completed(self, workflow_id: str, duration: float) -> None:
        """Note it."""
        self.calls.note("metrics", "workflow_completed", workflow_id=workflow_id, duration=duration)

    def workflow_failed(self, workflow_id: str, duration: float) -> None:
        """Note it."""
        self.calls.note("metrics", "workflow_failed", workflow_id=workflow_id, duration=duration)

    def task_completed(self, task: Task) -> None:
        """Note it."""
        self.calls.note("metrics", "task_completed", task=task)

    def task_failed(self, task: Task) -> None:
        """Note it."""
        self.calls.note("metrics", "task_failed", task=task)

    def task_retried(self, task: Task) -> None:
        """Note it."""
        self.calls.note("metrics", "task_retried", task=task)


class RecordingLog(_Recording, Log):
    """A log that writes down its calls."""

    def info(self, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("log", "info", **kwargs)

    def error(self, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("log", "error", **kwargs)

    def warning(self, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("log", "warning", **kwargs)

    def debug(self, **kwargs: Any) -> None:
        """Note it."""
        self.calls.note("log", "debug", **kwargs)


class RecordingNotify(_Recording, Notify):
    """A notifier that writes down its calls."""

    def hook_status_task(self, task: Task) -> None:
        """Note it."""
        self.calls.note("notify", "hook_status_task", task=task)


class RecordingServer(_Recording, Server):
    """A server that writes down its calls."""

    def create_workflow(self, workflow: Any) -> None:
        """Note it."""
        self.calls.note("server", "create_workflow", workflow=workflow)

    def update_workflow(self, workflow: Any, status: str = "") -> None:
        """Note it."""
        self.calls.note("server", "update_workflow", workflow=workflow, status=status)

    def create_task(self, task: Task) -> None:
        """Note it."""
        self.calls.note("server", "create_task", task=task)

    def update_task(self, task: Task) -> None:
        """Note it."""
        self.calls.note("server", "update_task", task=task)


class RecordingStorage(_Recording, Storage):
    """A storage in memory that writes down its calls; its key is the least that a custom one can be."""

    def __init__(self, calls: Calls | None = None) -> None:
        super().__init__(calls)
        self.kept: dict[str, Context] = {}

    def post(self, key: str, context: Context) -> None:
        """Note it, and keep the context."""
        self.calls.note("storage", "post", key=key, context=context)
        self.kept[key] = context

    def get(self, key: str) -> Context:
        """Note it, and give the context back, or an empty one."""
        self.calls.note("storage", "get", key=key)
        return self.kept.get(key, Context())

    def key(self, task: Task) -> str:
        """Workflow id and task id."""
        return f"{task.workflow_id}:{task.task_id}"


class RecordingScheduler(_Recording, Scheduler):
    """A scheduler that ticks a given number of times, at once."""

    def __init__(self, calls: Calls | None = None, *, ticks: int = 1) -> None:
        super().__init__(calls)
        self.ticks = ticks
        self.returned: list[Any] = []

    def start(self, workflow: Callable[..., Any], **kwargs: Any) -> None:
        """Note it, and call the workflow at every tick."""
        self.calls.note("scheduler", "start", **kwargs)
        for _ in range(self.ticks):
            self.returned.append(workflow(**kwargs))

    def stop(self) -> None:
        """Note it; there is nothing to end."""
        self.calls.note("scheduler", "stop")
