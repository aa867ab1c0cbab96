"""What a scrape shows of real runs: exact values, in both formats."""

from __future__ import annotations

import threading

import pytest

from dotflow import Config, DotFlow, action
from dotflow.names import metrics as names

SECOND_NS = 1_000_000_000
NAME = "nightly"

# The interface, as CONTRACT.md section 6 has it: written out here so that a change of the table is noticed.
CONTRACT_SERIES = {
    "dotflow_workflow_started_total",
    "dotflow_workflow_completed_total",
    "dotflow_workflow_failed_total",
    "dotflow_workflow_duration_seconds_bucket",
    "dotflow_workflow_duration_seconds_count",
    "dotflow_workflow_duration_seconds_sum",
    "dotflow_workflow_active_runs",
    "dotflow_workflow_oldest_active_start_timestamp_seconds",
    "dotflow_workflow_last_success_timestamp_seconds",
    "dotflow_workflow_last_completion_timestamp_seconds",
    "dotflow_workflow_last_run_success",
    "dotflow_task_started_total",
    "dotflow_task_completed_total",
    "dotflow_task_failed_total",
    "dotflow_task_retried_total",
    "dotflow_task_restored_total",
    "dotflow_task_skipped_total",
    "dotflow_task_duration_seconds_bucket",
    "dotflow_task_duration_seconds_count",
    "dotflow_task_duration_seconds_sum",
    "dotflow_task_queue_seconds_bucket",
    "dotflow_task_queue_seconds_count",
    "dotflow_task_queue_seconds_sum",
    "dotflow_task_active",
    "dotflow_telemetry_dropped_total",
    "dotflow_background_queued",
    "dotflow_build_info",
}


def steps(clock):
    """One step of each kind: ends well, ends well at the third attempt, never does."""
    attempts = iter(range(100))

    @action
    def extract():
        clock.advance(0.25)

    @action(retry=3, retry_delay=2)
    def flaky():
        clock.advance(1)
        if next(attempts) < 2:
            raise ConnectionError("no answer")

    @action(retry=2)
    def broken():
        clock.advance(0.5)
        raise ValueError("never")

    return extract, flaky, broken


def test_before_the_first_run_every_series_of_the_workflow_is_there_at_0(flow, metrics, clock, scrape):
    flow.task.add(step=list(steps(clock)))
    seen = scrape(metrics)
    samples = [s for family in seen.families.values() for s in family.samples]
    assert {s.name for s in samples} == CONTRACT_SERIES
    assert {s.value for s in samples if s.name != names.BUILD.series[0]} == {0.0}
    for task in ("extract", "flaky", "broken"):
        for status in (names.STATUS_COMPLETED, names.STATUS_FAILED):
            assert seen.value(names.TASK_DURATION, workflow=NAME, task=task, status=status) == 0
            assert seen.value(names.WORKFLOW_DURATION, workflow=NAME, status=status) == 0


def test_a_workflow_without_tasks_is_there_too(flow, metrics, scrape):
    assert scrape(metrics).value(names.WORKFLOW_STARTED, workflow=NAME) == 0
    assert flow.name == NAME


def test_every_metric_of_the_table_is_declared_as_the_table_says(metrics, scrape):
    families = scrape(metrics).families
    assert list(families) == [metric.prometheus for metric in names.METRICS]
    for metric in names.METRICS:
        family = families[metric.prometheus]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.unit == ("seconds" if metric.unit == "s" else "")


