"""A scheduled workflow: its runs, and what of the schedule is seen in the metrics."""

from __future__ import annotations

import logging
import shutil
import threading

import pytest

from dotflow import Config, DotFlow, action
from dotflow.abc import Scheduler
from dotflow.names import metrics as names
from dotflow.providers import MetricsPrometheus, SchedulerCron, SchedulerInterval, StorageFile
from dotflow.testing import RecordingMetrics, ScheduleClock
from support.schedules import NOTHING_SKIPPED, SECOND_NS, SettledClock, at


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


class Noted(RecordingMetrics):
    """Notes what a schedule tells, too."""

    def expected_interval(self, workflow: str, seconds: float) -> None:
        self.calls.note("metrics", "expected_interval", workflow=workflow, seconds=seconds)

    def schedule_ticked(self, workflow: str, lateness: float) -> None:
        self.calls.note("metrics", "schedule_ticked", workflow=workflow, lateness=lateness)

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        self.calls.note("metrics", "schedule_skipped", workflow=workflow, reason=reason, count=count)

    def of(self, method: str, field: str) -> list[object]:
        return [call.arguments[field] for call in self.calls.named(f"metrics.{method}")]


def scheduled(step, scheduler, *, metrics=None, **more):
    """A workflow of one step, with a schedule that is noted."""
    workflow = DotFlow(Config(scheduler=scheduler, metrics=metrics or Noted(), **more), name="often")
    workflow.task.add(step)
    return workflow


def test_how_late_every_run_starts():
    clock = SettledClock()
    clock.late_seconds = 0.25
    clock.scheduler = scheduler = SchedulerInterval(10, clock=clock)
    metrics, runs = Noted(), []

    @action
    def work():
        runs.append(1)
        if len(runs) == 3:
            scheduler.stop()

    scheduled(work, scheduler, metrics=metrics).schedule()
    assert metrics.of("schedule_ticked", "lateness") == [0, 0.25, 0.25]
    assert metrics.of("schedule_ticked", "workflow") == ["often"] * 3
    called = metrics.calls.names()
    assert called.index("metrics.schedule_ticked") < called.index("metrics.workflow_started")


def test_the_lateness_in_prometheus():
    scheduler, metrics = SchedulerInterval(seconds=0.02), MetricsPrometheus()
    runs = []

    @action
    def work():
        runs.append(1)
        if len(runs) == 3:
            scheduler.stop()

    with scheduled(work, scheduler, metrics=metrics) as workflow:
        workflow.schedule()
    value = metrics.registry.get_sample_value
    _, count, total = names.SCHEDULE_LATENESS.series
    assert value(count, {"workflow": "often"}) == 3
    assert value(total, {"workflow": "often"}) > 0


def test_the_expected_interval_follows_the_expression():
    clock = SettledClock(start_ns=at("2026-05-06T00:00:00"))  # a Wednesday
    clock.scheduler = scheduler = SchedulerCron("0 9 * * MON-FRI", timezone="UTC", clock=clock)
    metrics, runs = Noted(), []

    @action
    def work():
        runs.append(1)
        if len(runs) == 5:
            scheduler.stop()

    scheduled(work, scheduler, metrics=metrics).schedule()
    days = [seconds / 86400 for seconds in metrics.of("expected_interval", "seconds")]
    assert days == [1, 3, 1]  # at the start, on Friday, on Tuesday; what has not changed is not told again


def test_every_tick_is_a_run_with_a_trace_of_its_own():
    scheduler, runs = SchedulerInterval(0.01), []

    @action
    def work():
        pass

    def note(tasks):
        runs.append(workflow.task.latest)
        if len(runs) == 3:
            scheduler.stop()

    workflow = scheduled(work, scheduler)
    workflow.schedule(on_success=note)
    assert len({run.trace_id for run in runs}) == 3
    assert {run.trigger for run in runs} == {"schedule"}
    assert not workflow._scheduled._runs  # a schedule of years keeps none of them


def test_a_workflow_that_fails_is_started_again():
    scheduler, metrics, runs = SchedulerInterval(0.01), Noted(), []

    @action
    def work():
        runs.append(1)
        if len(runs) == 3:
            scheduler.stop()
        if len(runs) != 2:
            raise ValueError("no such table")

    workflow = scheduled(work, scheduler, metrics=metrics)
    workflow.schedule()
    called = metrics.calls.names()
    assert (called.count("metrics.workflow_failed"), called.count("metrics.workflow_completed")) == (2, 1)
    assert workflow.task.latest.failed


