"""Scheduler: starts a workflow again and again."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Scheduler"]


class Scheduler(Provider):
    """Starts a workflow again and again. Every tick is a run of its own, with its own trace."""

    @abstractmethod
    def start(self, workflow: Callable[..., Any], **kwargs: Any) -> None:
        """Call `workflow(**kwargs)` at every tick, until `stop`. Blocks."""

    @abstractmethod
    def stop(self) -> None:
        """End `start`: no further tick. May be called from any thread and more than once."""
