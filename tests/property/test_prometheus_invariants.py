"""Whatever runs, the series add up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dotflow import Config, DotFlow, action
from dotflow.names import metrics as names
from dotflow.testing import FakeClock
from dotflow_prometheus import MetricsPrometheus

ATTEMPTS = 3
WORKFLOWS = ("one", "two")
ERRORS = ("ValueError", "KeyError")

# A task is how often its attempts fail; ATTEMPTS of them, and it has failed for good.
task_plans = st.tuples(st.sampled_from(["extract", "load"]), st.integers(0, ATTEMPTS), st.sampled_from(ERRORS))
run_plans = st.tuples(st.sampled_from(WORKFLOWS), st.lists(task_plans, max_size=4), st.booleans())


def step_of(clock, name, failures, error):
    left = iter(range(failures))

    @action(retry=ATTEMPTS, retry_delay=0.5, name=name)
    def step():
        clock.advance(0.1)
        if next(left, None) is not None:
            raise {"ValueError": ValueError, "KeyError": KeyError}[error]("planned")

    return step


def execute(metrics, clock, plan):
    name, tasks, keep_going = plan
    flow = DotFlow(Config(metrics=metrics, clock=clock), name=name)
    for task in tasks:
        flow.task.add(step=step_of(clock, *task))
    return flow.start(keep_going=keep_going)


class Totals:
    """Sums of a registry's samples by series and by the labels asked for."""

    def __init__(self, registry):
        self.samples = [sample for family in registry.collect() for sample in family.samples]

    def __call__(self, series, **labels):
        return sum(s.value for s in self.samples if s.name == series and labels.items() <= s.labels.items())


def check_tasks(total, name, runs):
    tasks = [task for run in runs for task in run.tasks if task.started_ns is not None]
    for task in {task.name for task in tasks}:
        mine = [each for each in tasks if each.name == task]
        labels = {"workflow": name, "task": task}
        started, completed, failed, retried, errors = (
            total(metric.series[0], **labels)
            for metric in (
                names.TASK_STARTED,
                names.TASK_COMPLETED,
                names.TASK_FAILED,
                names.TASK_RETRIED,
                names.TASK_ERRORS,
            )
        )
        assert started == completed + failed + total(names.TASK_ACTIVE.series[0], **labels) == len(mine)
        assert retried == errors - failed == sum(each.retry_count for each in mine)
        assert errors == sum(len(each.errors) for each in mine)
        assert total(names.TASK_DURATION.series[1], **labels) == completed + failed
        assert total(names.TASK_DURATION.series[1], **labels, status="failed") == failed
        assert total(names.TASK_QUEUE.series[1], **labels) == started


def check_workflow(total, name, runs):
    ended = [total(metric.series[0], workflow=name) for metric in (names.WORKFLOW_COMPLETED, names.WORKFLOW_FAILED)]
    assert ended == [sum(not run.failed for run in runs), sum(run.failed for run in runs)]
    assert total(names.WORKFLOW_STARTED.series[0], workflow=name) == sum(ended)
    assert total(names.WORKFLOW_DURATION.series[1], workflow=name) == sum(ended)
    assert total(names.WORKFLOW_ACTIVE.series[0], workflow=name) == 0
    assert total(names.WORKFLOW_LAST_RUN_SUCCESS.series[0], workflow=name) == (bool(runs) and not runs[-1].failed)


@settings(deadline=None, max_examples=60)
@given(st.lists(run_plans, max_size=6))
def test_the_series_add_up(plans):
    clock, metrics = FakeClock(), MetricsPrometheus()
    runs = [execute(metrics, clock, plan) for plan in plans]
    total = Totals(metrics.registry)
    assert all(sample.value >= 0 for sample in total.samples)
    for name in WORKFLOWS:
        mine = [run for run in runs if run.workflow_name == name]
        check_workflow(total, name, mine)
        check_tasks(total, name, mine)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["started", "completed", "failed"]), max_size=20))
def test_calls_in_any_order_take_no_gauge_below_0(calls):
    metrics = MetricsPrometheus()
    for call in calls:
        arguments = ("id",) if call == "started" else ("id", 1.0)
        getattr(metrics, f"workflow_{call}")(*arguments)
    total = Totals(metrics.registry)
    assert all(sample.value >= 0 for sample in total.samples)
    assert total(names.WORKFLOW_STARTED.series[0]) == calls.count("started")
    assert total(names.WORKFLOW_COMPLETED.series[0]) == calls.count("completed")
