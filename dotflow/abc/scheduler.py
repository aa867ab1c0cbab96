"""Scheduler: starts a workflow again and again."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dotflow.abc.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Scheduler"]


class Scheduler(Provider):
    """Starts a workflow again and again. Every tick is a run of its own, with its own trace.

    `start` and `stop` are all that a scheduler must have. What it tells beside that (how often it ticks, what it skipped,
    how late it was) becomes metrics. The engine sets the hooks `on_skip`, `on_tick` and `on_give_up` before `start`; what
    they do never raises an Exception.
    """

    on_skip: Callable[[str], None] | None = None
    """Set by the engine: call it with the reason of every tick that makes no run."""

    on_tick: Callable[[float], None] | None = None
    """Set by the engine: call it right before `workflow` is called for a tick, in the same thread, with the seconds since
    the tick was due. Time in a queue counts; a delay that the scheduler chose itself does not."""

    on_give_up: Callable[[], None] | None = None
    """Set by the engine: call it when the runs that still go on shall have no more time; they are cancelled, and end soon."""

    @property
    def expected_interval(self) -> float | None:
        """Seconds between two ticks, or None if that is not known. Read again after every tick: it may change."""
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
