"""What a scheduler tells while it runs: how late a tick is, how often they come, and when the next one does."""

from __future__ import annotations

import logging
import random
import re
import threading

import pytest

from dotflow.providers import SchedulerCron, SchedulerInterval
from dotflow.testing.clock import FakeClock
from support.schedules import (
    NOTHING_SKIPPED,
    PATIENCE,
    SECOND_NS,
    ScriptedClock,
    SettledClock,
    at,
    begun,
    begun_then_stop,
    finish,
    interval,
    nothing,
    record,
    scripted,
    stop,
)


def latenesses(scheduler, clock, limit, at_tick=None):
    """What `on_tick` is told before each of the first `limit` runs."""
    told = []
    scheduler.on_tick = told.append
    record(scheduler, clock, lambda: len(told), limit, at_tick)
    return told


# --- Lateness


def test_a_tick_in_time_is_not_late():
    clock = SettledClock()
    assert latenesses(SchedulerInterval(10, clock=clock), clock, 4) == [0, 0, 0, 0]


def test_a_wait_that_comes_back_late_makes_the_tick_late():
    clock = SettledClock()
    clock.late_seconds = 0.25
    assert latenesses(SchedulerInterval(10, clock=clock), clock, 3) == [0, 0.25, 0.25]


def test_the_jitter_does_not_count():
    clock = SettledClock()
    clock.late_seconds = 0.25
    scheduler = SchedulerInterval(10, jitter=5, rng=random.Random(7), clock=clock)
    assert latenesses(scheduler, clock, 100) == [0.25] * 100


def test_neither_does_that_of_a_cron_expression():
    clock = SettledClock(start_ns=at("2026-05-01T00:00:30"))
    scheduler = SchedulerCron("*/5 * * * *", timezone="UTC", jitter=60, rng=random.Random(7), clock=clock)
    assert latenesses(scheduler, clock, 50) == [0] * 50


def test_of_ticks_that_were_missed_the_last_one_tells_how_late_it_is():
    clock = SettledClock()

    def suspend(count):
        clock.late_seconds = 35 if count == 2 else 0  # at 10 s; the ticks of 20, 30, 40 and 50 s pass meanwhile

    scheduler = SchedulerInterval(10, clock=clock)
    assert latenesses(scheduler, clock, 4, suspend) == [0, 0, 5, 0]
    assert scheduler.skipped == NOTHING_SKIPPED | {"missed": 3}


def test_cron_is_late_by_the_wall_clock():
    clock = SettledClock(start_ns=at("2026-05-01T00:00:30"))

    def set_forward(count):
        if count == 1:  # at 01:00, to 04:30
            clock.wall_offset_ns += (3 * 3600 + 1800) * SECOND_NS

    scheduler = SchedulerCron("0 * * * *", timezone="UTC", clock=clock)
    assert latenesses(scheduler, clock, 3, set_forward) == [0, 1800, 0]


def test_the_time_in_the_queue_counts():
    told = []

    def listen(gate, scheduler):
        gate.wait_begun()
        scheduler.on_tick = told.append

    steps = [listen, nothing, finish(3), stop, finish(1)]
    with scripted(interval(overlap="queue"), *steps) as (gate, _, __):
        assert gate.ended == 4
    # Two waited until 20 s, from 10 and from 20 s on; the last one ran at once.
    assert told == [10, 0, 0]


def test_a_clock_that_is_set_while_a_run_waits_makes_it_neither_late_nor_early():
    told = []

    def listen(gate, scheduler):
        gate.wait_begun()
        scheduler.on_tick = told.append

    def set_forward(gate, scheduler):
        scheduler._clock.wall_offset_ns = 1800 * SECOND_NS
        finish(2)(gate, scheduler)

    def every_minute(clock):
        return SchedulerCron("* * * * *", timezone="UTC", overlap="queue", clock=clock)

    with scripted(every_minute, nothing, listen, set_forward, stop, finish(1)) as (_, scheduler, __):
        assert scheduler.skipped["missed"] == 30
    assert told == [0, 0]


def nothing_at_all():
    pass


def test_the_hook_is_called_in_the_thread_of_the_run_just_before_it():
    scheduler, seen = SchedulerInterval(3600), []
    scheduler.on_tick = lambda lateness: seen.append(threading.current_thread())

    def run():
        seen.append(threading.current_thread())
        scheduler.stop()

    scheduler.start(run)
    assert seen[0] is seen[1]


def test_a_hook_that_raises_is_logged_once_and_ends_nothing(caplog):
    clock = SettledClock()
    scheduler = SchedulerInterval(10, clock=clock)

    def broken(lateness):
        raise RuntimeError(lateness)

    scheduler.on_tick = broken
    assert len(record(scheduler, clock, clock.monotonic_ns, 3)) == 3
    assert [line.message for line in caplog.records if line.exc_info] == [
        "SchedulerInterval(10): on_tick raised; the schedule goes on, and more of the same is not told"
    ]


# --- The end of the drain


def test_runs_that_outlive_the_drain_are_given_up_and_waited_for_a_moment():
    def give_up(gate, scheduler):
        gate.wait_begun()
        scheduler.on_give_up = gate.let_go
        scheduler.stop()

    def ended(_, scheduler):
        assert scheduler.idle.wait(PATIENCE)

    with scripted(interval(drain_timeout=7), give_up, nothing, ended) as (gate, _, __):
        assert gate.ended == 1


