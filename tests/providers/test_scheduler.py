"""The schedulers: when they tick, what they do with ticks that come too early, and how they end."""

from __future__ import annotations

import logging
import signal
import threading

import pytest

from dotflow.abc import Scheduler
from dotflow.errors import DotflowError
from dotflow.providers import SchedulerCron, SchedulerInterval
from dotflow.providers.schedulers.provider import SchedulerBusy
from dotflow.providers.schedulers.runs import Limits, Runs
from dotflow.testing.clock import FakeClock
from support.schedules import (
    NOTHING_SKIPPED,
    PATIENCE,
    Gate,
    ScriptedClock,
    SettledClock,
    begun,
    begun_then_stop,
    finish,
    interval,
    interval_times,
    nothing,
    scripted,
    stop,
)

# --- Interval


def test_are_schedulers():
    assert isinstance(SchedulerInterval(1), Scheduler)
    assert isinstance(SchedulerCron("* * * * *"), Scheduler)


def test_interval_ticks_at_the_start_and_then_on_the_grid():
    times, scheduler = interval_times(10, 4)
    assert times == [0, 10, 20, 30]
    assert scheduler.skipped == NOTHING_SKIPPED
    assert scheduler.expected_interval == 10


def test_interval_ticks_every_hour_of_a_year():
    times, scheduler = interval_times(3600, 365 * 24)
    assert times == [hour * 3600 for hour in range(365 * 24)]
    assert scheduler.skipped == NOTHING_SKIPPED


def test_interval_does_not_drift_when_every_wait_comes_back_late():
    times, scheduler = interval_times(10, 1000, late_seconds=0.25)
    assert times[1:] == [n * 10 + 0.25 for n in range(1, 1000)]
    assert scheduler.skipped == NOTHING_SKIPPED


def test_interval_of_a_fraction():
    times, _ = interval_times(0.1, 1001)
    assert times[-1] == 100.0


def test_interval_counts_missed_ticks_and_fires_one_late():
    def suspend(count, clock):
        if count == 2:  # at 10 s; the ticks of 20, 30 and 40 s pass meanwhile
            clock.advance(35)

    times, scheduler = interval_times(10, 4, suspend)
    assert times == [0, 10, 45, 50]
    assert scheduler.skipped == NOTHING_SKIPPED | {"missed": 2}


def test_interval_longer_than_any_wait_is_waited_for_in_parts():
    times, _ = interval_times(1e9, 1)
    assert times == [0]
    clock = ScriptedClock()
    nothing, stop = (lambda: None), (lambda: scheduler.stop())  # noqa: PLW0108 - it is not there yet
    clock.script = [nothing, nothing, lambda: scheduler.idle.wait(PATIENCE), stop, nothing]
    scheduler = SchedulerInterval(1e300, clock=clock)
    scheduler.start(lambda: None)
    assert clock.waits == [60, 60, 60]


def test_keywords_reach_the_workflow():
    seen = []
    scheduler = SchedulerInterval(1)

    def workflow(**kwargs):
        seen.append(kwargs)
        scheduler.stop()

    scheduler.start(workflow, mode="parallel", keep_going=True)
    assert seen == [{"mode": "parallel", "keep_going": True}]


# --- Overlap


def test_skip_skips_ticks_while_a_run_goes_on():
    steps = [begun, nothing, finish(1), begun_then_stop, finish(1)]
    with scripted(interval(), *steps) as (gate, scheduler, reasons):
        assert (gate.ended, gate.peak) == (2, 1)
        assert scheduler.skipped == NOTHING_SKIPPED | {"overlap": 2}
        assert reasons == ["overlap", "overlap"]


def test_queue_runs_one_after_another():
    steps = [begun, nothing, finish(3), stop, finish(1)]
    with scripted(interval(overlap="queue"), *steps) as (gate, scheduler, reasons):
        assert (gate.ended, gate.peak) == (4, 1)
        assert scheduler.skipped == {"queue_full": 0, "missed": 0, "stopped": 0}
        assert reasons == []


def test_queue_is_bounded():
    steps = [begun, nothing, nothing, nothing, finish(3), stop, finish(1)]
    with scripted(interval(overlap="queue", max_queued=2), *steps) as (gate, scheduler, reasons):
        assert (gate.ended, gate.peak) == (4, 1)
        assert scheduler.skipped == {"queue_full": 2, "missed": 0, "stopped": 0}
        assert reasons == ["queue_full", "queue_full"]


def test_queue_is_dropped_by_the_stop_and_the_current_run_finishes():
    steps = [begun, nothing, stop, finish(1)]
    with scripted(interval(overlap="queue"), *steps) as (gate, scheduler, reasons):
        assert gate.ended == 1
        assert scheduler.skipped == {"queue_full": 0, "missed": 0, "stopped": 2}
        assert reasons == ["stopped", "stopped"]


def test_after_the_stop_nothing_that_waits_begins():
    """Also before the thread that ticks has woken up and dropped it."""
    stopped, begun, go_on = threading.Event(), [], threading.Event()
    runs = Runs(Limits(running=1, waiting=5, reason="queue_full"), stopped.is_set)
    assert runs.offer(lambda: begun.append("first") or go_on.wait(PATIENCE))
    assert runs.offer(lambda: begun.append("second"))
    assert runs.offer(lambda: begun.append("third"))
    stopped.set()
    go_on.set()
    assert runs.idle.wait(PATIENCE)
    assert begun == ["first"]
    assert runs.drop_waiting() == 2


