"""What MetricsStatsd sends, line by line, to a real socket."""

from __future__ import annotations

import re
import threading
from itertools import pairwise

import pytest

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.abc import Notify
from dotflow.errors import InvalidOption
from dotflow.names import metrics as names
from dotflow.providers import SchedulerInterval, StorageFile
from dotflow_statsd import MetricsStatsd
from support.raising import raises
from support.statsd_server import UdpListener
from support.threads import at_once

_LARGEST = 1432


@pytest.fixture
def listener():
    with UdpListener() as listening:
        yield listening


@action(name="good")
def good():
    dotflow.record("loaded_rows", 12)
    dotflow.record("change", -2.5)


@action(name="bad", retry=2)
def bad():
    raise ValueError("no")


def run(listener, *steps, name="nightly", start=None, **options):
    """Run the steps with a MetricsStatsd that sends to the listener, and wait for the run's last line."""
    metrics = MetricsStatsd("127.0.0.1", listener.port, **options)
    with DotFlow(Config(metrics=metrics), name=name) as workflow:
        workflow.task.add(list(steps))
        found = workflow.start(**(start or {}))
    listener.wait_for(next(line for line in _last(metrics, name)))
    return found


def _last(metrics, name):
    return [metrics._encoder.line(names.WORKFLOW_OLDEST_ACTIVE, (name,), 0, b"g").decode()]


def shown(listener) -> list[str]:
    """The lines without values that depend on the clock."""
    lines = [re.sub(r":\d[\d.e-]*\|ms", ":…|ms", line) for line in listener.lines]
    return [re.sub(r"(timestamp[^:]*):\d{10}[\d.]*", r"\1:…", line) for line in lines]


def test_the_lines_of_a_run(listener):
    run(listener, good, bad)
    assert shown(listener) == [
        "dotflow.workflow.started.nightly:0|c",
        "dotflow.workflow.completed.nightly:0|c",
        "dotflow.workflow.failed.nightly:0|c",
        *[
            f"dotflow.task.{what}.nightly.{task}:0|c"
            for task in ("good", "bad")
            for what in ("started", "completed", "failed", "retried", "restored", "skipped")
        ],
        "dotflow.workflow.started.nightly:1|c",
        "dotflow.workflow.active_runs.nightly:1|g",
        "dotflow.workflow.oldest_active_start_timestamp.nightly:…|g",
        "dotflow.task.started.nightly.good:1|c",
        "dotflow.task.queue.nightly.good:…|ms",
        "dotflow.task.active.nightly.good:1|g",
        "dotflow.task.completed.nightly.good:1|c",
        "dotflow.task.duration.nightly.good.completed:…|ms",
        "dotflow.task.recorded.nightly.good.loaded_rows:12|g",
        "dotflow.task.recorded.nightly.good.change:0|g",  # a plain gauge goes below 0 from 0 on only
        "dotflow.task.recorded.nightly.good.change:-2.5|g",
        "dotflow.task.active.nightly.good:0|g",
        "dotflow.task.started.nightly.bad:1|c",
        "dotflow.task.queue.nightly.bad:…|ms",
        "dotflow.task.active.nightly.bad:1|g",
        "dotflow.task.retried.nightly.bad:1|c",
        "dotflow.task.errors.nightly.bad.ValueError:1|c",
        "dotflow.task.failed.nightly.bad:1|c",
        "dotflow.task.errors.nightly.bad.ValueError:1|c",
        "dotflow.task.duration.nightly.bad.failed:…|ms",
        "dotflow.task.active.nightly.bad:0|g",
        "dotflow.workflow.failed.nightly:1|c",
        "dotflow.workflow.duration.nightly.failed:…|ms",
        "dotflow.workflow.last_completion_timestamp.nightly:…|g",
        "dotflow.workflow.last_run_success.nightly:0|g",
        "dotflow.workflow.active_runs.nightly:0|g",
        "dotflow.workflow.oldest_active_start_timestamp.nightly:0|g",
    ]


