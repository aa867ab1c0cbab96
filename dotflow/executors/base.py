"""The seam between the coordinator and whatever runs attempts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.abc.provider import Dropped
    from dotflow.executors.attempt import Attempt
    from dotflow.model.outcome import Outcome

__all__ = ["Executor", "InterruptGate"]


class InterruptGate(Protocol):
    """Ctrl-C and SIGTERM, held back unless `open`."""

    open: bool

    def check(self) -> None:
        """Raise the interrupt that was held back, if there is one."""


class Executor(ABC):
    """Where attempts run. Made for one run, used by its coordinator only, except for `wake` and `flush`.

    It enforces each attempt's timeout, because only it knows when the attempt really began.
    """

    slots: int
    """How many attempts it takes at a time."""

    @abstractmethod
    def submit(self, attempt: Attempt) -> None:
        """Take an attempt. It may wait inside until there is room, but it must not be lost."""

    @abstractmethod
    def next(self, timeout: float | None) -> tuple[Attempt, Outcome] | None:
        """The outcome of an attempt that was submitted, each exactly once.

        None after `timeout` seconds without one, or after `wake`. Called only while attempts are submitted.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make a waiting `next` return. Called from any thread, also from a signal handler."""

    @abstractmethod
    def cancel(self) -> None:
        """Give up what can be given up; the outcomes still come through `next`, as cancelled."""

    def cancel_inner(self) -> None:  # noqa: B027 - nothing to do where `cancel` can give attempts up
        """Cancel the runs that a step has started which cannot be given up itself. Called from any thread."""

    def pid_of(self, attempt: Attempt) -> int | None:
        """The process that has an attempt, if that is known and not this one."""
        del attempt
        return None

    @property
    def is_buffering(self) -> bool:
        """Whether telemetry of the steps' own waits elsewhere, to be sent by `flush`."""
        return False

    def flush(self, timeout: float) -> None:
        """Have the workers send what they have buffered, within `timeout` seconds. Called once, when nothing runs."""
        del timeout

    def take_failures(self) -> Sequence[tuple[str, str, Exception]]:
        """What providers have raised while workers flushed: (provider, method, error)."""
        return ()

    def take_dropped(self) -> Sequence[tuple[str, Dropped]]:
        """What workers have lost since this was last asked, with the provider that lost it."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Let go of threads and processes. Does not wait for attempts that were given up."""
