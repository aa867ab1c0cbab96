"""The provider called by hand: the bare contract, labels without end, and several threads."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from dotflow import Config, DotFlow, action
from dotflow.model.outcome import Outcome, TaskError
from dotflow.model.task import Task
from dotflow.names import metrics as names
from dotflow_prometheus import OVERFLOW

NAME = "nightly"
DROPPED = {"signal": "metrics"}


@action
def step(): ...


def task_of(name="step", workflow=NAME, errors=(), **state):
    task = Task(step, name=name, workflow_name=workflow, workflow_id="id-1")
    task.errors.extend(errors)
    for field, value in state.items():
        setattr(task, field, value)
    return task


def error(kind):
    return TaskError(attempt=1, exception=kind, message="", traceback="")


class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def records():
    handler = Records()
    logger = logging.getLogger("dotflow")
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


# --- the bare contract


def test_runs_told_by_the_bare_contract(metrics, scrape):
    before = time.time()
    metrics.workflow_started("id-1", run_id="r1", name=NAME, mode="sequential", tasks_count=1, trigger="manual")
    between = time.time()
    metrics.workflow_started("id-1", run_id="r2", name=NAME, mode="sequential", tasks_count=1, trigger="manual")
    seen = scrape(metrics)
    assert seen.value(names.WORKFLOW_ACTIVE, workflow=NAME) == 2
    assert before <= seen.value(names.WORKFLOW_OLDEST_ACTIVE, workflow=NAME) <= between
    metrics.workflow_completed("id-1", 1.5)  # whichever it is: the first is taken
    seen = scrape(metrics)
    assert seen.value(names.WORKFLOW_OLDEST_ACTIVE, workflow=NAME) >= between
    metrics.workflow_failed("id-1", 2.5)
    seen = scrape(metrics)
    assert seen.value(names.WORKFLOW_STARTED, workflow=NAME) == 2
    assert seen.value(names.WORKFLOW_COMPLETED, workflow=NAME) == 1
    assert seen.value(names.WORKFLOW_FAILED, workflow=NAME) == 1
    assert seen.sample(names.WORKFLOW_DURATION.series[2], workflow=NAME, status="failed").value == 2.5
    assert seen.value(names.WORKFLOW_ACTIVE, workflow=NAME) == 0
    assert before <= seen.value(names.WORKFLOW_LAST_SUCCESS, workflow=NAME) <= time.time()


def test_a_run_of_which_only_the_workflows_id_is_known(metrics, scrape):
    metrics.workflow_started("id-1")
    assert scrape(metrics).value(names.WORKFLOW_ACTIVE, workflow="id-1") == 1
    metrics.workflow_completed("id-1", 1.0)
    metrics.workflow_completed("id-1", 1.0)  # one more than was started
    assert scrape(metrics).value(names.WORKFLOW_ACTIVE, workflow="id-1") == 0
    assert scrape(metrics).value(names.WORKFLOW_COMPLETED, workflow="id-1") == 2


def test_a_task_that_ends_without_a_start_takes_no_gauge_below_0(metrics, scrape):
    for _ in range(2):
        metrics.task_completed(task_of(duration=1.0))
        metrics.task_failed(task_of(duration=1.0))
    seen = scrape(metrics)
    both = {"workflow": NAME, "task": "step"}
    assert seen.value(names.TASK_ACTIVE, **both) == 0
    assert seen.value(names.TASK_COMPLETED, **both) == 2
    assert seen.value(names.TASK_ERRORS, **both, error_type="_OTHER") == 2


def test_times_that_are_not_known_are_not_observed(metrics, scrape):
    metrics.task_started(task_of())
    metrics.task_completed(task_of())
    seen = scrape(metrics)
    both = {"workflow": NAME, "task": "step"}
    assert seen.value(names.TASK_COMPLETED, **both) == 1
    assert seen.value(names.TASK_QUEUE, **both) == 0
    assert seen.value(names.TASK_DURATION, **both, status="completed") == 0


def test_the_time_in_the_queue(metrics, scrape):
    metrics.task_started(task_of(queued_ns=1_000_000_000, started_ns=3_500_000_000))
    assert scrape(metrics).sample(names.TASK_QUEUE.series[2], workflow=NAME, task="step").value == 2.5


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_duration_that_is_none_does_not_spoil_the_sum(metrics, scrape, seconds):
    metrics.task_completed(task_of(duration=2.0))
    metrics.task_completed(task_of(duration=seconds))
    seen = scrape(metrics)
    labels = {"workflow": NAME, "task": "step", "status": "completed"}
    assert seen.sample(names.TASK_DURATION.series[2], **labels).value == 2.0
    assert seen.value(names.TASK_DURATION, **labels) == 2


def test_a_task_without_a_workflows_name_counts_under_its_id(metrics, scrape):
    metrics.task_restored(task_of(workflow=""))
    assert scrape(metrics).value(names.TASK_RESTORED, workflow="id-1", task="step") == 1


def test_what_a_scheduler_tells(metrics, scrape):
    metrics.schedule_skipped(NAME, "overlap", 0)
    metrics.expected_interval(NAME, 3600)
    seen = scrape(metrics)
    assert seen.value(names.SCHEDULE_SKIPPED, workflow=NAME, reason="overlap") == 0
    assert seen.value(names.WORKFLOW_EXPECTED_INTERVAL, workflow=NAME) == 3600
    metrics.schedule_skipped(NAME, "overlap")
    metrics.schedule_skipped(NAME, "overlap", 2)
    assert scrape(metrics).value(names.SCHEDULE_SKIPPED, workflow=NAME, reason="overlap") == 3


def test_series_of_schedules_exist_for_scheduled_workflows_only(metrics, scrape):
    metrics.declare("unscheduled", [])
    assert not scrape(metrics).samples(names.SCHEDULE_LATENESS.series[1])
    metrics.expected_interval("hourly", 3600)
    metrics.schedule_skipped("cron", "missed", 0)  # a cron schedule has no interval
    seen = scrape(metrics)
    lateness = {s.labels["workflow"]: s.value for s in seen.samples(names.SCHEDULE_LATENESS.series[1])}
    assert lateness == {"hourly": 0, "cron": 0}
    intervals = {s.labels["workflow"]: s.value for s in seen.samples(names.WORKFLOW_EXPECTED_INTERVAL.series[0])}
    assert intervals == {"hourly": 3600}


def test_how_late_ticks_were(metrics, scrape):
    metrics.expected_interval(NAME, 60)
    metrics.schedule_ticked(NAME, 0.25)
    metrics.schedule_ticked(NAME, 7200.0)
    metrics.schedule_ticked(NAME, -0.5)  # a clock that was set back
    metrics.expected_interval(NAME, 60)  # told again, it forgets nothing
    seen = scrape(metrics)
    _, count, total = names.SCHEDULE_LATENESS.series
    assert seen.sample(count, workflow=NAME).value == 3
    assert seen.sample(total, workflow=NAME).value == 7200.25
    buckets = {float(s.labels["le"]): s.value for s in seen.samples(names.SCHEDULE_LATENESS.series[0])}
    assert (buckets[0.005], buckets[0.25], buckets[3600], buckets[7200]) == (1, 2, 2, 3)


def test_a_tick_that_is_the_first_to_be_heard_of(metrics, scrape):
    metrics.schedule_ticked(NAME, 1.0)
    assert scrape(metrics).value(names.SCHEDULE_LATENESS, workflow=NAME) == 1


def recorded(task, **values):
    task.outcome = Outcome(started_ns=0, duration_ns=0, pid=1, host="here", recorded=values)
    return task


def test_what_a_step_recorded_last_is_what_is_there(metrics, scrape):
    both = {"workflow": NAME, "task": "step"}
    metrics.task_started(task_of())
    assert not scrape(metrics).samples(names.TASK_RECORDED.series[0])
    metrics.task_retried(recorded(task_of(errors=[error("E")]), rows=1, bytes=5))
    assert scrape(metrics).value(names.TASK_RECORDED, **both, name="rows") == 1
    metrics.task_failed(recorded(task_of(errors=[error("E")]), rows=-2.5))
    assert scrape(metrics).value(names.TASK_RECORDED, **both, name="rows") == -2.5
    metrics.task_completed(recorded(task_of(), rows=0))
    metrics.task_completed(task_of())  # one that recorded nothing takes nothing away
    seen = scrape(metrics)
    assert seen.value(names.TASK_RECORDED, **both, name="rows") == 0
    assert seen.value(names.TASK_RECORDED, **both, name="bytes") == 5


def test_calls_that_wait_for_the_background_thread(metrics, scrape):
    assert scrape(metrics).value(names.BACKGROUND_QUEUED) == 0
    for change, expected in ((3, 3), (-1, 2), (-2, 0), (-1, 0), (1, 0), (1, 1)):  # one thread may overtake the other
        metrics.background_queued(change)
        assert scrape(metrics).value(names.BACKGROUND_QUEUED) == expected


def test_what_the_engine_tells_of_others(metrics, scrape):
    assert {s.labels["signal"] for s in scrape(metrics).samples(names.TELEMETRY_DROPPED.series[0])} == {
        "logs",
        "metrics",
        "notify",
        "server",
        "spans",
    }
    metrics.provider_failed("tracer", "start_task")
    metrics.telemetry_dropped("notify", 3)
    metrics.telemetry_dropped("notify", 2)
    metrics.telemetry_dropped("letters", 1)
    seen = scrape(metrics)
    assert seen.value(names.PROVIDER_ERRORS, provider="tracer", method="start_task") == 1
    assert seen.value(names.TELEMETRY_DROPPED, signal="notify") == 5
    assert seen.value(names.TELEMETRY_DROPPED, signal="letters") == 1


@pytest.mark.parametrize("name", ['a "quoted"\nname\\', "naïve ☃", "lone \ud800 surrogate"])
def test_any_text_is_a_label(metrics, scrape, scrape_text, name):
    for _ in range(2):
        metrics.task_restored(task_of(name=name, workflow=name))
    label = name.replace("\ud800", r"\ud800")
    assert scrape(metrics).value(names.TASK_RESTORED, workflow=label, task=label) == 2
    assert scrape_text(metrics).value(names.TASK_RESTORED, workflow=label, task=label) == 2


# --- labels without end


@pytest.mark.contained
def test_tasks_beyond_the_limit_share_one_set_of_series(make, scrape, records):
    metrics = make(port=0, max_series=3)
    flow = DotFlow(Config(metrics=metrics), name=NAME)
    for number in range(10):
        flow.task.add(step=step, name=f"task-{number}")
    flow.start()
    seen = scrape(metrics)
    started = {s.labels["task"]: s.value for s in seen.samples(names.TASK_STARTED.series[0])}
    assert started == {"task-0": 1, "task-1": 1, "task-2": 1, OVERFLOW: 7}
    assert seen.value(names.TASK_DURATION, workflow=NAME, task=OVERFLOW, status="completed") == 7
    assert seen.value(names.TASK_ACTIVE, workflow=NAME, task=OVERFLOW) == 0
    # once each when declared, started and completed
    assert seen.value(names.TELEMETRY_DROPPED, **DROPPED) == 21
    (record,) = records
    assert "max_series=3" in record.getMessage()
    assert "task-3" in record.getMessage()


@pytest.mark.contained
def test_workflows_beyond_the_limit(make, scrape):
    metrics = make(port=0, max_series=2)
    for number in range(5):
        metrics.declare(f"flow-{number}", ["extract"])
        metrics.workflow_started(f"flow-{number}", name=f"flow-{number}")
    seen = scrape(metrics)
    assert {s.labels["workflow"]: s.value for s in seen.samples(names.WORKFLOW_STARTED.series[0])} == {
        "flow-0": 1,
        "flow-1": 1,
        OVERFLOW: 3,
    }
    assert seen.value(names.WORKFLOW_ACTIVE, workflow=OVERFLOW) == 3
    assert [(s.labels["workflow"], s.labels["task"]) for s in seen.samples(names.TASK_ACTIVE.series[0])] == [
        ("flow-0", "extract"),
        ("flow-1", "extract"),
        (OVERFLOW, OVERFLOW),
    ]
    metrics.workflow_completed("flow-4", 1.0)
    assert scrape(metrics).value(names.WORKFLOW_ACTIVE, workflow=OVERFLOW) == 2


def check_overflow(seen, metric, label, values):
    """The series of a metric by one of its labels; three measurements had to share the last of them."""
    assert {s.labels[label]: s.value for s in seen.samples(metric.series[0])} == values
    assert seen.value(names.TELEMETRY_DROPPED, **DROPPED) == 3


@pytest.mark.contained
def test_types_of_errors_beyond_the_limit(make, scrape, records):
    metrics = make(port=0, max_series=2)
    for number in range(5):
        metrics.task_failed(task_of(errors=[error(f"Error{number}")]))
    metrics.task_failed(task_of(errors=[error("Error0")]))
    check_overflow(scrape(metrics), names.TASK_ERRORS, "error_type", {"Error0": 2, "Error1": 1, OVERFLOW: 3})
    assert len(records) == 1


@pytest.mark.contained
def test_recorded_names_beyond_the_limit(make, scrape, records):
    metrics = make(port=0, max_series=2)
    for number in range(5):
        metrics.task_completed(recorded(task_of(), **{f"rows_{number}": number}))
    metrics.task_completed(recorded(task_of(), rows_0=7))
    check_overflow(scrape(metrics), names.TASK_RECORDED, "name", {"rows_0": 7, "rows_1": 1, OVERFLOW: 4})
    assert len(records) == 1


@pytest.mark.contained
def test_schedules_beyond_the_limit(make, scrape):
    metrics = make(port=0, max_series=1)
    for name in ("a", "b", "c"):
        metrics.schedule_ticked(name, 1.0)
        metrics.schedule_skipped(name, "overlap")
    seen = scrape(metrics)
    assert {s.labels["workflow"]: s.value for s in seen.samples(names.SCHEDULE_LATENESS.series[1])} == {
        "a": 1,
        OVERFLOW: 2,
    }
    assert {s.labels["workflow"] for s in seen.samples(names.SCHEDULE_SKIPPED.series[0])} == {"a", OVERFLOW}


@pytest.mark.contained
def test_the_limit_holds_for_every_label_that_comes_from_outside(make, scrape):
    metrics = make(port=0, max_series=1)
    for text in ("a", "b", "c"):
        metrics.schedule_skipped(NAME, text)
        metrics.provider_failed(text, text)
        metrics.telemetry_dropped(text, 1)
    seen = scrape(metrics)
    for metric in (names.SCHEDULE_SKIPPED, names.PROVIDER_ERRORS):
        assert [s.value for s in seen.samples(metric.series[0])] == [1, 2]
    assert seen.value(names.TELEMETRY_DROPPED, signal=OVERFLOW) == 2
    assert seen.value(names.TELEMETRY_DROPPED, **DROPPED) == 6


@pytest.mark.contained
def test_a_task_that_is_really_called_so_does_no_harm(make, scrape):
    metrics = make(port=0, max_series=1)
    for name in (OVERFLOW, "other"):
        metrics.task_restored(task_of(name=name))
    assert scrape(metrics).value(names.TASK_RESTORED, workflow=NAME, task=OVERFLOW) == 2


@pytest.mark.contained
def test_a_log_handler_that_comes_back_does_not_hang(make):
    metrics = make(max_series=1)

    class Curious(logging.Handler):
        def emit(self, record):
            metrics.telemetry_dropped("metrics", 1)
            metrics.task_restored(task_of("yet another"))
            list(metrics.registry.collect())

    handler = Curious()
    logger = logging.getLogger("dotflow")
    logger.addHandler(handler)
    try:
        metrics.declare(NAME, ["one", "two"])
    finally:
        logger.removeHandler(handler)
    assert metrics.registry.get_sample_value(names.TELEMETRY_DROPPED.series[0], DROPPED) == 3


# --- threads


def test_nothing_is_lost_between_threads(metrics, scrape):
    count, failures = 500, []
    begin = threading.Barrier(5)

    def work(number):
        begin.wait(20)
        for turn in range(count):
            task = task_of(name=f"task-{turn % 50}", duration=0.5, errors=[error("ValueError")])
            metrics.workflow_started(f"id-{number}", run_id=f"{number}-{turn}", name=NAME)
            metrics.task_started(task)
            metrics.task_retried(task)
            metrics.task_failed(task) if turn % 2 else metrics.task_completed(task)
            metrics.workflow_completed(f"id-{number}", 0.5)
            metrics.background_queued(1 if turn % 2 else -1)
            metrics.schedule_ticked(NAME, 0.5)

    def look():
        begin.wait(20)
        while any(thread.is_alive() for thread in workers):
            seen = scrape(metrics)
            for labels in [s.labels for s in seen.samples(names.TASK_STARTED.series[0])]:
                ended = seen.value(names.TASK_COMPLETED, **labels) + seen.value(names.TASK_FAILED, **labels)
                active = seen.value(names.TASK_ACTIVE, **labels)
                failures.extend([labels] * (seen.value(names.TASK_STARTED, **labels) != ended + active))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    watcher = threading.Thread(target=look)
    for thread in (*workers, watcher):
        thread.start()
    for thread in (*workers, watcher):
        thread.join(60)
    seen = scrape(metrics)
    assert not failures  # one scrape never sees a task that has ended and is still active
    assert sum(s.value for s in seen.samples(names.TASK_STARTED.series[0])) == 4 * count
    assert sum(s.value for s in seen.samples(names.TASK_ERRORS.series[0])) == 6 * count
    assert seen.value(names.WORKFLOW_COMPLETED, workflow=NAME) == 4 * count
    assert seen.value(names.WORKFLOW_ACTIVE, workflow=NAME) == 0
    assert seen.value(names.BACKGROUND_QUEUED) == 0
    assert seen.value(names.SCHEDULE_LATENESS, workflow=NAME) == 4 * count
