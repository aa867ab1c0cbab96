"""What the schedulers refuse, where it is written."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.providers import SchedulerCron, SchedulerInterval


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "10", None, True, timedelta(1), 10**400])
def test_an_interval_that_is_no_time(seconds):
    with pytest.raises(InvalidOption, match=r"seconds=.*a finite number above 0"):
        SchedulerInterval(seconds)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "10", None])
def test_a_drain_timeout_that_is_no_time(seconds):
    with pytest.raises(InvalidOption, match=r"drain_timeout=.*a finite number not below 0"):
        SchedulerInterval(1, drain_timeout=seconds)


@pytest.mark.parametrize("bound", [0, -1, 1.5, "4", None, True])
@pytest.mark.parametrize("name", ["max_parallel", "max_queued"])
def test_a_bound_that_is_no_number_of_runs(name, bound):
    with pytest.raises(InvalidOption, match=f"{name}=.*whole number above 0"):
        SchedulerInterval(1, **{name: bound})


@pytest.mark.parametrize("overlap", ["wait", "Skip", "", None, []])
@pytest.mark.parametrize("scheduler", [lambda **o: SchedulerInterval(1, **o), lambda **o: SchedulerCron("@", **o)])
def test_an_unknown_overlap(scheduler, overlap):
    with pytest.raises(InvalidChoice, match="'skip', 'queue', 'parallel'"):
        scheduler(overlap=overlap)


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "Wrong number of fields"),
        ("* * * *", "Wrong number of fields"),
        ("* * * * * * *", "Wrong number of fields"),
        ("60 * * * *", "Bad minute"),
        ("* 24 * * *", "Bad hour"),
        ("* * 0 * *", "Bad day-of-month"),
        ("* * * 13 *", "Bad month"),
        ("* * * * FOO", "Bad day-of-week"),
        ("*/0 * * * *", "Bad minute"),
        ("5-1 * * * *", "Bad minute"),
        ("@daily", "Wrong number of fields"),
        ("9" * 5000 + " * * * *", "Exceeds the limit"),
        (None, "is not text"),
        (5, "is not text"),
    ],
)
def test_a_malformed_cron_expression(cron, reason):
    with pytest.raises(InvalidOption, match=reason) as caught:
        SchedulerCron(cron)
    assert repr(cron) in str(caught.value)


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 */20 * MON#5"])
def test_a_cron_expression_that_never_fires(cron):
    with pytest.raises(InvalidOption, match="cron="):
        SchedulerCron(cron)


def test_a_cron_expression_that_fires_every_28_years():
    assert SchedulerCron("0 0 * 2 MON#5", timezone="UTC").expected_interval > 20 * 365 * 86400


@pytest.mark.parametrize("zone", ["Mars/Olympus", "europe/berlin", "Europe", "../etc/passwd", "", "CEST+1", 3])
def test_an_unknown_time_zone(zone):
    with pytest.raises(InvalidOption, match="IANA name such as 'Europe/Berlin'") as caught:
        SchedulerCron("* * * * *", timezone=zone)
    assert repr(zone) in str(caught.value)


def test_a_misspelt_time_zone_is_recognised():
    with pytest.raises(InvalidOption, match="did you mean 'Europe/Berlin'"):
        SchedulerCron("* * * * *", timezone="europe/berlin")