def test_nothing_is_given_up_if_everything_ends_in_time():
    def listen(gate, scheduler):
        begun_then_stop(gate, scheduler)
        scheduler.on_give_up = pytest.fail

    with scripted(interval(drain_timeout=7), listen, finish(1)) as (gate, _, __):
        assert gate.ended == 1


# --- How often


def expected_intervals(cron, start, limit):
    """In days, before the first tick and then at each."""
    clock = SettledClock(start_ns=at(start))
    scheduler = SchedulerCron(cron, timezone="UTC", clock=clock)
    before = scheduler.expected_interval
    return [
        seconds / 86400 for seconds in [before, *record(scheduler, clock, lambda: scheduler.expected_interval, limit)]
    ]


def test_cron_expects_the_longer_of_the_intervals_around_its_latest_tick():
    monday = "2026-05-04T00:00:00"
    assert expected_intervals("0 9 * * MON-FRI", monday, 8) == [3, 1, 1, 1, 1, 3, 3, 1, 1]
    assert expected_intervals("0 9 * * *", monday, 2) == [1, 1, 1]


@pytest.mark.parametrize(
    ("cron", "start", "days"),
    [
        ("0 9 * * MON-FRI", "2026-05-01T08:00:00", 3),  # a Friday before its tick, which goes before a weekend
        ("0 9 * * MON-FRI", "2026-05-01T10:00:00", 3),  # after it: a restart must not page anybody on Sunday
        ("0 9 * * MON-FRI", "2026-05-02T12:00:00", 3),
        ("0 9 * * MON-FRI", "2026-05-05T12:00:00", 1),
        ("0 0 29 2 *", "2026-05-05T12:00:00", 1461),
        ("* * * * *", "2026-05-05T12:00:30", 1 / 1440),
        ("0 9 * * MON-FRI", "1970-01-01T00:00:30", 1),  # nothing is known before
    ],
)
def test_cron_expects_the_longer_of_the_intervals_around_a_start(cron, start, days):
    assert SchedulerCron(cron, timezone="UTC", clock=SettledClock(start_ns=at(start))).expected_interval == days * 86400


def test_cron_expects_nothing_of_an_earlier_start():
    clock = SettledClock(start_ns=at("2026-05-01T00:00:00"))  # a Friday
    scheduler = SchedulerCron("0 9 * * MON-FRI", timezone="UTC", clock=clock)
    assert record(scheduler, clock, lambda: scheduler.expected_interval, 1) == [3 * 86400]
    clock.advance(4 * 86400)  # a Tuesday, half past nine at the latest
    assert record(scheduler, clock, lambda: scheduler.expected_interval, 1) == [86400]


# --- When the next one comes


def announced(caplog, scheduler, clock, limit):
    with caplog.at_level(logging.DEBUG, "dotflow"):
        record(scheduler, clock, clock.time_ns, limit)
    return [(line.levelname, line.message) for line in caplog.records if "next run" in line.message]


def test_the_next_run_of_a_cron_expression_is_announced_in_its_zone(caplog):
    clock = SettledClock(start_ns=at("2026-03-28T12:00:00", "Europe/Berlin"))
    scheduler = SchedulerCron("30 2 * * *", timezone="Europe/Berlin", clock=clock)
    assert announced(caplog, scheduler, clock, 2) == [
        ("INFO", "SchedulerCron('30 2 * * *', Europe/Berlin): next run at 2026-03-29 03:00:00+02:00, in 14:00:00"),
        ("INFO", "SchedulerCron('30 2 * * *', Europe/Berlin): next run at 2026-03-30 02:30:00+02:00, in 23:30:00"),
    ]


def test_runs_that_follow_each_other_fast_are_announced_once(caplog):
    clock = SettledClock()
    levels = [level for level, _ in announced(caplog, SchedulerInterval(10, clock=clock), clock, 4)]
    assert levels == ["INFO", "DEBUG", "DEBUG"]


def test_runs_that_follow_each_other_at_once_are_not_announced(caplog):
    clock = SettledClock()
    assert announced(caplog, SchedulerInterval(0.5, clock=clock), clock, 4) == []


def test_a_first_run_that_waits_for_its_jitter_is_announced(caplog):
    clock = SettledClock()
    scheduler = SchedulerInterval(50, jitter=40, rng=random.Random(7), clock=clock)
    ((level, line),) = announced(caplog, scheduler, clock, 1)
    assert level == "INFO"
    assert re.fullmatch(
        r"SchedulerInterval\(50\): next run at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d, in 0:00:13", line
    )


def test_a_run_beyond_all_calendars_is_not_announced(caplog):
    clock = ScriptedClock()
    scheduler = SchedulerInterval(1e300, clock=clock)
    clock.script = [scheduler.stop, nothing_at_all]
    with caplog.at_level(logging.DEBUG, "dotflow"):
        scheduler.start(nothing_at_all)
    assert "next run" not in caplog.text


def test_a_stop_that_has_to_wait_says_so(caplog):
    with caplog.at_level(logging.INFO, "dotflow"), scripted(interval(drain_timeout=7), begun, stop, finish(1)):
        pass
    assert "SchedulerInterval(10) stops: the current run has 7 s to finish" in caplog.text


def test_a_scheduler_says_what_it_is():
    assert repr(SchedulerInterval(0.5, clock=FakeClock())) == "SchedulerInterval(0.5)"
    assert repr(SchedulerCron("0 9 * * MON")) == "SchedulerCron('0 9 * * MON', local time)"
