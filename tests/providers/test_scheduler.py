"""The schedulers: when they tick, what they do with ticks that come too early, and how they end."""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotflow.abc import Scheduler
from dotflow.errors import DotflowError
from dotflow.providers import SchedulerCron, SchedulerInterval
from dotflow.providers.scheduler import SchedulerBusy
from dotflow.providers.scheduler_cron import CronExpression, LocalZone, zone_of
from dotflow.testing.clock import FakeClock

PATIENCE = 20  # seconds after which a test that hangs fails; none ever waits that long to pass
SECOND_NS = 1_000_000_000
NOTHING_SKIPPED = {"overlap": 0, "missed": 0, "stopped": 0}


def at(text, zone="UTC"):
    """The instant of a wall-clock time, in nanoseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_NS


class SettledClock(FakeClock):
    """Moves only while no run goes on, so a run takes no time and every tick finds the one before ended."""

    scheduler = None
    wall_offset_ns = 0
    late_seconds = 0.0

    def time_ns(self):
        return super().time_ns() + self.wall_offset_ns

    def wait(self, event, seconds):
        assert self.scheduler.idle.wait(PATIENCE)
        return super().wait(event, seconds + self.late_seconds)


class ScriptedClock(FakeClock):
    """Does the next step of a script at every wait, then jumps over it."""

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)

    def wait(self, event, seconds):
        self.script.pop(0)()
        return super().wait(event, seconds)


class Gate:
    """A run that tells when it has begun and ends when it is let go."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.active = self.peak = self.ended = 0

    def __call__(self):
        with self.lock:
            self.active += 1
            self.peak = max(self.peak, self.active)
        self.begun.release()
        assert self.release.acquire(timeout=PATIENCE)
        with self.lock:
            self.active -= 1
            self.ended += 1

    def wait_begun(self):
        assert self.begun.acquire(timeout=PATIENCE)

    def let_go(self, runs=1):
        self.release.release(runs)


def record(scheduler, clock, read, limit, at_tick=None):
    """Start a schedule and collect `read()` at each of its first `limit` ticks."""
    seen = []
    clock.scheduler = scheduler

    def run():
        seen.append(read())
        if at_tick is not None:
            at_tick(len(seen))
        if len(seen) == limit:
            scheduler.stop()

    scheduler.start(run)
    return seen


def interval_times(seconds, limit, at_tick=None, late_seconds=0.0):
    clock = SettledClock()
    clock.late_seconds = late_seconds
    scheduler = SchedulerInterval(seconds, clock=clock)
    times = record(scheduler, clock, clock.monotonic_ns, limit, at_tick and (lambda count: at_tick(count, clock)))
    return [ns / SECOND_NS for ns in times], scheduler


def cron_times(cron, zone, start, limit):
    """The wall-clock times of the first ticks after `start`, with their offsets."""
    clock = SettledClock(start_ns=at(start, zone))
    scheduler = SchedulerCron(cron, timezone=zone, clock=clock)
    times = record(scheduler, clock, clock.time_ns, limit)
    assert scheduler.skipped == NOTHING_SKIPPED
    return [datetime.fromtimestamp(ns / SECOND_NS, ZoneInfo(zone)).isoformat() for ns in times]


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
    clock = ScriptedClock(*[lambda: None] * 3, lambda: scheduler.stop(), lambda: None)  # noqa: PLW0108 - comes later
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


# --- Cron


def test_cron_starts_with_the_next_match_not_at_once():
    times = cron_times("0 12 * * *", "UTC", "2026-05-01T12:00:00", 2)
    assert times == ["2026-05-02T12:00:00+00:00", "2026-05-03T12:00:00+00:00"]


def test_cron_ticks_every_night_of_a_year():
    times = cron_times("30 2 * * *", "Europe/Berlin", "2026-01-01T00:00:00", 365)
    days = [datetime.fromisoformat(text) for text in times]
    assert [day.timetuple().tm_yday for day in days] == list(range(1, 366))
    assert {day.strftime("%H:%M") for day in days if day.strftime("%m-%d") != "03-29"} == {"02:30"}


