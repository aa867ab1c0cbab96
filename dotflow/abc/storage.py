"""Storage: where the contexts of finished tasks are kept."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from dotflow.abc.provider import Provider
from dotflow.errors import StorageError
from dotflow.model.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.task import Task

__all__ = ["Storage", "StorageUnsupported", "belongs", "run_key"]


class StorageUnsupported(StorageError, NotImplementedError):
    """An optional operation that a storage does not have: its backend cannot do it, or nobody has written it."""

    def __init__(self, storage: object, operation: str) -> None:
        super().__init__(f"{type(storage).__name__} has no {operation}(): it is an optional operation of a storage")


def run_key(workflow_id: str) -> str:
    """Where a storage may keep the record of a workflow's latest run, as `post_run` and `get_run` do.

    Unlike any task's key: behind the workflow id of those stands a colon.
    """
    return f"{workflow_id}#run"


def belongs(key: str, owner: str | None, workflow_id: str) -> bool:
    """Whether what is kept under `key` is of a workflow: its keys begin with its id.

    So do those of a workflow whose id goes on with a colon; what tells them apart is the context's own `workflow_id`,
    `owner`, if it has one.
    """
    is_named_so = key.startswith(f"{workflow_id}:") or key == run_key(workflow_id)
    return is_named_so and owner in (None, workflow_id)


class Storage(Provider):
    """Keeps the context of every finished task, so that a later run can resume.

    Written by the coordinator after each task that ended well, read only on resume. It holds the user's data, so
    what it raises fails the task. A context read back must equal the one written, or `post` must raise.

    Called in the coordinator's thread, and by nobody else; a workflow that runs more than once at a time calls it from
    several threads. It never travels to a worker, so it need not be picklable; see `for_worker`.

    `delete`, `list_keys` and `clear` are for people and their programs; the engine never calls them. A storage that has
    `delete` and `list_keys` has `clear` as well. What a storage does not have raises `StorageUnsupported`.
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
            StorageUnavailable: the storage does not answer. On resume that fails the task, as any `OSError` does that is
                no `StorageError`.
            StorageError: what is there is torn or corrupt, as any other exception says: on resume the task runs again.
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

    def for_worker(self) -> Callable[[], Storage] | None:
        """What makes this storage in a worker process, for the runs that steps start there; it must be picklable.

        None: such a run keeps its contexts nowhere, and runs all of its tasks when it is resumed.
        """
        return None

    def delete(self, key: str) -> None:
        """Forget the context of `key`, if there is one.

        Raises:
            StorageUnsupported: this storage cannot forget a single one.
        """
        del key
        raise StorageUnsupported(self, "delete")

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted, those of records of runs too.

        A context that is torn or corrupt may be missing, where the key is kept beside the value.

        Raises:
            StorageUnsupported: this storage does not know its keys.
        """
        del prefix
        raise StorageUnsupported(self, "list_keys")

    def clear(self, workflow_id: str) -> int:
        """Forget every context of a workflow and the record of its latest run; how many there were.

        What is whose says `belongs`. A context that is torn or corrupt is forgotten if its key may be of the workflow.

        Raises:
            StorageUnsupported: this storage has no `delete`, or no `list_keys`.
        """
        keys = [key for key in self.list_keys(workflow_id) if self._is_of(key, workflow_id)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def _is_of(self, key: str, workflow_id: str) -> bool:
        if not belongs(key, None, workflow_id):
            return False
        try:
            return belongs(key, self.get(key).workflow_id, workflow_id)
        except StorageError:
            return True
