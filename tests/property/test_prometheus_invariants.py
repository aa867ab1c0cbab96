"""Whatever runs, the series add up: at the end, and at every moment at which a step looks."""

from __future__ import annotations

import functools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dotflow import Config, DotFlow, action, record
from dotflow.abc import Notify
from dotflow.model.outcome import Outcome, TaskError
from dotflow.model.task import Task
from dotflow.names import metrics as names
from dotflow.testing import FakeClock
from dotflow_prometheus import OVERFLOW, MetricsPrometheus
from support.threads import at_once

ATTEMPTS = 3
MAX_SERIES = 2
LIMIT = 60  # seconds after which a run that hangs fails the test
WORKFLOWS = ("one", "two")
ERRORS = {"ValueError": ValueError, "KeyError": KeyError}
# Where attempts run. (In worker processes a run takes too long to be made hundreds of times; see tests/integration.)
EXECUTORS = (
    {"mode": "sequential"},
    {"mode": "background"},
    {"mode": "parallel", "executor": "thread", "max_workers": 3},
    {"mode": "sequential_group", "executor": "inline"},
)

# A task is how often its attempts fail; ATTEMPTS of them, and it has failed for good.
task_plans = st.tuples(
    st.sampled_from(["extract", "load"]), st.integers(0, ATTEMPTS), st.sampled_from(sorted(ERRORS)), st.integers(-9, 9)
)
run_plans = st.tuples(
    st.sampled_from(WORKFLOWS), st.lists(task_plans, max_size=4), st.booleans(), st.sampled_from(EXECUTORS)
)


class Totals:
    """Sums of a registry's samples by series and by the labels asked for."""

    def __init__(self, registry):
        self.samples = [sample for family in registry.collect() for sample in family.samples]

    def __call__(self, metric, /, **labels):
        series = metric.series[1] if metric.kind == "histogram" else metric.series[0]
        return sum(s.value for s in self.samples if s.name == series and labels.items() <= s.labels.items())

    def check(self):
        """What holds at every moment, also in the middle of runs."""
        recorded = names.TASK_RECORDED.series[0]  # the one gauge whose values are the user's
        assert all(sample.value >= 0 for sample in self.samples if sample.name != recorded)
        for labels in self._labels(names.TASK_STARTED):
            completed, failed = self(names.TASK_COMPLETED, **labels), self(names.TASK_FAILED, **labels)
            assert self(names.TASK_STARTED, **labels) == completed + failed + self(names.TASK_ACTIVE, **labels)
            assert self(names.TASK_DURATION, **labels, status="completed") == completed
            assert self(names.TASK_DURATION, **labels, status="failed") == failed
            assert self(names.TASK_QUEUE, **labels) == self(names.TASK_STARTED, **labels)
        for labels in self._labels(names.WORKFLOW_STARTED):
            completed, failed = self(names.WORKFLOW_COMPLETED, **labels), self(names.WORKFLOW_FAILED, **labels)
            active = self(names.WORKFLOW_ACTIVE, **labels)
            assert self(names.WORKFLOW_STARTED, **labels) == completed + failed + active
            assert self(names.WORKFLOW_DURATION, **labels, status="completed") == completed
            assert self(names.WORKFLOW_DURATION, **labels, status="failed") == failed
            assert bool(active) == bool(self(names.WORKFLOW_OLDEST_ACTIVE, **labels))

    def check_errors(self):
        """What holds when no thread is in the middle of telling of a failure."""
        for labels in self._labels(names.TASK_STARTED):
            errors = self(names.TASK_ERRORS, **labels)
            assert self(names.TASK_RETRIED, **labels) == errors - self(names.TASK_FAILED, **labels)

    def check_buckets(self):
        """Cumulative buckets do not go down, and the last one is the count."""
        for metric in (metric for metric in names.METRICS if metric.kind == "histogram"):
            bucket, count, _ = metric.series
            for sample in (sample for sample in self.samples if sample.name == count):
                mine = [s.value for s in self.samples if s.name == bucket and sample.labels.items() <= s.labels.items()]
                assert mine == sorted(mine)
                assert mine[-1] == sample.value

    def _labels(self, metric):
        return [sample.labels for sample in self.samples if sample.name == metric.series[0]]


