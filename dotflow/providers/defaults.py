"""The default of every contract: does nothing, except that contexts are kept in memory and lines go to `logging`."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from dotflow.abc import Log, Metrics, Notify, Scheduler, Server, Storage, Tracer
from dotflow.abc.hooks import does_nothing, only_if
from dotflow.model.context import Context
from dotflow.names import logs
from dotflow.toolkit.log_fields import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.abc.workflow import Workflow
    from dotflow.model.task import Task

__all__ = [
    "LogDefault",
    "MetricsDefault",
    "NotifyDefault",
    "SchedulerDefault",
    "ServerDefault",
    "StorageDefault",
    "TracerDefault",
]


class StorageDefault(Storage):
    """Keeps contexts in memory, as long as the process lives."""

    persistent = False

    def __init__(self) -> None:
        self._contexts: dict[str, Context] = {}

    def post(self, key: str, context: Context) -> None:
        """Keep the context itself, not a copy."""
        self._contexts[key] = context

    def get(self, key: str) -> Context:
        """The context, or an empty one."""
        return self._contexts.get(key) or Context()

    def key(self, task: Task) -> str:
        """Workflow id and task id."""
        return f"{task.workflow_id}:{task.task_id}"

    def delete(self, key: str) -> None:
        """Forget the context of `key`, if there is one."""
        self._contexts.pop(key, None)

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted."""
        return sorted(key for key in self._contexts.copy() if key.startswith(prefix))


@does_nothing
class NotifyDefault(Notify):
    """Tells nobody."""

    def hook_status_task(self, task: Task) -> None:
        """Do nothing."""


class LogDefault(Log):
    """Writes to the stdlib logger `dotflow`, which has no handlers of its own: what is shown is the application's choice."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(logs.LOGGER)

    @only_if(lambda log: functools.partial(log._logger.isEnabledFor, logging.INFO))  # noqa: SLF001 - its own
    def info(self, **kwargs: Any) -> None:
        """Write at INFO."""
        if self._logger.isEnabledFor(logging.INFO):
            self._write(logging.INFO, **kwargs)

    def error(self, **kwargs: Any) -> None:
        """Write at ERROR, with the traceback of a task that failed."""
        self._write(logging.ERROR, **kwargs)

    def warning(self, **kwargs: Any) -> None:
        """Write at WARNING."""
        self._write(logging.WARNING, **kwargs)

    def debug(self, **kwargs: Any) -> None:
        """Write at DEBUG."""
        self._write(logging.DEBUG, **kwargs)

    def _write(self, level: int, event: str, **kwargs: Any) -> None:
        if self._logger.isEnabledFor(level):
            fields = fields_of(**kwargs)
            text = " ".join(f"{name}={value}" for name, value in fields.items() if name in _SHOWN)
            if level >= logging.ERROR and logs.TRACEBACK in fields:
                text = f"{text}\n{str(fields[logs.TRACEBACK]).rstrip()}"
            self._logger.log(level, "%s %s", event, text, extra={"dotflow": fields})


_SHOWN = frozenset({logs.WORKFLOW, logs.TASK_ID, logs.ATTEMPT, logs.DURATION, logs.ERROR_TYPE, logs.ERROR, logs.RUN_ID})


class SchedulerDefault(Scheduler):
    """Never ticks."""

    def start(self, workflow: Callable[..., Any], **kwargs: Any) -> None:
        """Return at once."""

    def stop(self) -> None:
        """Do nothing."""


@does_nothing
class TracerDefault(Tracer):
    """Traces nothing."""

    def start_workflow(self, workflow_id: str, **kwargs: Any) -> None:
        """Do nothing."""

    def end_workflow(self, workflow_id: str, **kwargs: Any) -> None:
        """Do nothing."""

    def start_task(self, task: Task) -> None:
        """Do nothing."""

    def end_task(self, task: Task) -> None:
        """Do nothing."""


@does_nothing
class MetricsDefault(Metrics):
    """Counts nothing."""

    def workflow_started(self, workflow_id: str, **kwargs: Any) -> None:
        """Do nothing."""

    def workflow_completed(self, workflow_id: str, duration: float) -> None:
        """Do nothing."""

    def workflow_failed(self, workflow_id: str, duration: float) -> None:
        """Do nothing."""

    def task_completed(self, task: Task) -> None:
        """Do nothing."""

    def task_failed(self, task: Task) -> None:
        """Do nothing."""

    def task_retried(self, task: Task) -> None:
        """Do nothing."""


@does_nothing
class ServerDefault(Server):
    """Tells no server."""

    def create_workflow(self, workflow: Workflow) -> None:
        """Do nothing."""

    def update_workflow(self, workflow: Workflow, status: str = "") -> None:
        """Do nothing."""

    def create_task(self, task: Task) -> None:
        """Do nothing."""

    def update_task(self, task: Task) -> None:
        """Do nothing."""
