"""A leap year of ticks, in zones with every kind of daylight saving, against an oracle that knows nothing of our code.

The oracle walks through the year minute by minute, looks at the clock on the wall, and does what Debian's manual says of
cron: https://manpages.debian.org/stable/cron/cron.8 ("Notes") and crontab.5. It shares no code with cronsim either.
"""

from __future__ import annotations

import functools
import re
from datetime import date, datetime, timedelta, timezone
from itertools import product, takewhile
from zoneinfo import ZoneInfo

import pytest

from dotflow.providers import SchedulerCron
from dotflow.providers.schedulers.cron import CronExpression
from support.schedules import NOTHING_SKIPPED, SECOND_NS, SettledClock, record

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIRST = datetime(2028, 1, 1, tzinfo=timezone.utc)
MINUTES = 366 * 24 * 60
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour, in the southern summer
]
FURTHER_ZONES = [
    "America/Havana",  # at midnight: the day begins at one
    "Europe/Dublin",  # "negative" daylight saving, in winter
    "Asia/Kathmandu",  # none, and 45 minutes off the hour
]
AROUND_THE_CHANGE = [
    "30 2 * * *",
    "0,30 1,2,3 * * *",
    "15 0 * * *",
    "*/15 0-3 * * *",
    "0 * * * *",
]
EXPRESSIONS = [
    *AROUND_THE_CHANGE,
    "59 23 * * *",
    "*/10 * * * *",
    "7 */2 * * *",
    "45 1 29 2 *",
    "0 0 1,15 * MON",
    "0 3 */2 * SUN",
    "20 2 1-7 3,4,10,11 0-6",
    "5 4 * * MON-FRI",
    "0 12 31 */3 *",
]


@functools.lru_cache(maxsize=1)
def walls(zone):
    """What the clock on the wall shows in every minute of the year, as days and minutes of the day."""
    tz = ZoneInfo(zone)
    shown = ((FIRST + timedelta(minutes=minute)).astimezone(tz) for minute in range(-24 * 60, MINUTES))
    return [(wall.toordinal(), wall.hour * 60 + wall.minute) for wall in shown]


def values(field, low, high, names=()):
    """The numbers that a field of a crontab means."""
    found = set()
    for part in field.split(","):
        text, _, step = part.partition("/")
        text = re.sub("[A-Z]+", lambda match: str(names.index(match[0])), text)
        first, _, last = (f"{low}-{high}" if text == "*" else text).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Oracle:
    """Which minutes of the year an expression of five fields runs in."""

    def __init__(self, expression):
        minute, hour, day, month, weekday = expression.split()
        self.minutes = {60 * h + m for h in values(hour, 0, 23) for m in values(minute, 0, 59)}
        self.days, self.months = values(day, 1, 31), values(month, 1, 12)
        self.weekdays = {number % 7 for number in values(weekday, 0, 7, DAYS)}
        self.both = day.startswith("*") or weekday.startswith("*")
        self.wildcard = minute.startswith("*") or hour.startswith("*")

    def matches(self, ordinal, minute):
        return minute in self.minutes and self.on(ordinal)

    @functools.lru_cache(maxsize=500)  # noqa: B019 - the oracle lives for one test
    def on(self, ordinal):
        day = date.fromordinal(ordinal)
        found = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (all(found) if self.both else any(found))

    def ticks(self, zone):
        if self.wildcard:
            ticks = [number for number, wall in enumerate(walls(zone)) if self.matches(*wall)]
        else:
            ticks = list(self.at_a_particular_time(zone))
        return [
            round((FIRST - EPOCH).total_seconds()) + 60 * (t - 24 * 60)
            for t in ticks
            if 24 * 60 < t < MINUTES + 24 * 60
        ]

    def at_a_particular_time(self, zone):
        """Soon after a change forwards what was skipped; not again after a change backwards."""
        latest = walls(zone)[0]
        for number, wall in enumerate(walls(zone)):
            if wall > latest:
                if self.matches(*wall) or (wall != after(*latest) and any(self.skipped(latest, wall))):
                    yield number
                latest = wall

    def skipped(self, latest, wall):
        while (latest := after(*latest)) != wall:
            yield self.matches(*latest)


def after(day, minute):
    return (day, minute + 1) if minute < 24 * 60 - 1 else (day + 1, 0)


@pytest.mark.parametrize(
    ("zone", "expression"), [*product(ZONES, EXPRESSIONS), *product(FURTHER_ZONES, AROUND_THE_CHANGE)]
)
def test_the_instants_of_a_leap_year(zone, expression):
    start, end = (round((day - EPOCH).total_seconds()) for day in (FIRST, FIRST + timedelta(minutes=MINUTES)))
    found = CronExpression(expression, ZoneInfo(zone), start * SECOND_NS).after(start * SECOND_NS)
    seconds = [instant // SECOND_NS for instant in takewhile(lambda instant: instant < end * SECOND_NS, found)]
    assert seconds == Oracle(expression).ticks(zone)


@pytest.mark.long
@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("30 2 * * *", "Europe/Berlin"),
        ("0 * * * *", "America/New_York"),
        ("*/20 1,2 * * *", "Australia/Lord_Howe"),
    ],
)
def test_a_scheduler_ticks_through_a_leap_year(expression, zone):
    expected = Oracle(expression).ticks(zone)
    clock = SettledClock(start_ns=round((FIRST - EPOCH).total_seconds()) * SECOND_NS)
    scheduler = SchedulerCron(expression, timezone=zone, clock=clock)
    assert [ns / SECOND_NS for ns in record(scheduler, clock, clock.time_ns, len(expected))] == expected
    assert scheduler.skipped == NOTHING_SKIPPED


def test_the_oracle_sees_what_the_manual_says():
    def on(expression, day):
        ticks = [
            datetime.fromtimestamp(tick, ZoneInfo("Europe/Berlin"))
            for tick in Oracle(expression).ticks("Europe/Berlin")
        ]
        return [tick.strftime("%H:%M%z") for tick in ticks if tick.date() == day]

    forwards, backwards = date(2028, 3, 26), date(2028, 10, 29)
    assert on("30 2 * * *", forwards) == ["03:00+0200"]
    assert on("30 2 * * *", backwards) == ["02:30+0200"]
    assert on("*/30 2 * * *", forwards) == []
    assert on("*/30 2 * * *", backwards) == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]
