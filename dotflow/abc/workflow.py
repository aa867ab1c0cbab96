"""What a contract may use of a workflow: a `DotFlow` is one, and the contracts know no more of it than this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dotflow.model.task import Task

__all__ = ["TaskList", "Workflow"]


class TaskList(Protocol):
    """The tasks of a workflow, in the order they were added."""

    def count(self) -> int:
        """How many tasks there are."""

    def schema(self) -> dict[str, Any]:
        """The workflow as plain data: its name and id, and of each task the step and its options. No values."""

    def __iter__(self) -> Iterator[Task]:
        """The tasks, as entries that have not run."""


class Workflow(Protocol):
    """A named list of tasks."""

    @property
    def name(self) -> str:
        """Its name in traces, metrics and logs."""

    @property
    def workflow_id(self) -> str:
        """Stable across runs: the key for resume."""

    @property
    def task(self) -> TaskList:
        """Its tasks."""