def test_a_thread_that_cannot_be_started_costs_one_tick(monkeypatch, caplog):
    starts, start = [], threading.Thread.start

    def start_if_there_is_room(self):
        if self.name == "dotflow-scheduled-run":
            starts.append(self)
            if len(starts) == 2:
                raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_if_there_is_room)
    times, scheduler = interval_times(10, 3)
    assert times == [0, 20, 30]
    assert scheduler.skipped == {**NOTHING_SKIPPED, "missed": 1}
    assert "a scheduled run could not begin: can't start new thread" in caplog.text


def test_parallel_runs_side_by_side_within_its_bound():
    steps = [begun, begun, nothing, finish(2), begun_then_stop, finish(1)]
    with scripted(interval(overlap="parallel", max_parallel=2), *steps) as (gate, scheduler, reasons):
        assert (gate.ended, gate.peak) == (3, 2)
        assert scheduler.skipped == {"parallel_full": 2, "missed": 0, "stopped": 0}
        assert reasons == ["parallel_full", "parallel_full"]


def test_the_first_skip_of_a_kind_is_logged(caplog):
    with scripted(interval(), begun, nothing, nothing, stop, finish(1)):
        assert [record.message for record in caplog.records if "skipped" in record.message] == [
            "SchedulerInterval(10): a scheduled run was skipped (overlap); the next ones stand in `skipped` without a word"
        ]


def test_an_on_skip_that_raises_does_not_end_the_schedule(caplog):
    def broken(reason):
        raise RuntimeError(reason)

    def break_hook(gate, scheduler):
        gate.wait_begun()
        scheduler.on_skip = broken

    with scripted(interval(), break_hook, nothing, stop, finish(1)) as (_, scheduler, __):
        assert scheduler.skipped["overlap"] == 2
    assert sum("on_skip raised" in record.message for record in caplog.records) == 1


# --- The end


def test_stop_before_start_starts_nothing():
    scheduler = SchedulerInterval(1)
    scheduler.stop()
    scheduler.stop()
    scheduler.start(pytest.fail)


def test_close_stops():
    scheduler = SchedulerInterval(1)
    scheduler.close(1.0)
    scheduler.start(pytest.fail)


def test_stop_from_within_a_run():
    runs = []
    scheduler = SchedulerInterval(3600)

    def run():
        scheduler.stop()
        scheduler.stop()
        runs.append("finished")

    scheduler.start(run)
    assert runs == ["finished"]


def test_stop_from_another_thread_waits_for_the_current_run():
    gate, scheduler = Gate(), SchedulerInterval(3600)

    def end():
        gate.wait_begun()
        scheduler.stop()
        gate.let_go()

    thread = threading.Thread(target=end)
    thread.start()
    scheduler.start(gate)
    thread.join()
    assert gate.ended == 1


def test_starts_in_another_thread():
    begun, scheduler = threading.Event(), SchedulerInterval(3600)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=scheduler.start, args=[begun.set])
    thread.start()
    assert begun.wait(PATIENCE)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    scheduler.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_can_be_started_again_after_its_end():
    runs = []
    scheduler = SchedulerInterval(3600)

    def run():
        runs.append(1)
        scheduler.stop()

    for _ in range(3):
        scheduler.start(run)
        scheduler.stop()  # too late: means nothing to the next start
    assert len(runs) == 3


def test_is_of_one_workflow_at_a_time():
    errors = []
    scheduler = SchedulerInterval(3600)

    def run():
        with pytest.raises(SchedulerBusy, match="scheduler of its own") as caught:
            scheduler.start(pytest.fail)
        errors.append(caught.value)
        scheduler.stop()

    scheduler.start(run)
    assert isinstance(errors[0], DotflowError)


def test_a_run_longer_than_the_drain_timeout_is_given_up(caplog):
    with scripted(interval(drain_timeout=7), begun_then_stop, nothing) as (gate, scheduler, _):
        assert gate.ended == 0
        assert not scheduler.idle.is_set()
        assert "still going 7 s after the stop" in caplog.text
        finish(1)(gate, scheduler)


def test_a_run_given_up_does_not_count_for_the_next_start():
    with scripted(interval(drain_timeout=0), begun_then_stop, nothing) as (old_gate, scheduler, _):
        old_idle, gate = scheduler.idle, Gate()

        def end_the_old_run():
            old_gate.let_go()
            assert old_idle.wait(PATIENCE)
            assert not scheduler.idle.is_set()
            scheduler.stop()

        scheduler._clock.script = [gate.wait_begun, end_the_old_run, lambda: finish(1)(gate, scheduler)]
        scheduler.start(gate)
        assert scheduler.skipped == NOTHING_SKIPPED | {"overlap": 1}
        assert (old_gate.ended, gate.ended) == (1, 1)


def test_a_run_that_raises_is_logged_once_and_the_next_one_comes(caplog):
    clock = SettledClock()
    scheduler = SchedulerInterval(10, clock=clock)
    calls = []
    clock.scheduler = scheduler

    def run():
        calls.append(1)
        if len(calls) == 3:
            scheduler.stop()
        raise ValueError("no such table")

    scheduler.start(run)
    assert len(calls) == 3
    logged = [record for record in caplog.records if record.name == "dotflow"]
    assert [record.levelno for record in logged] == [logging.ERROR] * 3
    assert all(record.exc_info[0] is ValueError for record in logged)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_run_that_ends_the_program_ends_the_schedule(error):
    scheduler = SchedulerInterval(3600)

    def run():
        raise error

    with pytest.raises(type(error)) as caught:
        scheduler.start(run)
    assert caught.value is error


def test_what_the_clock_raises_ends_the_schedule():
    class BrokenClock(FakeClock):
        def wait(self, event, seconds):
            raise OSError("no clock")

    with pytest.raises(OSError, match="no clock"):
        SchedulerInterval(1, clock=BrokenClock()).start(lambda: None)