def test_cron_ticks_every_hour_of_a_year():
    clock = SettledClock(start_ns=at("2026-01-01T00:00:00", "America/New_York"))
    scheduler = SchedulerCron("0 * * * *", timezone="America/New_York", clock=clock)
    times = record(scheduler, clock, clock.time_ns, 365 * 24)
    assert {later - earlier for earlier, later in pairwise(times)} == {3600 * SECOND_NS}
    assert scheduler.skipped == NOTHING_SKIPPED


def test_cron_never_sleeps_longer_than_a_minute_without_a_look_at_the_clock():
    clock = SettledClock()
    scheduler = SchedulerCron("0 0 1 * *", clock=clock)
    record(scheduler, clock, clock.time_ns, 1)
    assert max(clock.waits) == 60


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        pytest.param("30 2 * * *", BERLIN, "2026-03-28T12:00", ["29T03:00:00+02:00", "30T02:30:00+02:00"], id="moved"),
        pytest.param("0,30 2 * * *", BERLIN, "2026-03-29", ["29T03:00:00+02:00", "30T02:00:00+02:00"], id="one run"),
        pytest.param("0 2,3 * * *", BERLIN, "2026-03-29", ["29T03:00:00+02:00", "30T02:00:00+02:00"], id="merged"),
        pytest.param("0 * * * *", BERLIN, "2026-03-29T00:30", ["29T01:00:00+01:00", "29T03:00:00+02:00"], id="hourly"),
        pytest.param("*/30 2 * * *", BERLIN, "2026-03-29", ["30T02:00:00+02:00", "30T02:30:00+02:00"], id="left out"),
        pytest.param("0 30 2 * * *", BERLIN, "2026-03-29", ["30T02:30:00+02:00", "31T02:30:00+02:00"], id="6 fields"),
        pytest.param("30 2 * * *", NEW_YORK, "2026-03-08", ["08T03:00:00-04:00", "09T02:30:00-04:00"], id="New York"),
        pytest.param(
            "0 * * * *", NEW_YORK, "2026-03-08T00:30", ["08T01:00:00-05:00", "08T03:00:00-04:00"], id="New York hourly"
        ),
    ],
)
def test_cron_where_daylight_saving_skips_an_hour(cron, zone, start, expected):
    assert [text[8:] for text in cron_times(cron, zone, start, 2)] == expected


@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        pytest.param("30 2 * * *", BERLIN, "2026-10-25", ["25T02:30:00+02:00", "26T02:30:00+01:00"], id="first only"),
        pytest.param("0 * * * *", BERLIN, "2026-10-25T01:30", ["25T02:00:00+02:00", "25T02:00:00+01:00"], id="hourly"),
        pytest.param("*/30 2 * * *", BERLIN, "2026-10-25T02:15", ["25T02:30:00+02:00", "25T02:00:00+01:00"], id="both"),
        pytest.param("0 30 2 * * *", BERLIN, "2026-10-25", ["25T02:30:00+02:00", "25T02:30:00+01:00"], id="6 fields"),
        pytest.param("30 1 * * *", NEW_YORK, "2026-11-01", ["01T01:30:00-04:00", "02T01:30:00-05:00"], id="New York"),
        pytest.param(
            "0 * * * *", NEW_YORK, "2026-11-01T00:30", ["01T01:00:00-04:00", "01T01:00:00-05:00"], id="New York hourly"
        ),
    ],
)
def test_cron_where_daylight_saving_repeats_an_hour(cron, zone, start, expected):
    assert [text[8:] for text in cron_times(cron, zone, start, 2)] == expected


