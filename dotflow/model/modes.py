"""The words that `start` takes, and what a mode means: for the order of tasks, and for where they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.model.task import Task

__all__ = [
    "BACKGROUND",
    "EXECUTORS",
    "INLINE",
    "MODES",
    "ON_INPUT_CHANGE",
    "PARALLEL",
    "PROCESS",
    "SEQUENTIAL",
    "SEQUENTIAL_GROUP",
    "THREAD",
    "default_executor",
    "lanes_of",
]

SEQUENTIAL: Final = "sequential"
SEQUENTIAL_GROUP: Final = "sequential_group"
BACKGROUND: Final = "background"
PARALLEL: Final = "parallel"
MODES: Final = (SEQUENTIAL, SEQUENTIAL_GROUP, BACKGROUND, PARALLEL)

INLINE: Final = "inline"
THREAD: Final = "thread"
PROCESS: Final = "process"
EXECUTORS: Final = (INLINE, THREAD, PROCESS)

ON_INPUT_CHANGE: Final = ("reuse", "reset", "raise")


def lanes_of(mode: str, tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks in lanes: the lanes run side by side, the tasks of each one after another.

    In `parallel` every task is a lane of its own; else every group is, in the order the groups first appear.
    """
    if mode == PARALLEL:
        return [[task] for task in tasks]
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.group_name, []).append(task)
    return list(groups.values())


def default_executor(mode: str, groups: int) -> str:
    """Where a mode runs its tasks unless it is told otherwise, with so many groups."""
    if mode in (SEQUENTIAL_GROUP, PARALLEL) or (mode == SEQUENTIAL and groups > 1):
        return PROCESS
    return INLINE