def test_a_run_that_ends_well(flow, metrics, clock, scrape):
    extract, flaky, _ = steps(clock)
    start = clock.time_ns() / SECOND_NS
    run = flow.task.add(step=[extract, flaky]).add(step=extract) and flow.start()
    assert not run.failed
    seen = scrape(metrics)
    both = {"workflow": NAME, "task": "flaky"}
    assert seen.value(names.TASK_STARTED, **both) == 1
    assert seen.value(names.TASK_COMPLETED, **both) == 1
    assert seen.value(names.TASK_FAILED, **both) == 0
    assert seen.value(names.TASK_RETRIED, **both) == 2
    assert seen.value(names.TASK_ERRORS, **both, error_type="ConnectionError") == 2
    assert seen.value(names.TASK_ACTIVE, **both) == 0
    assert seen.value(names.TASK_QUEUE, **both) == 1
    duration = names.TASK_DURATION.series[2]
    assert seen.sample(duration, **both, status="completed").value == 7.0  # three attempts of 1 s, two waits of 2 s
    assert seen.sample(duration, **both, status="failed").value == 0.0
    # two tasks of one name are one set of series
    assert seen.value(names.TASK_COMPLETED, workflow=NAME, task="extract") == 2
    assert seen.sample(duration, workflow=NAME, task="extract", status="completed").value == 0.5
    assert seen.value(names.WORKFLOW_STARTED, workflow=NAME) == 1
    assert seen.value(names.WORKFLOW_COMPLETED, workflow=NAME) == 1
    assert seen.value(names.WORKFLOW_FAILED, workflow=NAME) == 0
    assert seen.sample(names.WORKFLOW_DURATION.series[2], workflow=NAME, status="completed").value == 7.5
    assert seen.value(names.WORKFLOW_LAST_SUCCESS, workflow=NAME) == start + 7.5
    assert seen.value(names.WORKFLOW_LAST_COMPLETION, workflow=NAME) == start + 7.5
    assert seen.value(names.WORKFLOW_LAST_RUN_SUCCESS, workflow=NAME) == 1


def test_a_run_that_fails_after_one_that_did_not(flow, metrics, clock, scrape):
    extract, _, broken = steps(clock)
    outcomes = iter([extract, broken])
    start = clock.time_ns() / SECOND_NS

    @action
    def publish():
        next(outcomes)()

    flow.task.add(step=publish)
    flow.start()
    clock.advance(100)
    assert flow.start().failed
    seen = scrape(metrics)
    both = {"workflow": NAME, "task": "publish"}
    assert seen.value(names.TASK_STARTED, **both) == 2
    assert seen.value(names.TASK_COMPLETED, **both) == 1
    assert seen.value(names.TASK_FAILED, **both) == 1
    assert seen.value(names.TASK_RETRIED, **both) == 0
    assert seen.value(names.TASK_ERRORS, **both, error_type="ValueError") == 1
    assert seen.value(names.TASK_DURATION, **both, status="failed") == 1
    assert seen.value(names.WORKFLOW_FAILED, workflow=NAME) == 1
    assert seen.sample(names.WORKFLOW_DURATION.series[2], workflow=NAME, status="failed").value == 0.5
    assert seen.value(names.WORKFLOW_LAST_SUCCESS, workflow=NAME) == start + 0.25
    assert seen.value(names.WORKFLOW_LAST_COMPLETION, workflow=NAME) == start + 100.75
    assert seen.value(names.WORKFLOW_LAST_RUN_SUCCESS, workflow=NAME) == 0


def test_a_timeout_is_an_error_of_its_own_type(metrics, scrape):
    release = threading.Event()

    @action(timeout=0.01, retry=2)
    def slow():
        release.wait(20)

    flow = DotFlow(Config(metrics=metrics), name=NAME)
    flow.task.add(step=slow)
    try:
        assert flow.start().failed
    finally:
        release.set()
    seen = scrape(metrics)
    both = {"workflow": NAME, "task": "slow"}
    assert seen.value(names.TASK_ERRORS, **both, error_type="AttemptTimeout") == 2
    assert seen.value(names.TASK_RETRIED, **both) == 1
    assert seen.value(names.TASK_FAILED, **both) == 1


def test_the_text_format_says_the_same(flow, metrics, clock, scrape, scrape_text):
    _, flaky, broken = steps(clock)
    flow.task.add(step=[flaky, broken])
    flow.start()
    openmetrics, text = scrape(metrics), scrape_text(metrics)
    assert openmetrics.content_type.startswith("application/openmetrics-text")
    assert text.content_type.startswith("text/plain")

    def samples(seen):
        return {(s.name, *sorted(s.labels.items())): s.value for f in seen.families.values() for s in f.samples}

    assert samples(text) == samples(openmetrics)
    assert "# {" not in text.text