def test_dogstatsd_has_the_labels_as_tags(listener):
    run(listener, good, dogstatsd=True, tags={"env": "prod"})
    lines = shown(listener)
    assert lines[-8:] == [
        "dotflow.task.active:0|g|#workflow:nightly,task:good,env:prod",
        "dotflow.workflow.completed:1|c|#workflow:nightly,env:prod",
        "dotflow.workflow.duration:…|ms|#workflow:nightly,status:completed,env:prod",
        "dotflow.workflow.last_completion_timestamp:…|g|#workflow:nightly,env:prod",
        "dotflow.workflow.last_run_success:1|g|#workflow:nightly,env:prod",
        "dotflow.workflow.last_success_timestamp:…|g|#workflow:nightly,env:prod",
        "dotflow.workflow.active_runs:0|g|#workflow:nightly,env:prod",
        "dotflow.workflow.oldest_active_start_timestamp:0|g|#workflow:nightly,env:prod",
    ]
    assert "dotflow.task.recorded:-2.5|g|#workflow:nightly,task:good,name:change,env:prod" in lines
    assert not [line for line in lines if "recorded:0|g" in line]  # DogStatsD takes a value below 0 as it is


@pytest.mark.parametrize(
    ("dogstatsd", "line"),
    [
        (False, "dotflow.workflow.started.a_b_c_d__e_:1|c"),
        (True, "dotflow.workflow.started:1|c|#workflow:a.b c_d:#eé"),
    ],
)
def test_names_cannot_break_out_of_their_line(listener, dogstatsd, line):
    run(listener, good, name="a.b c|d:#eé", dogstatsd=dogstatsd)
    assert line in listener.lines
    assert all(re.fullmatch(r"[^|\n]+:[\d.e+-]+\|(c|g|ms)(\|#[^|\n]*)?", found) for found in listener.lines)


def test_another_prefix_and_none(listener):
    run(listener, good, prefix="prod.etl")
    assert "prod.etl.task.completed.nightly.good:1|c" in listener.lines
    run(listener, good, prefix="")
    assert "task.completed.nightly.good:1|c" in listener.lines


def test_a_packet_is_never_larger_than_a_frame_takes(listener):
    steps = [action(name="x" * 140)(lambda: None)] * 200
    run(listener, *steps, name="y" * 300, prefix="p" * 100)
    assert max(map(len, listener.packets)) <= _LARGEST
    assert len(listener.packets) * _LARGEST < 3 * sum(map(len, listener.packets))  # and is well filled
    name = f"{'p' * 100}.task.completed.{'y' * 150}.{'x' * 140}"
    assert listener.lines.count(f"{name}:1|c") == 200


def test_a_line_is_sent_while_a_step_runs(listener):
    arrived = []

    @action(name="slow")
    def slow():
        listener.wait_for("dotflow.task.active.nightly.slow:1|g")
        arrived.append(True)

    run(listener, slow)
    assert arrived


def test_skipped_tasks(listener):
    with DotFlow(Config(metrics=MetricsStatsd("127.0.0.1", listener.port)), name="s") as workflow:
        workflow.task.add(bad, after=[])
        workflow.task.add(good, after=bad)
        assert workflow.start().failed
    listener.wait_for("dotflow.task.skipped.s.good:1|c")
    assert "dotflow.task.started.s.good:1|c" not in listener.lines


def test_restored_tasks(listener, tmp_path):
    metrics = MetricsStatsd("127.0.0.1", listener.port)
    for resume in (False, True):
        with DotFlow(Config(metrics=metrics, storage=StorageFile(tmp_path)), name="r", workflow_id="w") as workflow:
            workflow.task.add(good)
            workflow.start(resume=resume).raise_for_status()
    listener.wait_for("dotflow.task.restored.r.good:1|c")
    assert listener.lines.count("dotflow.task.started.r.good:1|c") == 1
    assert listener.lines.count("dotflow.task.started.r.good:0|c") == 1  # declared once a provider


def test_a_schedule(listener):
    ticks = []

    @action(name="tick")
    def tick():
        ticks.append(1)
        if len(ticks) == 3:
            scheduler.stop()

    scheduler = SchedulerInterval(seconds=0.01)
    metrics = MetricsStatsd("127.0.0.1", listener.port)
    with DotFlow(Config(scheduler=scheduler, metrics=metrics), name="s") as workflow:
        workflow.task.add(tick)
        workflow.schedule()
    listener.wait_for("dotflow.workflow.expected_interval.s:0.01|g")
    lines = shown(listener)
    assert lines.count("dotflow.workflow.completed.s:1|c") == 3
    assert lines.count("dotflow.schedule.lateness.s:…|ms") == 3
    assert "dotflow.schedule.skipped.s.overlap:0|c" in lines