def test_a_workflow_that_resumes_continues_what_failed_and_then_starts_afresh(tmp_path):
    scheduler, done, runs = SchedulerInterval(0.01), [], []

    @action
    def extract():
        done.append("extract")
        return 7

    @action
    def load(previous_context):
        done.append("load")
        if not runs:
            raise ConnectionError("not yet")
        return previous_context.storage + 1

    def note(tasks):
        runs.append(workflow.task.latest)
        if len(runs) == 3:
            scheduler.stop()

    config = Config(scheduler=scheduler, metrics=Noted(), storage=StorageFile(tmp_path))
    workflow = DotFlow(config, name="resumable", workflow_id="resumable")
    workflow.task.add([extract, load])
    workflow.schedule(resume=True, on_success=note, on_failure=note)
    assert done == ["extract", "load", "load", "extract", "load"]
    assert [str(run.result) for run in runs] == ["failure", "success", "success"]
    assert [run.trigger for run in runs] == ["schedule"] * 3
    assert workflow.result_storage() == [7, 8]


def test_a_storage_that_refuses_costs_one_run_and_not_the_schedule(tmp_path, caplog):
    scheduler, path = SchedulerInterval(0.01), tmp_path / "storage"
    ended, done = [], []

    @action
    def work():
        done.append(1)

    def note(tasks):
        ended.append(str(tasks[0].status))
        if len(ended) == 1:
            shutil.rmtree(path)
            path.write_text("in the way", encoding="utf-8")
        else:
            scheduler.stop()

    class Repaired(logging.Handler):
        def emit(self, record):
            if "a scheduled run raised" in record.getMessage() and path.is_file():
                path.unlink()

    logger, repaired = logging.getLogger("dotflow"), Repaired()
    logger.addHandler(repaired)
    workflow = DotFlow(Config(scheduler=scheduler, storage=StorageFile(path)), name="often", workflow_id="often")
    workflow.task.add(work)
    workflow.schedule(on_success=note, resume=True)
    logger.removeHandler(repaired)
    assert ended == ["Completed", "Completed"]
    assert len(done) == 2  # what had ended well before is not taken for what was refused
    assert "SchedulerInterval(0.01): a scheduled run raised; the schedule goes on" in caplog.text


def test_runs_that_are_given_up_are_cancelled():
    released = threading.Event()
    scheduler = SchedulerInterval(3600, drain_timeout=0.01)

    @action
    def work():
        scheduler.stop()
        assert released.wait(20)

    workflow = scheduled(work, scheduler)
    workflow.schedule(executor="thread")
    released.set()
    assert str(workflow.task.latest.result) == "cancellation"


def test_a_scheduler_that_tells_nothing_works():
    class Bare(Scheduler):
        def start(self, workflow, **kwargs):
            self.run = workflow(**kwargs)

        def stop(self):
            pass

    @action
    def work():
        return 1

    scheduler, metrics = Bare(), Noted()
    scheduled(work, scheduler, metrics=metrics).schedule()
    assert str(scheduler.run.status) == "Completed"
    assert {"metrics.expected_interval", "metrics.schedule_ticked", "metrics.schedule_skipped"}.isdisjoint(
        metrics.calls.names()
    )


def test_metrics_that_know_nothing_of_schedules_work():
    scheduler, metrics = SchedulerInterval(3600), RecordingMetrics()

    @action
    def work():
        scheduler.stop()

    scheduled(work, scheduler, metrics=metrics).schedule()
    assert metrics.calls.names().count("metrics.workflow_completed") == 1


@pytest.mark.contained
def test_metrics_that_break_on_schedules_harm_nothing(contained):
    class Broken(RecordingMetrics):
        def expected_interval(self, workflow, seconds):
            raise RuntimeError

        schedule_ticked = schedule_skipped = expected_interval

    scheduler, metrics = SchedulerInterval(3600), Broken()

    @action
    def work():
        scheduler.stop()

    scheduled(work, scheduler, metrics=metrics).schedule()
    assert metrics.calls.names().count("metrics.workflow_completed") == 1
    assert len(contained) == 2  # a RuntimeError of the interval, and TypeErrors of the others


def test_the_clock_for_users_goes_through_a_year_of_real_runs():
    clock = ScheduleClock(at("2026-01-01 00:00"))
    clock.scheduler = scheduler = SchedulerInterval(24 * 3600, clock=clock)
    seen = []

    @action
    def step():
        seen.append(clock.time_ns())
        if len(seen) == 365:
            scheduler.stop()

    workflow = DotFlow(Config(scheduler=scheduler, clock=clock), name="daily")
    workflow.task.add(step)
    workflow.schedule()
    assert seen == [at("2026-01-01 00:00") + day * 24 * 3600 * SECOND_NS for day in range(365)]
    assert scheduler.skipped == NOTHING_SKIPPED
