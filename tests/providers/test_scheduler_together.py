"""Several schedules in one program: one start, one end."""

from __future__ import annotations

import threading

import pytest

from dotflow import Config, DotFlow, action
from dotflow.abc import Scheduler
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.providers import SchedulerInterval
from dotflow.providers.schedulers.provider import SchedulerBusy, Schedules
from dotflow.testing import RecordingScheduler
from support.schedules import PATIENCE


def scheduled(name, work, scheduler=None):
    @action(name=name)
    def step():
        work()

    workflow = DotFlow(Config(scheduler=scheduler or SchedulerInterval(3600, drain_timeout=PATIENCE)), name=name)
    workflow.task.add(step)
    return workflow


class Met:
    """Work of two workflows that ends once both are at it."""

    def __init__(self):
        self.barrier = threading.Barrier(2)

    def __call__(self):
        self.barrier.wait(PATIENCE)


def started(schedules):
    """Start in another thread, to be joined."""
    thread = threading.Thread(target=schedules.start)
    thread.start()
    return thread


def ended(thread):
    thread.join(PATIENCE)
    return not thread.is_alive()


def test_workflows_run_side_by_side_and_a_stop_ends_them_all():
    met, schedules = Met(), Schedules()
    workflows = [scheduled(name, met) for name in ("one", "other")]
    both = threading.Barrier(3)
    for workflow in workflows:
        schedules.add(workflow, on_success=lambda tasks: both.wait(PATIENCE))
    thread = started(schedules)
    both.wait(PATIENCE)
    schedules.stop()
    assert ended(thread)
    assert [workflow.task.latest.status for workflow in workflows] == ["Completed", "Completed"]
    assert [workflow.task.latest.trigger for workflow in workflows] == ["schedule", "schedule"]


def test_each_has_its_own_keywords():
    schedules, modes = Schedules(), set()
    for name, mode in (("one", "sequential"), ("other", "background")):
        workflow = scheduled(name, lambda: None, RecordingScheduler())
        schedules.add(
            workflow, mode=mode, on_success=lambda tasks, workflow=workflow: modes.add(workflow.task.latest.mode)
        )
    schedules.start()
    assert modes == {"sequential", "background"}


def test_one_that_is_stopped_leaves_the_others_alone():
    schedules, gone = Schedules(), threading.Event()
    first = SchedulerInterval(3600)
    schedules.add(scheduled("one", first.stop, first))
    second = SchedulerInterval(0.01)

    def work():
        if not any(thread.name == "dotflow-schedule-one" for thread in threading.enumerate()):
            gone.set()
            second.stop()

    schedules.add(scheduled("other", work, second))
    schedules.start()
    assert gone.is_set()


def test_one_that_ends_the_program_stops_the_others_and_is_raised():
    met, schedules = Met(), Schedules()

    def leave():
        met()
        raise SystemExit(3)

    other = scheduled("other", met)
    schedules.add(scheduled("one", leave))
    schedules.add(other)
    with pytest.raises(SystemExit) as caught:
        schedules.start()
    assert caught.value.code == 3
    assert other.task.latest.status == "Completed"


def test_a_schedule_that_cannot_start_stops_the_others_and_is_raised():
    class Broken(RecordingScheduler):
        def start(self, workflow, **kwargs):
            raise OSError("no such queue")

    schedules = Schedules()
    schedules.add(scheduled("one", lambda: None))
    schedules.add(scheduled("other", lambda: None, Broken()))
    with pytest.raises(OSError, match="no such queue"):
        schedules.start()


def test_a_stop_before_the_start_is_for_good():
    schedules = Schedules()
    schedules.add(scheduled("one", pytest.fail))
    schedules.stop()
    schedules.start()


def test_a_scheduler_that_forgets_an_early_stop_is_told_again():
    class Forgetful(Scheduler):
        def __init__(self):
            self.stopped, self.stops = threading.Event(), 0

        def start(self, workflow, **kwargs):
            self.stopped.clear()
            schedules.stop()
            assert self.stopped.wait(PATIENCE)
            self.stopped.clear()
            assert self.stopped.wait(PATIENCE)

        def stop(self):
            self.stops += 1
            self.stopped.set()

    schedules, scheduler = Schedules(), Forgetful()
    schedules.add(scheduled("one", lambda: None, scheduler))
    schedules.start()
    assert scheduler.stops >= 2


def test_can_be_started_again_when_all_have_ended():
    schedules, runs = Schedules(), []
    scheduler = SchedulerInterval(3600)

    def work():
        runs.append(1)
        scheduler.stop()

    schedules.add(scheduled("one", work, scheduler))
    schedules.start()
    schedules.start()
    assert len(runs) == 2


def test_nothing_to_schedule():
    with pytest.raises(InvalidOption, match="add a workflow first"):
        Schedules().start()


def test_a_workflow_without_a_scheduler():
    with pytest.raises(InvalidOption, match=r"workflow 'plain' has no scheduler: give it a Config\(scheduler=...\)"):
        Schedules().add(DotFlow(name="plain"))


def test_a_scheduler_of_two_workflows():
    schedules, scheduler = Schedules(), SchedulerInterval(1)
    schedules.add(scheduled("one", pytest.fail, scheduler))
    with pytest.raises(SchedulerBusy):
        schedules.add(scheduled("other", pytest.fail, scheduler))


def test_a_keyword_that_start_would_refuse():
    with pytest.raises(InvalidChoice, match="mode='fast'"):
        Schedules().add(scheduled("one", pytest.fail), mode="fast")
    with pytest.raises(TypeError, match="modes"):
        Schedules().add(scheduled("one", pytest.fail), modes="parallel")
