"""Jitter: each tick comes a little later, at random; the grid stays, and nothing is skipped by it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotflow.errors import InvalidOption
from dotflow.providers import SchedulerCron, SchedulerInterval
from dotflow.providers.schedulers.jitter import Jitter
from dotflow.providers.schedulers.ticks import IntervalTicks
from dotflow.testing.clock import FakeClock
from support.schedules import NOTHING_SKIPPED, SECOND_NS, SettledClock, at, record


def jittered(seconds, jitter, limit, rng):
    clock = SettledClock()
    scheduler = SchedulerInterval(seconds, jitter=jitter, rng=rng, clock=clock)
    times = record(scheduler, clock, clock.monotonic_ns, limit)
    assert scheduler.skipped == NOTHING_SKIPPED
    return [ns / SECOND_NS for ns in times]


def test_every_tick_is_delayed_and_the_grid_does_not_drift():
    times = jittered(60, 20, 3000, random.Random(7))
    delays = [time - 60 * number for number, time in enumerate(times)]
    assert all(0 <= delay < 20 for delay in delays)
    assert sum(delays) / len(delays) == pytest.approx(10, abs=0.5)
    assert min(delays) < 0.1
    assert max(delays) > 19.9


def test_the_same_source_gives_the_same_ticks():
    assert jittered(60, 20, 50, random.Random(7)) == jittered(60, 20, 50, random.Random(7))
    assert jittered(60, 20, 50, random.Random(7)) != jittered(60, 20, 50, random.Random(8))


def test_by_itself_it_neither_reads_nor_moves_the_global_source():
    random.seed(42)
    one, state = jittered(60, 20, 5, None), random.getstate()
    random.seed(42)
    assert jittered(60, 20, 5, None) != one
    assert random.getstate() == state


def test_no_jitter_asks_no_source():
    class Silent(random.Random):
        def random(self):
            raise AssertionError

    assert jittered(60, 0, 3, Silent()) == [0, 60, 120]


def test_cron_is_delayed_but_never_past_the_next_tick():
    clock = SettledClock(start_ns=at("2026-05-01T00:00:30"))
    scheduler = SchedulerCron("0,1 * * * *", timezone="UTC", jitter=1800, rng=random.Random(7), clock=clock)
    times = record(scheduler, clock, clock.time_ns, 401)
    assert scheduler.skipped == NOTHING_SKIPPED
    grid = [
        at("2026-05-01T00:01:00"),
        *(at("2026-05-01T01:00:00") + (n // 2 * 3600 + n % 2 * 60) * SECOND_NS for n in range(401)),
    ]
    delays = [(time - tick) / SECOND_NS for time, tick in zip(times, grid, strict=False)]
    assert all(time < following for time, following in zip(times, grid[1:], strict=False))
    assert max(delays[1::2]) < 60  # the one after it comes a minute later
    assert 1700 < max(delays[2::2]) < 1800


def test_the_longest_delay_ends_before_the_next_tick():
    class Highest(random.Random):
        def uniform(self, low, high):
            return high

    assert Jitter(60, Highest()).delay_ns(10 * SECOND_NS) == 10 * SECOND_NS - 1
    assert Jitter(60, Highest()).delay_ns(90 * SECOND_NS) == 60 * SECOND_NS


def test_the_expected_interval_is_without_jitter():
    assert SchedulerInterval(60, jitter=59).expected_interval == 60
    assert SchedulerCron("*/15 * * * *", jitter=600).expected_interval == 900


@given(
    st.integers(0, 2**32),
    st.floats(0, 9.999),
    st.lists(st.floats(0, 35), min_size=1, max_size=40),
)
@settings(deadline=None)
def test_whatever_the_waits_every_tick_is_taken_or_missed_once_and_in_order(seed, jitter, waits):
    clock = FakeClock()
    ticks = IntervalTicks(10, clock, Jitter(jitter, random.Random(seed)))
    taken, dues = 0, []
    for seconds in waits:
        clock.advance(seconds)
        now = clock.monotonic_ns()
        if due := ticks.take():
            taken += due.ticks
            assert due.late_ns >= 0
            dues.append(now - due.late_ns)
        assert ticks.take() is None
        assert ticks.left_ns() > 0
        number, into = divmod(now, 10 * SECOND_NS)
        if into >= jitter * SECOND_NS + 1:  # whatever the latest tick's delay is, it is over
            assert taken == number + 1
        assert taken in (number, number + 1)
        if dues:
            last, late = divmod(dues[-1], 10 * SECOND_NS)
            assert last == taken - 1
            assert late <= jitter * SECOND_NS + 1
    assert all(earlier < later for earlier, later in pairwise(dues))


@pytest.mark.parametrize("jitter", [-1, float("nan"), float("inf"), "5", None, True])
@pytest.mark.parametrize(
    "scheduler", [lambda **o: SchedulerInterval(60, **o), lambda **o: SchedulerCron("* * * * *", **o)]
)
def test_a_jitter_that_is_no_time(scheduler, jitter):
    with pytest.raises(InvalidOption, match=r"jitter=.*a finite number not below 0"):
        scheduler(jitter=jitter)


@pytest.mark.parametrize("jitter", [60, 61.5])
def test_a_jitter_as_long_as_the_interval(jitter):
    with pytest.raises(InvalidOption, match=rf"jitter={jitter}: less than seconds=60"):
        SchedulerInterval(60, jitter=jitter)


@pytest.mark.parametrize("rng", [random, 7, random.random, "seed"])
def test_a_source_that_is_none(rng):
    with pytest.raises(InvalidOption, match=r"rng=.*random\.Random\(7\)"):
        SchedulerInterval(60, jitter=5, rng=rng)
