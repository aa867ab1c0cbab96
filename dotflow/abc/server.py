"""Server: keeps a remote picture of the workflow up to date."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from dotflow.abc.workflow import Workflow
    from dotflow.model.task import Task

__all__ = ["Server"]


class Server(Provider):
    """Keeps a remote picture of the workflow up to date.

    May do network I/O: called like `Notify`, from one background thread through a bounded queue.
    """

    @abstractmethod
    def create_workflow(self, workflow: Workflow) -> None:
        """Called once for a workflow, at its first run."""

    @abstractmethod
    def update_workflow(self, workflow: Workflow, status: str = "") -> None:
        """A run of the workflow starts or has ended; `status` is a text of `TypeStatus`."""

    @abstractmethod
    def create_task(self, task: Task) -> None:
        """Called once for each task, at the first run of its workflow. `task` is a snapshot."""

    @abstractmethod
    def update_task(self, task: Task) -> None:
        """A task starts, is retried or has ended. `task` is a snapshot taken at that moment."""
