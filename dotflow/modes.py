"""The words that `start` takes, and what a mode means for the order of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.task import Task

__all__ = ["BACKGROUND", "EXECUTORS", "MODES", "ON_INPUT_CHANGE", "SEQUENTIAL", "lanes_of"]

SEQUENTIAL: Final = "sequential"
BACKGROUND: Final = "background"
MODES: Final = (SEQUENTIAL, BACKGROUND)
EXECUTORS: Final = ("inline",)
ON_INPUT_CHANGE: Final = ("reuse", "reset", "raise")


def lanes_of(tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks by group, in the order the groups first appear: groups side by side, the tasks of each in order."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.group_name, []).append(task)
    return list(groups.values())
