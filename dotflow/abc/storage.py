"""Storage: where the contexts of finished tasks are kept."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from dotflow.abc.provider import Provider
from dotflow.context import Context

if TYPE_CHECKING:
    from dotflow.task import Task

__all__ = ["Storage"]


class Storage(Provider):
    """Keeps the context of every finished task, so that a later run can resume.

    Written by the coordinator after each task that ended well, read only on resume. It holds the user's data, so
    what it raises fails the task. A context read back must equal the one written, or `post` must raise.
    """

    persistent: bool = True
    """False for a storage that forgets when the process ends: it cannot be resumed from."""

    @abstractmethod
    def post(self, key: str, context: Context) -> None:
        """Keep `context` under `key`, replacing what was there; whole or not at all.

        Raises:
            SerializationError: the value cannot be represented exactly.
        """

    @abstractmethod
    def get(self, key: str) -> Context:
        """The context kept under `key`; an empty Context if there is none.

        Raises:
            StorageError: what is there is torn or corrupt.
        """

    def post_run(self, workflow_id: str, context: Context) -> None:
        """Keep the record of the latest run of a workflow (plain data). The default keeps none.

        With records, a resumed run tells apart the checkpoints of the run that it continues from older ones, sees
        whether the initial contexts have changed, and links to the trace of that run.
        """

    def get_run(self, workflow_id: str) -> Context:
        """The record of the latest run of a workflow; an empty Context if there is none."""
        del workflow_id
        return Context()

    @abstractmethod
    def key(self, task: Task) -> str:
        """The key of a task's context: the same for the same task of the same workflow in every process."""
