"""Notify: tells people how tasks stand."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from dotflow.model.task import Task

__all__ = ["Notify"]


class Notify(Provider):
    """Tells people how tasks stand.

    May do network I/O: it is called from one background thread, in order, through a bounded queue that is drained at
    the end of the run within `Config(drain_timeout=)`. What is dropped is counted and logged.
    """

    @abstractmethod
    def hook_status_task(self, task: Task) -> None:
        """Called when a task starts, is retried, ends well, fails. `task` is a snapshot taken at that moment."""