def test_a_histogram_counts_in_the_right_buckets(flow, metrics, clock, scrape):
    durations = iter([0.005, 0.0050001, 30, 100_000])

    @action
    def work():
        clock.advance(next(durations))

    flow.task.add(step=work)
    for _ in range(4):
        flow.start()
    buckets = {
        s.labels["le"]: s.value
        for s in scrape(metrics).samples(names.WORKFLOW_DURATION.series[0])
        if s.labels["status"] == "completed"
    }
    assert [float(le) for le in buckets] == [*names.DURATION_BUCKETS, float("inf")]
    assert (buckets["0.005"], buckets["0.01"], buckets["10.0"], buckets["30.0"]) == (1, 2, 2, 3)
    assert (buckets["21600.0"], buckets["+Inf"]) == (3, 4)


def test_buckets_of_ones_own(make, clock, scrape):
    metrics = make(port=0, buckets=[1, 2.5])
    DotFlow(Config(metrics=metrics, clock=clock), name=NAME).task.add(step=steps(clock)[0])
    for metric in (names.TASK_DURATION, names.TASK_QUEUE, names.WORKFLOW_DURATION):
        assert {s.labels["le"] for s in scrape(metrics).samples(metric.series[0])} == {"1.0", "2.5", "+Inf"}


def test_there_are_no_created_series_and_the_switch_for_others_is_not_touched(
    flow, metrics, clock, scrape, scrape_text
):
    from prometheus_client import CollectorRegistry, Counter, generate_latest

    flow.task.add(step=list(steps(clock)))
    flow.start()
    assert "_created" not in scrape(metrics).text + scrape_text(metrics).text
    registry = CollectorRegistry()
    Counter("theirs", "Somebody else's.", registry=registry)
    assert b"theirs_created" in generate_latest(registry)


def test_two_runs_at_once_are_told_apart(metrics, clock, scrape):
    hold = [threading.Event(), threading.Event()]
    running = threading.Semaphore(0)
    numbers = iter(range(2))

    @action
    def work():
        mine = hold[next(numbers)]
        running.release()
        assert mine.wait(20)

    flow = DotFlow(Config(metrics=metrics, clock=clock), name=NAME)
    flow.task.add(step=work)
    seen, starts = [], []

    def look():
        now = scrape(metrics)
        values = (names.WORKFLOW_ACTIVE, names.WORKFLOW_OLDEST_ACTIVE)
        seen.append(
            (*(now.value(m, workflow=NAME) for m in values), now.value(names.TASK_ACTIVE, workflow=NAME, task="work"))
        )

    runs = []
    for _ in range(2):
        starts.append(clock.time_ns() / SECOND_NS)
        runs.append(flow.start(mode="background"))
        assert running.acquire(timeout=20)
        look()
        clock.advance(10)
    hold[0].set()  # the first, and oldest, ends first
    runs[0].wait(20)
    look()
    hold[1].set()
    runs[1].wait(20)
    look()
    assert seen == [(1, starts[0], 1), (2, starts[0], 2), (1, starts[1], 1), (0, 0, 0)]


def test_two_workflows_share_one_provider(metrics, clock, scrape):
    config = Config(metrics=metrics, clock=clock)
    for name in ("one", "two"):
        flow = DotFlow(config, name=name)
        flow.task.add(step=steps(clock)[0])
        flow.start()
    seen = scrape(metrics)
    assert [seen.value(names.TASK_COMPLETED, workflow=name, task="extract") for name in ("one", "two")] == [1, 1]


@pytest.mark.contained
def test_errors_of_other_providers_are_counted(metrics, clock, scrape):
    def listener(event):
        raise RuntimeError(event)

    flow = DotFlow(Config(metrics=metrics, clock=clock, listeners=[listener]), name=NAME)
    flow.start()
    (sample,) = scrape(metrics).samples(names.PROVIDER_ERRORS.series[0])
    assert (sample.labels["provider"], sample.value) == ("listener", 2)
