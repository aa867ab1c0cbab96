"""What is sent: the series, their values, and that all of them are there at 0."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.model.outcome import Outcome
from dotflow.names import metrics as names
from dotflow.providers import MetricsPrometheus
from support.both_metrics import Both
from support.metrics_runs import (
    LIMIT,
    NAME,
    SECOND_NS,
    bad,
    failing_once,
    failing_twice,
    good,
    measuring,
    run,
    scraped,
    slow,
    task_of,
)
from support.otlp_metrics import CUMULATIVE, OtlpMetricsEndpoint
from support.threads import at_once

OF_SCHEDULES = (names.SCHEDULE_SKIPPED, names.SCHEDULE_LATENESS, names.WORKFLOW_EXPECTED_INTERVAL)


# --- what is sent


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_prometheus_has_the_series_of_metrics_prometheus_with_the_same_values(endpoint, metrics, mode, tmp_path):
    prometheus = MetricsPrometheus()
    load = [good] * 20 + [bad] * 4 + [slow] + [failing_once(tmp_path / str(number)) for number in range(3)]
    start = {"mode": mode, "keep_going": True, "max_workers": 2}
    run_ = run(Both(prometheus, metrics), *load, start=start)
    assert run_.failed
    assert run_.provider_errors == run_.dropped == {}
    assert endpoint.prometheus() == scraped(prometheus)
    of = {"workflow": NAME}
    for task, counts in {"good": (20, 20, 0, 0), "bad": (4, 0, 4, 4), "slow": (1, 0, 1, 1)}.items():
        kinds = ("started", "completed", "failed", "retried")
        assert tuple(endpoint.total(f"dotflow.task.{kind}", **of, task=task) for kind in kinds) == counts
        assert endpoint.total("dotflow.task.active", **of, task=task) == 0
        assert endpoint.total("dotflow.task.queue", **of, task=task) == counts[0]
        assert endpoint.total("dotflow.task.duration", **of, task=task, status="completed") == counts[1]
        assert endpoint.total("dotflow.task.duration", **of, task=task, status="failed") == counts[2]
    assert endpoint.total("dotflow.task.retried", **of, task="flaky") == 3
    assert endpoint.total("dotflow.task.errors", **of, task="bad", error_type="ValueError") == 8
    assert endpoint.total("dotflow.task.errors", **of, task="slow", error_type="AttemptTimeout") == 2
    assert endpoint.total("dotflow.task.errors", **of, task="flaky", error_type="ConnectionError") == 3
    assert endpoint.total("dotflow.workflow.failed", **of) == 1
    assert endpoint.total("dotflow.workflow.active_runs", **of) == 0


def test_what_there_is_beside_runs_is_the_same_too(endpoint, make):
    prometheus = MetricsPrometheus()
    both = Both(prometheus, make())
    both.declare(NAME, ["good"])
    for reason, count in {"overlap": 0, "missed": 3}.items():
        both.schedule_skipped(NAME, reason, count)
    both.expected_interval(NAME, 900)
    both.schedule_ticked(NAME, 0.3)
    both.schedule_ticked("unforeseen", 0.0)
    both.schedule_ticked("the clock went back", -1.0)
    both.background_queued(3)
    both.background_queued(-1)
    both.provider_failed("tracer", "end_task")
    both.telemetry_dropped("spans", 12)
    both.telemetry_dropped("unheard-of", 1)
    both.task_restored(task_of())
    both.task_skipped(task_of())
    both.task_completed(task_of("never told that it started"))
    both.task_failed(task_of("surrogate \ud800"))
    both.task_completed(task_of("took less than nothing", duration=-1.0))
    both.flush(60.0)
    assert endpoint.prometheus() == scraped(prometheus)
    assert endpoint.total("dotflow.schedule.skipped", workflow=NAME, reason="overlap") == 0
    assert endpoint.total("dotflow.schedule.lateness", workflow=NAME) == 1
    assert endpoint.latest("dotflow.schedule.lateness", workflow=NAME).value == 0.3
    assert endpoint.total("dotflow.background.queued") == 2


def test_what_steps_record_is_sent_as_it_was_recorded_last(endpoint, metrics):
    prometheus = MetricsPrometheus()
    attempts = itertools.count(1)

    @action(retry=2, name="load")
    def load():
        dotflow.record("rows", 1000)
        dotflow.record(f"rows.of-attempt_{next(attempts)}", 0.5)
        dotflow.record("rows", 1200)
        if next(attempts) < 4:
            raise ConnectionError("no answer")

    both = Both(prometheus, metrics)
    both.declare(NAME, ["load"])
    assert not [name for name, _ in scraped(prometheus) if "recorded" in name]  # none that nobody has measured
    run(both, load, bad)
    of = {"workflow": NAME, "task": "load"}
    assert endpoint.total("dotflow.task.recorded", **of, name="rows") == 1200
    assert endpoint.total("dotflow.task.recorded", **of, name="rows.of-attempt_1") == 0.5  # of the attempt that failed
    assert endpoint.total("dotflow.task.recorded", **of, name="rows.of-attempt_3") == 0.5
    assert len({tuple(p.attributes.items()) for p in endpoint.named("dotflow.task.recorded")}) == 3
    assert endpoint.prometheus() == scraped(prometheus)


def test_what_waits_is_counted_from_all_threads_and_across_closes(endpoint, metrics):
    metrics.background_queued(5)  # before anything has begun, and without beginning it
    metrics.background_queued(-3)
    assert endpoint.requests == 0
    run(metrics, good)
    assert {p.value for p in endpoint.named("dotflow.background.queued")} == {2}

    def work():
        for _ in range(1000):
            metrics.background_queued(1)
            metrics.background_queued(-1)

    at_once(*[work] * 4)
    metrics.flush(60.0)
    assert endpoint.total("dotflow.background.queued") == 2
    metrics.close(5.0)
    requests = endpoint.requests
    metrics.background_queued(-2)  # what was told late begins nothing, and is not forgotten
    assert endpoint.requests == requests
    run(metrics, good)
    assert endpoint.total("dotflow.background.queued") == 0
    metrics.background_queued(-1)
    metrics.flush(60.0)
    assert endpoint.total("dotflow.background.queued") == 0  # what was put is told after what was taken


def test_every_metric_is_as_the_table_says(endpoint, make):
    run(make(service_name="etl"), good, measuring, bad)
    sent = {point.name: point for point in endpoint.points}
    not_yet = {m.name for m in (names.PROVIDER_ERRORS, *OF_SCHEDULES)}
    assert sent.keys() == {m.name for m in names.METRICS if m.kind != "info"} - not_yet | {"dotflow.build.info"}
    for metric in names.METRICS:
        if metric.name not in not_yet:
            name, kind = (f"{metric.name}.info", "gauge") if metric.kind == "info" else (metric.name, metric.kind)
            point = sent[name]
            assert (point.kind, point.unit, point.description) == (kind, metric.unit, metric.help)
            assert point.attributes.keys() == set(metric.labels)
            assert point.temporality == (0 if kind == "gauge" else CUMULATIVE)
            assert (point.scope, point.resource["service.name"]) == ("dotflow", "etl")
            assert point.start_ns <= point.time_ns
            assert abs(point.time_ns - time.time_ns()) < LIMIT * SECOND_NS


def test_a_run_with_retries_by_the_clock(endpoint, flow, clock):
    start = clock.time_ns() / SECOND_NS
    flow.task.add(step=failing_twice(clock))
    assert not flow.start().failed
    of = {"workflow": NAME, "task": "flaky"}
    duration = endpoint.latest("dotflow.task.duration", **of, status="completed")
    waits = sum(clock.waits)
    assert (duration.count, duration.value) == (1, 3 + waits)
    assert duration.bounds == names.DURATION_BUCKETS
    assert sum(duration.buckets) == 1
    assert endpoint.total("dotflow.workflow.last_success_timestamp", workflow=NAME) == start + 3 + waits
    assert endpoint.total("dotflow.workflow.last_completion_timestamp", workflow=NAME) == start + 3 + waits
    assert endpoint.total("dotflow.workflow.last_run_success", workflow=NAME) == 1


def test_a_histogram_counts_in_the_right_buckets(endpoint, flow, clock):
    durations = iter([0.005, 0.0050001, 30, 100_000])

    @action
    def work():
        clock.advance(next(durations))

    flow.task.add(step=work)
    for _ in range(4):
        flow.start()
    point = endpoint.latest("dotflow.workflow.duration", workflow=NAME, status="completed")
    buckets = dict(zip((*point.bounds, float("inf")), point.buckets, strict=True))
    assert {bound: count for bound, count in buckets.items() if count} == {0.005: 1, 0.01: 1, 30: 1, float("inf"): 1}


def test_buckets_of_ones_own(endpoint, make):
    run(make(buckets=[1, 2.5]), good)
    assert {p.bounds for p in endpoint.points if p.kind == "histogram"} == {(1, 2.5)}


def test_two_runs_at_once_are_told_apart(endpoint, metrics, clock):
    hold = [threading.Event(), threading.Event()]
    running = threading.Semaphore(0)
    numbers = itertools.count()

    @action
    def work():
        mine = hold[next(numbers)]
        running.release()
        assert mine.wait(LIMIT)

    flow = DotFlow(Config(metrics=metrics, clock=clock), name=NAME)
    flow.task.add(step=work)
    seen, starts, runs = [], [], []

    def look():
        metrics.flush(60.0)
        of_workflow = (names.WORKFLOW_ACTIVE.name, names.WORKFLOW_OLDEST_ACTIVE.name)
        active = endpoint.total(names.TASK_ACTIVE.name, workflow=NAME, task="work")
        seen.append((*(endpoint.total(name, workflow=NAME) for name in of_workflow), active))

    for _ in range(2):
        starts.append(clock.time_ns() / SECOND_NS)
        runs.append(flow.start(mode="background"))
        assert running.acquire(timeout=LIMIT)
        look()
        clock.advance(10)
    for event, run_ in zip(hold, runs, strict=True):  # the first, and oldest, ends first
        event.set()
        run_.wait(LIMIT)
        look()
    assert seen == [(1, starts[0], 1), (2, starts[0], 2), (1, starts[1], 1), (0, 0, 0)]


# --- born at 0


def test_everything_is_sent_at_0_before_the_first_run_changes_it(endpoint, metrics):
    prometheus = MetricsPrometheus()
    prometheus.declare(NAME, ["good", "bad"])
    run_ = run(metrics, good, bad)
    first, last = endpoint.batches
    assert {value for _, value in _series(first)} == {0, 1}
    assert dict(_series(first)) == scraped(prometheus)
    assert max(point.time_ns for point in first) < min(point.time_ns for point in last)
    assert min(point.time_ns for point in first) >= run_.started_ns
    assert endpoint.prometheus().keys() > scraped(prometheus).keys()  # the types of errors come on top


def _series(batch):
    only = OtlpMetricsEndpoint()
    only.batches = [batch]
    return only.prometheus().items()


def test_a_task_that_is_added_later_is_sent_at_0_too(endpoint, flow):
    flow.task.add(step=good)
    flow.start()
    flow.start()
    assert len(endpoint.batches) == 3
    flow.task.add(step=good, name="late")
    flow.start()
    late = [p.value for p in endpoint.named("dotflow.task.completed") if p.attributes["task"] == "late"]
    assert late == [0, 1]


def test_a_process_that_only_declares_sends_nothing(endpoint, metrics):
    threads = set(threading.enumerate())
    DotFlow(Config(metrics=metrics), name=NAME).task.add(step=good)
    assert set(threading.enumerate()) <= threads
    metrics.flush(60.0)
    metrics.close(5.0)
    assert endpoint.requests == 0


def test_a_schedule_is_there_before_its_first_run(endpoint, metrics):
    metrics.declare(NAME, ["good"])
    metrics.expected_interval(NAME, 900)
    metrics.flush(60.0)
    assert endpoint.total("dotflow.workflow.expected_interval", workflow=NAME) == 900
    assert endpoint.total("dotflow.schedule.lateness", workflow=NAME) == 0
    assert endpoint.total("dotflow.task.started", workflow=NAME, task="good") == 0


def test_a_tick_is_seen_at_0_before_it_is_counted(endpoint, metrics):
    metrics.schedule_ticked(NAME, 0.2)
    metrics.flush(60.0)
    assert [p.count for p in endpoint.named("dotflow.schedule.lateness")] == [0, 1]


# --- too many labels


@pytest.mark.contained
def test_too_many_labels_share_a_series_and_it_is_told_once(endpoint, make, caplog):
    prometheus = MetricsPrometheus(max_series=3)
    both = Both(prometheus, make(max_series=3))
    for number in range(6):
        both.declare(f"w-{number}", [])
        both.task_started(task_of(f"t-{number}", "w-0"))
        both.task_retried(task_of("t-0", f"w-{number}"))
        both.schedule_ticked(f"w-{number}", 1.0)
        measured = task_of("t-0", "w-0")
        measured.outcome = Outcome(0, 0, 0, "", recorded={f"row-{number}": number})
        both.task_completed(measured)
    both.flush(60.0)
    assert endpoint.prometheus() == scraped(prometheus)
    assert endpoint.total("dotflow.task.started", workflow="w-0", task="_overflow") == 4
    assert endpoint.total("dotflow.task.recorded", workflow="w-0", task="t-0", name="_overflow") == 5
    told = [r.getMessage() for r in caplog.records if "max_series=3" in r.getMessage()]
    assert len(told) == 2  # by each of the two providers


def test_the_sdks_own_limit_is_out_of_the_way(endpoint, make):
    metrics = make(max_series=2001, shutdown_timeout=60.0)
    for number in range(2001):
        metrics.task_failed(task_of(f"t-{number}"))
    metrics.flush(60.0)
    assert {value for (name, _), value in endpoint.prometheus().items() if name == "dotflow_task_failed_total"} == {1}
    assert len(endpoint.named("dotflow.task.failed")) == 2001
