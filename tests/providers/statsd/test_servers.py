"""A known load, and what real servers have made of it."""

from __future__ import annotations

import re

import pytest

import dotflow
from dotflow import Config, DotFlow, action
from dotflow_statsd import MetricsStatsd
from support import missing
from support import statsd_server as real

pytestmark = pytest.mark.built

_TASKS = 60


@pytest.fixture(scope="module")
def statsd():
    program = real.find_statsd()
    if program is None:
        missing.skip("statsd, nor node and npm to get it with", "npm", "what npm's statsd makes of the lines")
    with real.StatsdServer(program) as running:
        yield running


@pytest.fixture(scope="module")
def exporter():
    program = real.find_exporter()
    if program is None:
        missing.skip_unbuilt("statsd_exporter", "what statsd_exporter makes of the lines")
    with real.StatsdExporter(program) as running:
        yield running


@action(name="every third fails", retry=2)
def every_third_fails(initial_context):
    dotflow.record("rows", initial_context.storage)
    if initial_context.storage % 3 == 0:
        raise KeyError("no")


def start(metrics, name, **how):
    with DotFlow(Config(metrics=metrics), name=name) as workflow:
        for number in range(_TASKS):
            workflow.task.add(every_third_fails, initial_context=number)
        found = workflow.start(keep_going=True, **how)
    assert found.dropped == {}
    return found


@pytest.mark.parametrize("how", [{}, {"mode": "parallel", "executor": "thread"}, {"mode": "parallel"}], ids=str)
def test_what_npms_statsd_has_counted(statsd, how):
    name = "load-" + "-".join(how.values())
    run = start(MetricsStatsd("127.0.0.1", statsd.port), name, max_workers=2, **how)
    parts, task = name.replace(" ", "_"), "every_third_fails"
    gauge = f"dotflow.workflow.oldest_active_start_timestamp.{parts}"
    real.until(lambda: statsd.gauges.get(gauge) == 0, "the last line has not come")
    counters, gauges, timers = statsd.counters, statsd.gauges, statsd.timers
    assert {key: value for key, value in counters.items() if parts in key.split(".")} == {
        f"dotflow.workflow.started.{parts}": 1,
        f"dotflow.workflow.completed.{parts}": 0,
        f"dotflow.workflow.failed.{parts}": 1,
        f"dotflow.task.started.{parts}.{task}": 60,
        f"dotflow.task.completed.{parts}.{task}": 40,
        f"dotflow.task.failed.{parts}.{task}": 20,
        f"dotflow.task.retried.{parts}.{task}": 20,
        f"dotflow.task.restored.{parts}.{task}": 0,
        f"dotflow.task.skipped.{parts}.{task}": 0,
        f"dotflow.task.errors.{parts}.{task}.KeyError": 40,
    }
    assert counters["statsd.bad_lines_seen"] == 0
    assert gauges[f"dotflow.task.active.{parts}.{task}"] == 0
    assert gauges[f"dotflow.workflow.active_runs.{parts}"] == 0
    assert gauges[f"dotflow.workflow.last_run_success.{parts}"] == 0
    assert gauges[f"dotflow.workflow.last_completion_timestamp.{parts}"] == run.finished_ns / 1_000_000_000
    assert timers[f"dotflow.workflow.duration.{parts}.failed"] == [pytest.approx(run.duration * 1000)]
    durations = timers[f"dotflow.task.duration.{parts}.{task}.completed"]
    assert sorted(durations) == pytest.approx(sorted(t.duration * 1000 for t in run.tasks if t.status == "Completed"))
    assert len(timers[f"dotflow.task.queue.{parts}.{task}"]) == 60


def test_a_gauge_below_0_at_npms_statsd(statsd):
    @action(name="cold")
    def cold():
        dotflow.record("degrees", -12.5)

    with DotFlow(Config(metrics=MetricsStatsd("127.0.0.1", statsd.port)), name="weather") as workflow:
        workflow.task.add([cold, cold])
        workflow.start().raise_for_status()
    key = "dotflow.task.recorded.weather.cold.degrees"
    real.until(
        lambda: statsd.gauges.get("dotflow.workflow.last_run_success.weather") == 1, "the last line has not come"
    )
    assert statsd.gauges[key] == -12.5


def test_tags_at_statsd_exporter(exporter):
    start(MetricsStatsd("127.0.0.1", exporter.port, dogstatsd=True, tags={"env": "prod"}), "load, |tagged:é#")
    whole = 'env="prod",'
    name = 'workflow="load_ _tagged:é#"'
    last = f'dotflow_workflow_oldest_active_start_timestamp{{env="prod",{name}}} 0'
    real.until(lambda: last in exporter.metrics(), "the last line has not come")
    page = exporter.metrics()
    task = f'{{{whole}task="every third fails",{name}}}'
    for line in (
        f"dotflow_task_started{task} 60",
        f"dotflow_task_completed{task} 40",
        f"dotflow_task_failed{task} 20",
        f"dotflow_task_retried{task} 20",
        f"dotflow_task_active{task} 0",
        f'dotflow_task_errors{{env="prod",error_type="KeyError",task="every third fails",{name}}} 40',
        f'dotflow_task_duration_count{{env="prod",status="completed",task="every third fails",{name}}} 40',
        f'dotflow_task_recorded{{env="prod",name="rows",task="every third fails",{name}}} 59',
    ):
        assert line in page, line
    assert not re.search(r"^statsd_exporter_sample_errors_total.* [1-9]", page, re.MULTILINE)
    assert not re.search(r"^statsd_exporter_tag_errors_total [1-9]", page, re.MULTILINE)
