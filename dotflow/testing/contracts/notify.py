"""The suite for a Notify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.abc.notify import Notify
from dotflow.testing.contracts.telemetry import TelemetryContract

if TYPE_CHECKING:
    from dotflow.model.task import Task

__all__ = ["NotifyContract"]


class NotifyContract(TelemetryContract[Notify]):
    """What a Notify promises while its receiver is there and well. `make_provider` is yours to write, `check_run` may be.

    A delivery that fails is to be raised: the engine counts it. So the suite needs a receiver that takes everything.
    """

    argument = "notify"

    def tell(self, provider: Notify, task: Task) -> None:
        """The snapshot of the task that a run would send."""
        provider.hook_status_task(task.snapshot())
