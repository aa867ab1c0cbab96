"""WorkerSide: the half of a provider that is needed where steps run, when that is another process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from dotflow.abc.provider import Dropped, Provider

__all__ = ["WorkerSide"]


class WorkerSide(ABC):
    """What a `Tracer` or a `Log` sends along to worker processes: small, picklable, and made for one thing.

    It is pickled once a run and unpickled once in each worker, where `attach` is entered around every attempt. What it
    buffers is flushed at the end of the run, and when the worker ends in order; a worker that is killed takes along what
    it had not sent. Nothing that it raises harms the step: it is counted, and told of once, in the coordinator.
    """

    @abstractmethod
    def attach(self, carried: Mapping[str, Any]) -> AbstractContextManager[None]:
        """As `Tracer.attach` with W3C headers, or `Log.attach` with ids: entered in the thread that runs the attempt."""

    def provider(self) -> Provider | None:
        """The `Tracer` or `Log` of the runs that steps start in this process; it sends what it has with this side's `flush`.

        None: there is none here. What such a run would tell it is told to the one in the coordinator, when the attempt has
        ended.
        """
        return None

    @property
    def is_buffering(self) -> bool:
        """Whether there may be something to flush. Asked after every attempt, so it must be cheap."""
        return False

    def flush(self, timeout: float) -> None:  # noqa: B027 - a hook, not an obligation
        """Send what is buffered, within `timeout` seconds."""

    def take_dropped(self) -> Sequence[Dropped]:
        """What was lost since this was last asked. Asked after every attempt and after `flush`."""
        return ()
