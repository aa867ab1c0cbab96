"""The suite for a Log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dotflow.abc.log import Log
from dotflow.model.run import Run
from dotflow.names import logs
from dotflow.testing.contracts.base import together
from dotflow.testing.contracts.telemetry import TelemetryContract
from dotflow.testing.contracts.tracer import check_travels, passes_errors

if TYPE_CHECKING:
    from dotflow.model.task import Task

__all__ = ["LogContract"]

_STRANGE_IDS: list[dict[str, Any]] = [
    {},
    {logs.RUN_ID: "1" * 32, logs.TASK_ID: "\ud800\n", logs.ATTEMPT: 1},
    {"no such field": "x"},
]


class LogContract(TelemetryContract[Log]):
    """What a Log promises. `make_provider` is yours to write, `check_run` may be."""

    argument = "log"

    def tell(self, provider: Log, task: Task) -> None:
        """Every method, with events that there are and one that later versions may add, about the task and about a run."""
        run = Run(
            run_id=task.run_id,
            workflow_id=task.workflow_id,
            workflow_name=task.workflow_name,
            mode="sequential",
            trigger="manual",
            tasks=[task],
        )
        for method in (provider.debug, provider.info, provider.warning, provider.error):
            for event in (logs.TASK_STARTED, logs.TASK_FAILED, "some.later.event"):
                method(event=event, task=task)
            method(event=logs.WORKFLOW_FAILED, run=run)

    def test_attach_lets_the_steps_own_error_through(self) -> None:
        """With every kind of ids, also with ones that later versions may add."""
        with self.provider() as provider:
            for ids in _STRANGE_IDS:
                passes_errors(provider.attach, ids)

    def test_its_worker_side_can_travel(self) -> None:
        """As a pickle. What it does in a worker shows in a run in worker processes."""
        with self.provider() as provider:
            check_travels(provider.for_worker())

    def test_lines_that_steps_write_pass_through_attach(self) -> None:
        """From several threads at once, each with ids of its own."""
        logger = logging.getLogger("dotflow.testing.contract")

        with self.provider() as provider:

            def write(number: int) -> None:
                with provider.attach({logs.TASK_ID: f"task-{number}", logs.ATTEMPT: number}):
                    for line in range(50):
                        logger.info("line %d of %d, %s", line, number, "\ud800")

            together([lambda number=number: write(number) for number in range(4)])  # type: ignore[misc]
