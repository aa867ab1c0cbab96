"""Scheduler: starts a workflow again and again."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Scheduler"]


class Scheduler(Provider):
    """Starts a workflow again and again. Every tick is a run of its own, with its own trace."""

    on_skip: Callable[[str], None] | None = None
    """Set by the engine: call it with the reason of every tick that makes no run."""

    @property
    def expected_interval(self) -> float | None:
        """Seconds between two ticks, or None if that is not known."""
        return None

    @property
    def skipped(self) -> Mapping[str, int]:
        """How many ticks made no run, by reason; every reason there can be is in it from the start."""
        return {}

    @abstractmethod
    def start(self, workflow: Callable[..., Any], **kwargs: Any) -> None:
        """Call `workflow(**kwargs)` at every tick, until `stop`. Blocks."""

    @abstractmethod
    def stop(self) -> None:
        """End `start`: no further tick. May be called from any thread and more than once."""