def test_cron_started_within_the_repeated_hour_does_not_look_back():
    second_0245 = at("2026-10-25T01:45:00")  # 02:45 in Berlin for the second time
    first = next(CronExpression("50 2 * * *", ZoneInfo(BERLIN), second_0245).after(second_0245))
    assert first == at("2026-10-26T02:50:00", BERLIN)


def test_cron_counts_missed_ticks_when_the_clock_is_set_forward():
    clock = SettledClock(start_ns=at("2026-05-01T00:00:30"))
    scheduler = SchedulerCron("0 * * * *", timezone="UTC", clock=clock)

    def set_forward(count):
        if count == 1:  # at 01:00, to 04:30
            clock.wall_offset_ns += 3 * 3600 * SECOND_NS + 1800 * SECOND_NS

    times = record(scheduler, clock, clock.time_ns, 3, set_forward)
    assert times == [at("2026-05-01T01:00:00"), at("2026-05-01T04:30:00"), at("2026-05-01T05:00:00")]
    assert scheduler.skipped == NOTHING_SKIPPED | {"missed": 2}


def test_cron_whose_clock_was_decades_behind_gives_up_counting():
    clock = SettledClock(start_ns=0)
    scheduler = SchedulerCron("* * * * *", timezone="UTC", clock=clock)

    def synchronise(count):
        if count == 1:
            clock.wall_offset_ns = at("2026-05-01T00:00:30")

    times = record(scheduler, clock, clock.time_ns, 3, synchronise)
    assert times[2] - at("2026-05-01T00:02:00") == 0
    assert scheduler.skipped == NOTHING_SKIPPED | {"missed": 9_999}


