"""Cron expressions and the time zones they are read in."""

from __future__ import annotations

import difflib
import zoneinfo
from collections import deque
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from dotflow.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CronExpression", "LocalZone", "zone_of"]

_SECOND_NS: Final = 1_000_000_000
_FIELDS: Final = 5
_HOW_TO_WRITE: Final = "Write five fields: minute hour day-of-month month day-of-week, such as '30 2 * * MON-FRI'"


class CronExpression:
    """The instants of a cron expression, in nanoseconds since the epoch.

    cronsim reads the expression and knows the calendar; what a time zone makes of it is decided here. (cronsim's own
    answer lacks half an hour of ticks where daylight saving is half an hour, as in Australia/Lord_Howe.)

    Raises:
        InvalidOption: not a cron expression, or one that does not fire within 50 years after `now_ns`.
    """

    def __init__(self, text: str, zone: tzinfo, now_ns: int) -> None:
        if not isinstance(text, str):
            raise InvalidOption(f"cron={text!r} is not text. {_HOW_TO_WRITE}")
        self._text = text
        self._zone = zone
        fields = text.split()
        # What Debian's cron calls a job at a particular time: https://manpages.debian.org/stable/cron/cron.8, "Notes".
        self._once = len(fields) == _FIELDS and not any(field.startswith("*") for field in fields[:2])
        if self._first(now_ns) is None:
            raise InvalidOption(f"cron={text!r} never fires: no day matches all of its fields")

    def __repr__(self) -> str:
        return f"{self._text!r}, {self._zone}"

    def moment(self, time_ns: int) -> datetime:
        """An instant as the wall clock of the time zone shows it."""
        return datetime.fromtimestamp(time_ns // _SECOND_NS, self._zone)

    def after(self, time_ns: int) -> Iterator[int]:
        """The instants after `time_ns`, in order; without end, unless none comes for 50 years."""
        after = time_ns // _SECOND_NS
        for tick in self._instants(after):
            if tick > after:
                after = tick
                yield tick * _SECOND_NS

    def _instants(self, after: int) -> Iterator[int]:
        """Those after `after`, in seconds, and perhaps some of before."""
        from cronsim import CronSim

        repeated: deque[int] = deque()  # the second pass of an hour that comes twice, until its first pass is over
        for wall in CronSim(self._text, self._wall_before(after)):
            instants = self._instants_of(wall)
            while repeated and (not instants or repeated[0] < instants[0]):
                yield repeated.popleft()
            yield from instants[:1]
            repeated.extend(instants[1:])

    def _wall_before(self, after: int) -> datetime:
        """A time on the wall from which on nothing is left out that comes after `after`."""
        wall = self._wall(after)
        instants = self._passes(wall)
        if instants[0] == after:  # in the first of two passes: the second begins further back on the wall
            wall -= timedelta(seconds=instants[-1] - after)
        return wall

    def _instants_of(self, wall: datetime) -> list[int]:
        """When a time on the wall means a tick: once, but for the hours that daylight saving skips and repeats."""
        instants = self._passes(wall)
        if not self._once:
            return instants
        while not instants:
            wall += timedelta(minutes=1)
            instants = self._passes(wall)
        return instants[:1]

    def _passes(self, wall: datetime) -> list[int]:
        """The instants at which the clock on the wall shows a time: one, none or two."""
        seconds = sorted({round(wall.replace(tzinfo=self._zone, fold=fold).timestamp()) for fold in (0, 1)})
        return [second for second in seconds if self._wall(second) == wall]

    def _wall(self, second: int) -> datetime:
        return datetime.fromtimestamp(second, self._zone).replace(tzinfo=None, fold=0)

    def interval_seconds(self, time_ns: int) -> float:
        """Seconds from tick to tick around `time_ns` or between the two that follow, whichever is longer."""
        first, second = islice(self.after(time_ns), 2)
        before = self._latest(time_ns, second - first)
        return max(second - first, 0 if before is None else first - before) / _SECOND_NS

    def _latest(self, time_ns: int, step_ns: int) -> int | None:
        """The latest tick until `time_ns`, looked for further and further back; None if there is none since 1970."""
        while step_ns < time_ns:
            found = list(takewhile(lambda tick: tick <= time_ns, self.after(time_ns - step_ns)))
            if found:
                return found[-1]
            step_ns *= 2
        return None

    def _first(self, now_ns: int) -> int | None:
        from cronsim import CronSimError

        try:
            return next(self.after(now_ns), None)
        except (CronSimError, ValueError) as error:  # ValueError: a number of thousands of digits
            raise InvalidOption(f"cron={self._text!r} is not a cron expression: {error}. {_HOW_TO_WRITE}") from error


class LocalZone(tzinfo):
    """The machine's own zone with its daylight-saving rules, which `datetime.astimezone()` freezes into an offset."""

    def __repr__(self) -> str:
        return "local time"

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """The offset of the wall-clock time `moment`; its `fold` tells the two hours of a repeated one apart."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Unknown: the operating system tells the whole offset only."""
        del moment
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """The zone's abbreviation at `moment`."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        """The wall-clock time of a UTC time."""
        seconds = moment.replace(tzinfo=timezone.utc).timestamp()
        return datetime.fromtimestamp(seconds).replace(tzinfo=self)  # noqa: DTZ006 - naive: local, with its `fold`


def zone_of(given: str | tzinfo | None) -> tzinfo:
    """The time zone that was meant: an IANA name, a `tzinfo`, or None for the machine's own.

    Raises:
        InvalidOption: no zone has this name.
    """
    if given is None:
        return LocalZone()
    # A pytz zone, used like any other tzinfo, would silently mean the local mean time of the nineteenth century.
    name = getattr(given, "zone", None) or given
    if isinstance(name, str):
        return _named(name)
    if isinstance(name, tzinfo):
        return name
    raise InvalidOption(f"timezone={given!r}: an IANA name such as 'Europe/Berlin', a tzinfo, or None for local time")


def _named(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    # ValueError: not a relative path; OSError: a folder of zones such as "Europe".
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidOption(f"timezone={name!r} is not known: {_zone_hint(name)}") from error


def _zone_hint(name: str) -> str:
    known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    if not known:
        return 'this machine has no time zone data; pip install "tzdata"'
    close = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"; did you mean {known[close[0]]!r}?" if close else ""
    return f"write an IANA name such as 'Europe/Berlin' or 'UTC'{meant}"
