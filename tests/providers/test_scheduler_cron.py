"""SchedulerCron: the times of cron expressions, on a fake clock that goes through years."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotflow.providers import SchedulerCron
from dotflow.providers.schedulers.cron import CronExpression, LocalZone, zone_of
from dotflow.testing.clock import FakeClock
from support.schedules import NOTHING_SKIPPED, SECOND_NS, SettledClock, at, cron_times, record


def test_cron_starts_with_the_next_match_not_at_once():
    times = cron_times("0 12 * * *", "UTC", "2026-05-01T12:00:00", 2)
    assert times == ["2026-05-02T12:00:00+00:00", "2026-05-03T12:00:00+00:00"]


def test_cron_tells_what_comes():
    clock = FakeClock(start_ns=at("2026-03-28T12:00:00", BERLIN))
    scheduler = SchedulerCron("30 2 * * *", timezone=BERLIN, jitter=60, clock=clock)
    assert [moment.isoformat() for moment in scheduler.upcoming(2)] == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert len(scheduler.upcoming()) == 1
    assert clock.waits == []


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


def test_cron_expected_interval_is_the_longer_of_those_around_the_start():
    friday = FakeClock(start_ns=at("2026-05-01T00:00:00"))
    assert SchedulerCron("0 0 * * MON-FRI", timezone="UTC", clock=friday).expected_interval == 3 * 86400
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
