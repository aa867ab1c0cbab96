"""What all contracts share: an end."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dropped", "Provider"]


class Dropped(NamedTuple):
    """Telemetry that was lost: its signal (`spans`), how many items, and why, in words for people."""

    signal: str
    items: int
    why: str


class Provider(ABC):  # noqa: B024 - the contracts below it are what is abstract
    """Base of the contracts. The hooks do nothing unless a provider overrides them."""

    def flush(self, timeout: float) -> None:  # noqa: B027 - a hook, not an obligation
        """Send what is buffered. Called at the end of every run; must return within `timeout` seconds.

        The engine calls it from a thread of its own and stops waiting when the time is over.
        """

    def take_dropped(self) -> Sequence[Dropped]:
        """What was lost since this was last asked. Asked after `flush`; the engine counts it, and tells of it once."""
        return ()

    def close(self, timeout: float) -> None:  # noqa: B027
        """Let go of threads, sockets and files within `timeout` seconds. Called by `DotFlow.close()`; may be repeated."""
