"""The suite for a Server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.abc.server import Server
from dotflow.model.status import TypeStatus
from dotflow.testing.contracts.telemetry import TelemetryContract
from dotflow.testing.contracts.workloads import eventful

if TYPE_CHECKING:
    from dotflow.model.task import Task

__all__ = ["ServerContract"]


class ServerContract(TelemetryContract[Server]):
    """What a Server promises while the remote one is there and well. `make_provider` is yours to write, `check_run` may be.

    A call that fails is to be raised: the engine counts it. So the suite needs a server that takes everything.
    """

    argument = "server"

    def tell(self, provider: Server, task: Task) -> None:
        """Every method, updates before what they update was created, and with every status."""
        workflow, seen = eventful(), task.snapshot()
        provider.update_task(seen)
        for status in ("", *(each.value for each in TypeStatus), "some later status"):
            provider.update_workflow(workflow, status=status)
        provider.create_task(seen)
        provider.create_workflow(workflow)