@pytest.mark.contained
def test_what_the_engine_says_of_itself(listener):
    class Broken(Notify):
        def hook_status_task(self, task):
            raise OSError("gone")

    metrics = MetricsStatsd("127.0.0.1", listener.port)
    with DotFlow(Config(metrics=metrics, notify=Broken()), name="n") as workflow:
        workflow.task.add(good)
        found = workflow.start()
    listener.wait_for("dotflow.provider.errors.notify.hook_status_task:1|c")
    listener.wait_for("dotflow.background.queued:0|g")
    assert found.provider_errors == {("notify", "hook_status_task"): 2}
    assert listener.lines.count("dotflow.provider.errors.notify.hook_status_task:1|c") == 2
    metrics.telemetry_dropped("spans", 7)
    metrics.close(1)
    listener.wait_for("dotflow.telemetry.dropped.spans:7|c")


def test_gauges_of_many_threads_end_at_what_is_true(listener):
    metrics = MetricsStatsd("127.0.0.1", listener.port)

    def changes():
        for _ in range(500):
            metrics.background_queued(1)
            metrics.background_queued(-1)

    at_once(*[changes] * 4)
    metrics.telemetry_dropped("logs", 1)
    metrics.close(5)
    listener.wait_for("dotflow.telemetry.dropped.logs:1|c")
    values = [int(line.partition(":")[2].partition("|")[0]) for line in listener.lines if "queued" in line]
    assert len(values) == 4000
    assert values[-1] == 0
    assert {abs(a - b) for a, b in pairwise(values)} == {1}


def test_it_can_be_closed_twice_and_used_again(listener):
    before = set(threading.enumerate())
    metrics = MetricsStatsd("127.0.0.1", listener.port)
    for number in (1, 2):
        metrics.telemetry_dropped("logs", number)
        metrics.close(5)
        metrics.close(5)
        listener.wait_for(f"dotflow.telemetry.dropped.logs:{number}|c")
    assert set(threading.enumerate()) <= before  # others may have ended meanwhile


def test_a_bare_caller_without_runs_and_keywords(listener):
    metrics = MetricsStatsd("127.0.0.1", listener.port)
    metrics.workflow_started("id-1", run_id="a", name="bare")
    metrics.workflow_started("id-1", run_id="b", name="bare")
    metrics.workflow_completed("id-1", 1.5)
    metrics.workflow_failed("id-1", 0.25)
    metrics.close(5)
    listener.wait_for("dotflow.workflow.active_runs.bare:0|g")
    lines = listener.lines
    assert [line for line in lines if "active_runs" in line] == [
        f"dotflow.workflow.active_runs.bare:{number}|g" for number in (1, 2, 1, 0)
    ]
    assert "dotflow.workflow.duration.bare.completed:1500|ms" in lines
    assert "dotflow.workflow.duration.bare.failed:250|ms" in lines


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"host": ""}, "host=''"),
        ({"host": "http://statsd"}, "host='http://statsd'"),
        ({"host": 3}, "host=3"),
        ({"port": 0}, "port=0"),
        ({"port": 65536}, "port=65536"),
        ({"port": "8125"}, "port='8125'"),
        ({"port": True}, "port=True"),
        ({"prefix": "a..b"}, "prefix='a..b'"),
        ({"prefix": "a."}, "prefix='a.'"),
        ({"prefix": "a b"}, "prefix='a b'"),
        ({"prefix": None}, "prefix=None"),
        ({"prefix": "a\n"}, "prefix='a"),
        ({"tags": {"env": "prod"}}, "dogstatsd=False"),
        ({"tags": ["env"], "dogstatsd": True}, "tags=['env']"),
        ({"tags": {"env": 1}, "dogstatsd": True}, "tags={'env': 1}"),
        (
            {"tags": {f"tag-{n}": "x" * 100 for n in range(4)}, "dogstatsd": True},
            "tags=...: 428 bytes together; at most 400",
        ),
        ({"shutdown_timeout": 0}, "shutdown_timeout=0"),
        ({"shutdown_timeout": float("nan")}, "shutdown_timeout=nan"),
        ({"shutdown_timeout": 10**400}, "shutdown_timeout=1000"),
    ],
)
def test_bad_options(options, text):
    with raises(InvalidOption, ValueError, text):
        MetricsStatsd(**options)


def test_nothing_is_resolved_or_started_before_there_is_something_to_send():
    before = set(threading.enumerate())
    metrics = MetricsStatsd("statsd.invalid")
    assert set(threading.enumerate()) <= before
    metrics.flush(1)
    metrics.close(1)
    assert metrics.take_dropped() == []
    assert repr(metrics) == "MetricsStatsd(statsd.invalid:8125)"
