"""Metrics: counts and durations."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.model.task import Task

__all__ = ["Metrics"]


class Metrics(Provider):
    """Counts runs, tasks and retries. Called in line, so it must not block.

    `workflow_started` gets the keywords `run_id`, `name`, `mode`, `tasks_count` and `trigger`. A method about a
    workflow that names a parameter `run` gets the `Run` itself as well.
    """

    @abstractmethod
    def workflow_started(self, workflow_id: str, **kwargs: Any) -> None:
        """A run starts."""

    @abstractmethod
    def workflow_completed(self, workflow_id: str, duration: float) -> None:
        """A run ended well after `duration` seconds."""

    @abstractmethod
    def workflow_failed(self, workflow_id: str, duration: float) -> None:
        """A run failed after `duration` seconds."""

    @abstractmethod
    def task_completed(self, task: Task) -> None:
        """A task ended well; `task.recorded` is what its step measured itself."""

    @abstractmethod
    def task_failed(self, task: Task) -> None:
        """A task finally failed; `task.error` is its last error."""

    @abstractmethod
    def task_retried(self, task: Task) -> None:
        """An attempt failed and another follows; `task.error` is its error."""

    def declare(self, workflow: str, tasks: Sequence[str]) -> None:
        """A workflow and its tasks are known: make their series at 0, before anything runs. May be repeated."""

    def task_started(self, task: Task) -> None:
        """A task leaves the queue for its first attempt."""

    def task_restored(self, task: Task) -> None:
        """A task's result was taken from the storage; it did not start and does not end."""

    def task_skipped(self, task: Task) -> None:
        """A task will not run: `task.result` is `skip` or `upstream_failed`. It does not start and does not end."""

    def expected_interval(self, workflow: str, seconds: float) -> None:
        """A workflow is scheduled to run every so many seconds."""

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        """`count` scheduled runs were not made; 0 for a reason that may come, so that its series is born at 0."""

    def schedule_ticked(self, workflow: str, lateness: float) -> None:
        """A scheduled run starts `lateness` seconds after its tick was due. Comes from the thread of the run."""

    def background_queued(self, change: int) -> None:
        """So many calls more, or less, wait for the background thread. May come from any thread of the engine."""

    def provider_failed(self, provider: str, method: str) -> None:
        """A provider raised; the engine contained it. May come from the thread that flushes or delivers."""

    def telemetry_dropped(self, signal: str, count: int) -> None:
        """`count` items of a signal were lost before they were sent. May come from the thread that flushes or delivers."""