def set_back(seconds):
    """Ticks of a daily schedule whose clock is set back right after the first, as dates with hours."""
    clock = SettledClock(start_ns=at("2026-05-01T01:00:00"))
    scheduler = SchedulerCron("0 2 * * *", timezone="UTC", clock=clock)

    def turn_back(count):
        if count == 1:
            clock.wall_offset_ns -= seconds * SECOND_NS

    times = record(scheduler, clock, clock.time_ns, 2, turn_back)
    return [datetime.fromtimestamp(ns // SECOND_NS, timezone.utc).strftime("%d %H") for ns in times]


def test_cron_repeats_no_tick_when_the_clock_is_corrected_backwards():
    assert set_back(600) == ["01 02", "02 02"]


def test_cron_follows_a_clock_that_is_set_far_back():
    assert set_back(10 * 86400 + 3600) == ["01 02", "21 02"]  # the 21st of April


def test_cron_every_minute_is_not_silenced_by_a_clock_set_back_an_hour():
    clock = SettledClock(start_ns=at("2026-05-01T12:00:30"))
    scheduler = SchedulerCron("* * * * *", timezone="UTC", clock=clock)

    def turn_back(count):
        if count == 1:
            clock.wall_offset_ns -= 3600 * SECOND_NS

    times = record(scheduler, clock, clock.monotonic_ns, 3, turn_back)
    assert {later - earlier for earlier, later in pairwise(times)} == {60 * SECOND_NS}


def test_cron_expected_interval_is_the_distance_of_the_next_two_ticks():
    friday = FakeClock(start_ns=at("2026-05-01T00:00:00"))
    assert SchedulerCron("0 0 * * MON-FRI", timezone="UTC", clock=friday).expected_interval == 86400
    assert SchedulerCron("0 9 * * MON-FRI", timezone="UTC", clock=friday).expected_interval == 3 * 86400
    assert SchedulerCron("*/15 * * * *").expected_interval == 900


@pytest.fixture
def machine_in(monkeypatch):
    """Puts the machine into a time zone."""
    if not hasattr(time, "tzset"):
        pytest.skip("the zone of this machine cannot be set")

    def put(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield put
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, "Australia/Lord_Howe"])
def test_local_time_follows_daylight_saving_like_the_named_zone(machine_in, zone):
    machine_in(zone)
    start = at("2026-01-01T00:00:00")
    for cron in ("30 2 * * *", "15 * * * *", "0 30 1,2 * * *"):
        local = list(islice(CronExpression(cron, LocalZone(), start).after(start), 400 * 24))
        assert local == list(islice(CronExpression(cron, ZoneInfo(zone), start).after(start), 400 * 24))


def test_local_time_is_the_default(machine_in):
    machine_in("Asia/Tokyo")
    clock = SettledClock(start_ns=at("2026-05-01T00:00:00"))
    scheduler = SchedulerCron("0 12 * * *", clock=clock)
    assert record(scheduler, clock, clock.time_ns, 1) == [at("2026-05-01T12:00:00", "Asia/Tokyo")]
    assert zone_of(None).tzname(datetime(2026, 5, 1)) == "JST"  # noqa: DTZ001


def test_a_time_zone_may_be_an_object():
    plus_two = timezone(timedelta(hours=2))
    start = at("2026-05-01T00:00:00")
    assert next(CronExpression("0 12 * * *", zone_of(plus_two), start).after(start)) == at("2026-05-01T10:00:00")


def test_a_pytz_zone_is_taken_by_its_name():
    class PytzZone(type(timezone.utc).__base__):
        zone = "Europe/Berlin"

    assert zone_of(PytzZone()) == ZoneInfo("Europe/Berlin")


@given(
    minute=st.sampled_from(["*", "0", "*/7", "30,45", "59"]),
    hour=st.sampled_from(["*", "0", "1", "2", "3", "0-4", "*/5"]),
    zone=st.sampled_from([BERLIN, NEW_YORK, "Africa/Cairo", "Australia/Lord_Howe", "Europe/Dublin", "UTC"]),
    start=st.integers(at("2024-01-01T00:00:00") // SECOND_NS, at("2028-01-01T00:00:00") // SECOND_NS),
)
@settings(deadline=None)
def test_cron_instants_always_lie_ahead_and_in_order(minute, hour, zone, start):
    start_ns = start * SECOND_NS
    ticks = list(islice(CronExpression(f"{minute} {hour} * * *", ZoneInfo(zone), start_ns).after(start_ns), 50))
    assert all(earlier < later for earlier, later in pairwise([start_ns, *ticks]))


# --- Overlap


@contextmanager
def scripted(scheduler_of, *steps):
    """A schedule every 10 s whose clock does one step per tick, and then stops it."""
    gate = Gate()
    clock = ScriptedClock()
    scheduler = scheduler_of(clock)
    reasons = []
    scheduler.on_skip = reasons.append
    clock.script = [*(lambda step=step: step(gate, scheduler) for step in steps)]
    scheduler.start(gate)
    yield gate, scheduler, reasons
    assert clock.script == []


def begun(gate, _):
    gate.wait_begun()


def nothing(_, __):
    pass


def finish(runs):
    def step(gate, scheduler):
        gate.let_go(runs)
        assert scheduler.idle.wait(PATIENCE)

    return step


def stop(_, scheduler):
    scheduler.stop()


def begun_then_stop(gate, scheduler):
    gate.wait_begun()
    scheduler.stop()


def interval(**options):
    return lambda clock: SchedulerInterval(10, clock=clock, **options)


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


def test_parallel_runs_side_by_side_within_its_bound():
    steps = [begun, begun, nothing, finish(2), begun_then_stop, finish(1)]
    with scripted(interval(overlap="parallel", max_parallel=2), *steps) as (gate, scheduler, reasons):
        assert (gate.ended, gate.peak) == (3, 2)
        assert scheduler.skipped == {"parallel_full": 2, "missed": 0, "stopped": 0}
        assert reasons == ["parallel_full", "parallel_full"]


def test_the_first_skip_of_a_kind_is_logged(caplog):
    with scripted(interval(), begun, nothing, nothing, stop, finish(1)):
        assert [record.message for record in caplog.records if "skipped" in record.message] == [
            "a scheduled run was skipped (overlap); the next ones stand in `skipped` without a word"
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