class Watch:
    """Runs workflows on one provider; every attempt looks whether the series add up while it runs."""

    def __init__(self):
        self.clock, self.metrics = FakeClock(), MetricsPrometheus()
        self.runs, self.broken = [], []
        self.active = 0

    def run(self, plan):
        name, tasks, keep_going, how = plan
        config = Config(metrics=self.metrics, clock=self.clock, notify=Silent())
        with DotFlow(config, name=name) as flow:
            for task in tasks:
                flow.task.add(step=self._step(*task))
            run = flow.start(keep_going=keep_going, **how)
            run.wait(LIMIT)
        self.runs.append(run)

    def _step(self, name, failures, error, value):
        left = iter(range(failures))

        @action(retry=ATTEMPTS, retry_delay=0.5, name=name)
        def step():
            self._look()
            self.clock.advance(0.1)
            record("value", value)
            if next(left, None) is not None:
                raise ERRORS[error]("planned")

        return step

    def _look(self):
        try:
            total = Totals(self.metrics.registry)
            total.check()
            self.active += total(names.TASK_ACTIVE) >= 1
        except AssertionError as error:  # kept out of the step, where it would only be one more failure
            self.broken.append(error)


class Silent(Notify):
    def hook_status_task(self, task): ...


def check_tasks(total, name, runs):
    tasks = [task for run in runs for task in run.tasks if task.started_ns is not None]
    for task in {task.name for task in tasks}:
        mine = [each for each in tasks if each.name == task]
        labels = {"workflow": name, "task": task}
        assert total(names.TASK_STARTED, **labels) == len(mine)
        assert total(names.TASK_COMPLETED, **labels) == sum(each.status == "Completed" for each in mine)
        assert total(names.TASK_FAILED, **labels) == sum(each.status == "Failed" for each in mine)
        assert total(names.TASK_ACTIVE, **labels) == 0
        assert total(names.TASK_RETRIED, **labels) == sum(each.retry_count for each in mine)
        errors = Counter(error.exception for each in mine for error in each.errors)
        for kind in ERRORS:
            assert total(names.TASK_ERRORS, **labels, error_type=kind) == errors[kind]
        assert total(names.TASK_RECORDED, **labels, name="value") in {each.recorded["value"] for each in mine}


def check_workflow(total, name, runs):
    assert total(names.WORKFLOW_COMPLETED, workflow=name) == sum(not run.failed for run in runs)
    assert total(names.WORKFLOW_FAILED, workflow=name) == sum(run.failed for run in runs)
    assert total(names.WORKFLOW_ACTIVE, workflow=name) == 0
    assert total(names.WORKFLOW_LAST_RUN_SUCCESS, workflow=name) == (bool(runs) and not runs[-1].failed)


@settings(deadline=None, max_examples=60)
@given(st.lists(run_plans, max_size=6))
def test_the_series_of_real_runs_add_up(plans):
    watch = Watch()
    for plan in plans:
        watch.run(plan)
    assert not watch.broken
    total = Totals(watch.metrics.registry)
    total.check()
    total.check_errors()
    total.check_buckets()
    for name in WORKFLOWS:
        mine = [run for run in watch.runs if run.workflow_name == name]
        check_workflow(total, name, mine)
        check_tasks(total, name, mine)
    assert watch.active == sum(task.attempt for run in watch.runs for task in run.tasks)
    assert total(names.PROVIDER_ERRORS) == total(names.TELEMETRY_DROPPED) == total(names.BACKGROUND_QUEUED) == 0


@settings(deadline=None, max_examples=20)
@given(st.lists(run_plans, min_size=2, max_size=5))
def test_the_series_of_runs_side_by_side_add_up(plans):
    watch = Watch()
    at_once(*(functools.partial(watch.run, plan) for plan in plans))
    assert not watch.broken
    assert len(watch.runs) == len(plans)
    total = Totals(watch.metrics.registry)
    total.check()
    total.check_errors()
    for name in WORKFLOWS:
        mine = [run for run in watch.runs if run.workflow_name == name]
        assert total(names.WORKFLOW_STARTED, workflow=name) == len(mine)
        check_tasks(total, name, mine)


@action
def nothing(): ...


