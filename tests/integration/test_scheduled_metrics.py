"""What a schedule does is seen in the metrics: its interval, its runs, and the ticks that it skipped."""

from __future__ import annotations

import threading

from dotflow import Config, DotFlow, action
from dotflow.names import metrics as names
from dotflow.providers import MetricsPrometheus, SchedulerInterval


class Watched(MetricsPrometheus):
    """Tells the test of a skipped tick once it has been counted, and keeps what the series were at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.skip_counted = threading.Event()
        self.born_at: dict[str, float | None] = {}

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        super().schedule_skipped(workflow, reason, count)
        if count:
            self.skip_counted.set()
        else:
            self.born_at[reason] = self.skipped(reason)

    def skipped(self, reason: str) -> float | None:
        (series,) = names.SCHEDULE_SKIPPED.series
        return self.registry.get_sample_value(series, {"workflow": "often", "reason": reason})


def test_interval_runs_and_skipped_ticks():
    scheduler, metrics = SchedulerInterval(seconds=0.02, overlap="skip"), Watched()
    runs = []

    @action
    def work():
        runs.append(1)
        if len(runs) == 1:
            assert metrics.skip_counted.wait(10)
        scheduler.stop()

    with DotFlow(Config(scheduler=scheduler, metrics=metrics), name="often") as workflow:
        workflow.task.add(work)
        workflow.schedule()
    value = metrics.registry.get_sample_value
    assert metrics.born_at == {"overlap": 0, "missed": 0, "stopped": 0}
    assert metrics.skipped("overlap") == scheduler.skipped["overlap"] >= 1
    assert value(names.WORKFLOW_EXPECTED_INTERVAL.series[0], {"workflow": "often"}) == 0.02
    assert value(names.WORKFLOW_COMPLETED.series[0], {"workflow": "often"}) == len(runs)
