"""The words that `start` takes, and what a mode means: for the order of tasks, and for where they run."""

from __future__ import annotations

from typing import Final, Literal

__all__ = [
    "BACKGROUND",
    "EXECUTORS",
    "INLINE",
    "MANUAL",
    "MODES",
    "ON_INPUT_CHANGE",
    "PARALLEL",
    "PROCESS",
    "RERUN",
    "RESUME",
    "SCHEDULE",
    "SEQUENTIAL",
    "SEQUENTIAL_GROUP",
    "THREAD",
    "ExecutorName",
    "Mode",
    "OnInputChange",
    "When",
    "default_executor",
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

RERUN: Final = "rerun"
ON_INPUT_CHANGE: Final = (RERUN, "reset", "raise", "reuse")

MANUAL: Final = "manual"
SCHEDULE: Final = "schedule"
RESUME: Final = "resume"
"""With the two above: what has made a run start (`Run.trigger`)."""

Mode = Literal["sequential", "sequential_group", "background", "parallel"]
ExecutorName = Literal["inline", "thread", "process"]
OnInputChange = Literal["rerun", "reset", "raise", "reuse"]
When = Literal["success", "any", "failure", "always"]


def default_executor(mode: str, lines: int) -> str:
    """Where a mode runs its tasks unless it is told otherwise, with so many lines of tasks side by side."""
    if mode in (SEQUENTIAL_GROUP, PARALLEL) or lines > 1:
        return PROCESS
    return INLINE
