"""Tracer: a span for every run, task and attempt."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotflow.abc.worker import WorkerSide
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["Tracer"]


class Tracer(Provider):
    """Makes a span of every run, task and attempt. Called in line, so it must not block.

    `start_workflow` gets the keywords `run_id`, `name`, `mode`, `tasks_count` and `trigger` (`manual`, `schedule`,
    `resume`), `end_workflow` gets `run_id`, `duration` (seconds) and `failed`. A method that names a parameter `run`
    gets the `Run` itself as well.
    """

    every_attempt: bool = True
    """False: to this tracer the attempt of a task that can have only one (`retry=1`) is nothing. Its attempt hooks are not called
    for those, nor is `carrier` asked again."""

    @abstractmethod
    def start_workflow(self, workflow_id: str, **kwargs: Any) -> None:
        """A run starts."""

    @abstractmethod
    def end_workflow(self, workflow_id: str, **kwargs: Any) -> None:
        """A run has ended."""

    @abstractmethod
    def start_task(self, task: Task) -> None:
        """A task starts (`task.started_ns`)."""

    @abstractmethod
    def end_task(self, task: Task) -> None:
        """A task has ended (`task.finished_ns`, `task.status`, `task.result`)."""

    def start_attempt(self, task: Task) -> None:
        """Attempt `task.attempt` is about to run."""

    def end_attempt(self, task: Task) -> None:
        """Attempt `task.attempt` has ended: `task.outcome` has its times, process and error."""

    def restore_task(self, task: Task) -> None:
        """A task's result was taken from the storage; neither `start_task` nor `end_task` is called for it."""

    def skip_task(self, task: Task) -> None:
        """A task will not run (`task.result`: `skip` or `upstream_failed`); nothing else is called for it."""

    def workflow_carrier(self, run: Run) -> Mapping[str, str]:
        """W3C headers (`traceparent` and so on) that name the span of a run; empty if it has none."""
        del run
        return {}

    def carrier(self, task: Task) -> Mapping[str, str]:
        """W3C headers that name the innermost open span of a task; empty if it has none.

        https://www.w3.org/TR/trace-context/
        """
        del task
        return {}

    def for_worker(self) -> WorkerSide | None:
        """What worker processes need to make spans current, and to export those that steps open there.

        Asked once a run that has any. None: nothing, so `attach` has no effect there.
        """
        return None

    def attach(self, carrier: Mapping[str, str]) -> AbstractContextManager[None]:
        """Make the span that `carrier` names current, around one attempt, in the thread that runs it.

        Entered in a `contextvars` context of its own, so nothing can leak from one attempt into the next.
        """
        del carrier
        return nullcontext()
