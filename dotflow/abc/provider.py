"""What all contracts share: an end."""

from __future__ import annotations

from abc import ABC

__all__ = ["Provider"]


class Provider(ABC):  # noqa: B024 - the contracts below it are what is abstract
    """Base of the contracts. Both hooks do nothing unless a provider overrides them."""

    def flush(self, timeout: float) -> None:  # noqa: B027 - a hook, not an obligation
        """Send what is buffered. Called at the end of every run; must return within `timeout` seconds.

        The engine calls it from a thread of its own and stops waiting when the time is over.
        """

    def close(self, timeout: float) -> None:  # noqa: B027
        """Let go of threads, sockets and files within `timeout` seconds. Called by `DotFlow.close()`; may be repeated."""
