"""Schedulers that live in the program: every so many seconds, or by a cron expression."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dotflow.errors import InvalidOption
from dotflow.providers.schedulers.cron import CronExpression, zone_of
from dotflow.providers.schedulers.jitter import Jitter
from dotflow.providers.schedulers.loop import SchedulerBusy, TickingScheduler, seconds_of
from dotflow.providers.schedulers.runs import Overlap, limits_of
from dotflow.providers.schedulers.ticks import CronTicks, IntervalTicks
from dotflow.providers.schedulers.together import Schedules

if TYPE_CHECKING:
    from datetime import datetime, tzinfo
    from random import Random

    from dotflow.model.clock import Clock

__all__ = ["Overlap", "SchedulerBusy", "SchedulerCron", "SchedulerInterval", "Schedules"]


class SchedulerInterval(TickingScheduler):
    """Ticks at the start and then every `seconds`, on a grid of the monotonic clock: start + n * seconds, no drift.

    A tick that comes late, because the process was stopped or starved, still runs. Of several that came due meanwhile
    only the last does, the others are counted as `missed`. (While a machine sleeps, the monotonic clock of Linux and
    macOS stands still: the grid moves on by the length of the sleep, and nothing is missed.)

    Args:
        seconds: from tick to tick; above 0.
        overlap: what happens to a tick while a run is going on. `skip`: nothing; `queue`: it runs after it, at most
            `max_queued` wait; `parallel`: it runs beside it, at most `max_parallel` do.
        jitter: each tick comes up to so many seconds later, at random, so that many programs with one schedule do not
            all begin at once. The schedule does not drift by it, and no tick passes the next one. Below `seconds`.
        clock: where the time comes from and how it is waited for.
        drain_timeout: seconds that the current run may take to finish after the stop; then it is cancelled.
        max_parallel, max_queued: the bounds of `parallel` and of `queue`.
        rng: where the jitter comes from; default: the operating system. For tests: `random.Random(7)`.

    Raises:
        InvalidChoice: an `overlap` that is none of the three.
        InvalidOption: a number that makes no sense.
    """

    def __init__(
        self,
        seconds: float,
        *,
        overlap: Overlap = "skip",
        jitter: float = 0.0,
        clock: Clock | None = None,
        drain_timeout: float = 30.0,
        max_parallel: int = 4,
        max_queued: int = 16,
        rng: Random | None = None,
    ) -> None:
        limits = limits_of(overlap, max_parallel=max_parallel, max_queued=max_queued)
        super().__init__(limits=limits, drain_timeout=drain_timeout, clock=clock, jitter=_jitter(jitter, rng))
        self._seconds = seconds_of("seconds", seconds, zero=False)
        if jitter >= seconds:
            raise InvalidOption(f"jitter={jitter!r}: less than seconds={seconds!r}, or a tick could pass the next one")

    def __repr__(self) -> str:
        return f"SchedulerInterval({self._seconds:g})"

    @property
    def expected_interval(self) -> float:
        """Seconds between two ticks."""
        return self._seconds

    def _ticks(self) -> IntervalTicks:
        return IntervalTicks(self._seconds, self._clock, self._jitter)


class SchedulerCron(TickingScheduler):
    """Ticks at the times of a cron expression, in a time zone. The start itself is not a tick.

    Five fields: minute, hour, day of month, month, day of week; with six, the first is the second. The syntax is that
    of Debian's cron and of https://github.com/cuu508/cronsim. As there, a day must match both day fields if one of
    them begins with `*`, and else either.

    On the days when daylight saving begins and ends, an expression of five fields whose minute and hour are both free
    of a leading `*` (`30 2 * * *`) runs once: a time in the hour that is skipped runs at the end of that hour
    (several such times: one run), a time in the hour that comes twice runs in the first of the two. Any other
    (`0 * * * *`, `*/15 2 * * *`, all of six fields) goes by the clock on the wall: nothing in the hour that is
    skipped, twice in the hour that comes twice.

    A tick that comes late, because the machine slept or its clock was set forward, still runs. Of several that came due
    meanwhile only the last does, the others are counted as `missed`. Ticks of before the start are not made up for.
    A clock set back repeats no tick, unless by more than the distance of two ticks or by more than three hours.

    Args:
        cron: the expression, such as `"30 2 * * MON-FRI"`.
        overlap: what happens to a tick while a run is going on. `skip`: nothing; `queue`: it runs after it, at most
            `max_queued` wait; `parallel`: it runs beside it, at most `max_parallel` do.
        jitter: each tick comes up to so many seconds later, at random, so that many programs with one schedule do not
            all begin at once; always before the next tick.
        timezone: an IANA name such as `"Europe/Berlin"`, a `tzinfo`, or None for the zone of the machine.
        clock: where the time comes from and how it is waited for.
        drain_timeout: seconds that the current run may take to finish after the stop; then it is cancelled.
        max_parallel, max_queued: the bounds of `parallel` and of `queue`.
        rng: where the jitter comes from; default: the operating system. For tests: `random.Random(7)`.

    Raises:
        InvalidChoice: an `overlap` that is none of the three.
        InvalidOption: not a cron expression, one that never fires, an unknown time zone, or a number that makes no
            sense.
    """

    def __init__(
        self,
        cron: str,
        *,
        overlap: Overlap = "skip",
        timezone: str | tzinfo | None = None,
        jitter: float = 0.0,
        clock: Clock | None = None,
        drain_timeout: float = 30.0,
        max_parallel: int = 4,
        max_queued: int = 16,
        rng: Random | None = None,
    ) -> None:
        limits = limits_of(overlap, max_parallel=max_parallel, max_queued=max_queued)
        super().__init__(limits=limits, drain_timeout=drain_timeout, clock=clock, jitter=_jitter(jitter, rng))
        self._expression = CronExpression(cron, zone_of(timezone), self._clock.time_ns())
        self._current: CronTicks | None = None

    def __repr__(self) -> str:
        return f"SchedulerCron({self._expression!r})"

    @property
    def expected_interval(self) -> float:
        """Seconds between two ticks; not the same all the time (`0 9 * * MON-FRI`).

        Between the latest tick and the one before or the one after it, whichever is further away; so nothing looks overdue
        on a Monday morning, nor at the weekend after a restart on Friday. Before the first tick: between the one that this
        program has missed and the next, or between the next two.
        """
        known = self._current.interval_seconds if self._current else None
        return known if known is not None else self._expression.interval_seconds(self._clock.time_ns())

    def upcoming(self, count: int = 1) -> list[datetime]:
        """The next so many ticks from now, without jitter, in the schedule's time zone: to see what an expression means."""
        return [self._moment(tick) for tick in islice(self._expression.after(self._clock.time_ns()), count)]

    def _ticks(self) -> CronTicks:
        self._current = CronTicks(self._expression, self._clock, self._jitter)
        return self._current

    def _moment(self, time_ns: int) -> datetime:
        return self._expression.moment(time_ns)


def _jitter(seconds: float, rng: Random | None) -> Jitter:
    return Jitter(seconds_of("jitter", seconds), rng)