class Calls(RuleBasedStateMachine):
    """The provider alone, called in any order that the engine may call it in, with more labels than it has room for."""

    def __init__(self):
        super().__init__()
        self.metrics = MetricsPrometheus(max_series=MAX_SERIES)
        self.active, self.runs = [], []
        self.told = Counter()

    @rule(workflow=st.sampled_from("abc"), task=st.sampled_from("xyz"))
    def start_task(self, workflow, task):
        task = Task(nothing, name=task, workflow_name=workflow, workflow_id=workflow)
        task.queued_ns, task.started_ns = 5, 7
        self.metrics.task_started(task)
        self.active.append(task)
        self.told["started"] += 1

    @precondition(lambda self: self.active)
    @rule(
        data=st.data(),
        error=st.sampled_from(["A", "B", "C"]),
        recorded=st.dictionaries(st.sampled_from("nmo"), st.floats()),
    )
    def retry_task(self, data, error, recorded):
        task = data.draw(st.sampled_from(self.active))
        self._fail_attempt(task, error, recorded)
        self.metrics.task_retried(task)
        self.told["retried"] += 1

    @precondition(lambda self: self.active)
    @rule(data=st.data(), error=st.sampled_from(["A", "B", "C"]), well=st.booleans())
    def end_task(self, data, error, well):
        task = self.active.pop(data.draw(st.integers(0, len(self.active) - 1)))
        task.duration = data.draw(st.floats(0, 1e6))
        if well:
            self.metrics.task_completed(task)
        else:
            self._fail_attempt(task, error, {})
            self.metrics.task_failed(task)
        self.told["completed" if well else "failed"] += 1

    @rule(workflow=st.sampled_from("abc"))
    def start_run(self, workflow):
        self.metrics.workflow_started(workflow, name=workflow)
        self.runs.append(workflow)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), well=st.booleans(), seconds=st.floats(0, 1e6))
    def end_run(self, data, well, seconds):
        workflow = self.runs.pop(data.draw(st.integers(0, len(self.runs) - 1)))
        (self.metrics.workflow_completed if well else self.metrics.workflow_failed)(workflow, seconds)

    @rule(workflow=st.sampled_from("abcd"), seconds=st.floats(allow_infinity=False))
    def tick(self, workflow, seconds):
        self.metrics.schedule_ticked(workflow, seconds)
        self.told["ticked"] += 1

    @rule(change=st.integers(-3, 3))
    def queue(self, change):
        self.metrics.background_queued(change)
        self.told["queued"] += change

    @invariant()
    def adds_up(self):
        total = Totals(self.metrics.registry)
        total.check()
        total.check_errors()
        total.check_buckets()
        assert total(names.TASK_ACTIVE) == len(self.active)
        assert total(names.WORKFLOW_ACTIVE) == len(self.runs)
        for told, metric in (
            ("started", names.TASK_STARTED),
            ("completed", names.TASK_COMPLETED),
            ("failed", names.TASK_FAILED),
            ("retried", names.TASK_RETRIED),
            ("ticked", names.SCHEDULE_LATENESS),
        ):
            assert total(metric) == self.told[told]
        assert total(names.BACKGROUND_QUEUED) == max(0, self.told["queued"])

    @invariant()
    def has_bounds(self):
        samples = Totals(self.metrics.registry).samples
        for metric in names.METRICS:
            labels = {tuple(sorted(s.labels.items())) for s in samples if s.name == metric.series[-1]}
            own = [each for each in labels if OVERFLOW not in dict(each).values()]
            # of durations each has two statuses
            assert len(own) <= (len(names.SIGNALS) if metric is names.TELEMETRY_DROPPED else 2 * MAX_SERIES)

    def _fail_attempt(self, task, error, recorded):
        task.errors.append(TaskError(attempt=1, exception=error, message="", traceback=""))
        task.outcome = Outcome(started_ns=0, duration_ns=0, pid=1, host="here", recorded=recorded)


TestCalls = Calls.TestCase
TestCalls.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)
TestCalls.pytestmark = [pytest.mark.contained]  # what is beyond the limit is told


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["started", "completed", "failed"]), max_size=20))
def test_calls_that_the_engine_would_not_make_take_no_gauge_below_0(calls):
    metrics = MetricsPrometheus()
    for call in calls:
        arguments = ("id",) if call == "started" else ("id", 1.0)
        getattr(metrics, f"workflow_{call}")(*arguments)
    total = Totals(metrics.registry)
    assert all(sample.value >= 0 for sample in total.samples)
    assert total(names.WORKFLOW_STARTED) == calls.count("started")
    assert total(names.WORKFLOW_COMPLETED) == calls.count("completed")
