"""The suite for Metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.abc.metrics import Metrics
from dotflow.testing.contracts.base import together
from dotflow.testing.contracts.telemetry import TelemetryContract

if TYPE_CHECKING:
    from dotflow.model.task import Task

__all__ = ["MetricsContract"]

_STRANGE_DURATIONS = [0.0, 1e-9, 1e9, 7]


class MetricsContract(TelemetryContract[Metrics]):
    """What Metrics promise. `make_provider` is yours to write, `check_run` may be."""

    argument = "metrics"

    def tell(self, provider: Metrics, task: Task) -> None:
        """Every method, the ends first, with keywords that later versions may add."""
        provider.declare(task.workflow_name or "w", [task.name])
        provider.task_completed(task)
        provider.task_failed(task)
        provider.task_retried(task)
        provider.task_restored(task)
        provider.task_skipped(task)
        provider.task_started(task)
        for duration in _STRANGE_DURATIONS:
            provider.workflow_completed(task.workflow_id, duration)
            provider.workflow_failed(task.workflow_id, duration)
        provider.workflow_started(
            task.workflow_id, run_id=task.run_id, name="n", mode="m", tasks_count=0, trigger="manual", more=1
        )

    def test_series_may_be_declared_again(self) -> None:
        """A workflow declares its tasks whenever one is added."""
        with self.provider() as provider:
            for count in (0, 1, 2, 2, 1):
                provider.declare("contract", [f"task-{number}" for number in range(count)])

    def test_what_the_engine_tells_of_itself_may_come_from_any_thread(self) -> None:
        """Errors and losses of other providers, the queue's length, and what a schedule does."""
        with self.provider() as provider:

            def tell() -> None:
                for number in range(100):
                    provider.provider_failed("notify", "hook_status_task")
                    provider.telemetry_dropped("spans", number)
                    provider.background_queued(1)
                    provider.background_queued(-1)
                    provider.expected_interval("contract", number)
                    provider.schedule_skipped("contract", "missed", number)
                    provider.schedule_ticked("contract", number / 1000)

            together([tell] * 4)
