"""What all contracts share: an end."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Provider"]


class Provider(ABC):  # noqa: B024 - the contracts below it are what is abstract
    """Base of the contracts. The hooks do nothing unless a provider overrides them."""

    def flush(self, timeout: float) -> None:  # noqa: B027 - a hook, not an obligation
        """Send what is buffered. Called at the end of every run; must return within `timeout` seconds.

        The engine calls it from a thread of its own and stops waiting when the time is over.
        """

    def take_dropped(self) -> Mapping[str, int]:
        """How much was lost since this was last asked, by signal (`spans`). Asked after `flush`; the engine counts and tells it."""
        return {}

    def close(self, timeout: float) -> None:  # noqa: B027
        """Let go of threads, sockets and files within `timeout` seconds. Called by `DotFlow.close()`; may be repeated."""
