"""When a schedule ticks: on a grid of the monotonic clock, or at wall-clock times."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from dotflow.model.clock import Clock
    from dotflow.providers.schedulers.cron import CronExpression
    from dotflow.providers.schedulers.jitter import Jitter

__all__ = ["CronTicks", "Due", "IntervalTicks", "Ticks"]

_SECOND_NS: Final = 1_000_000_000
_LONGEST_WAIT_NS: Final = 60 * _SECOND_NS  # then the clock is read again: it may have been set meanwhile
_SET_BACK_NS: Final = 3 * 3600 * _SECOND_NS
_MISSED_COUNTED: Final = 10_000


class Due(NamedTuple):
    """Ticks that have come due: how many, and how long ago the last of them did. All but the last were missed."""

    ticks: int
    late_ns: int


class Ticks(Protocol):
    """The ticks of one schedule, from the moment it was started. A tick is due at its time plus its jitter."""

    def take(self) -> Due | None:
        """What has come due since the last call, or None."""

    def left_ns(self) -> int:
        """Nanoseconds until the next tick; below 0 if it is due."""

    def seconds_left(self) -> float:
        """Seconds to wait before `take` is worth calling again: until the next tick, and 60 at most."""

    @property
    def interval_seconds(self) -> float | None:
        """Seconds between two ticks, as far as is known from those that came; without jitter."""


class IntervalTicks:
    """Now, and then every `seconds` on a grid that never drifts, whatever the runs and the waits take."""

    def __init__(self, seconds: float, clock: Clock, jitter: Jitter) -> None:
        self.interval_seconds = seconds
        self._clock = clock
        self._jitter = jitter
        self._start_ns = clock.monotonic_ns()
        self._period_ns = max(1, round(Fraction(seconds) * _SECOND_NS))
        self._number = 0  # of the next tick on the grid
        self._due_ns = self._due_of(0)

    def take(self) -> Due | None:
        """What has come due since the last call."""
        now_ns, first, due_ns = self._clock.monotonic_ns(), self._number, self._due_ns
        if due_ns > now_ns:
            return None
        passed = (now_ns - self._start_ns) // self._period_ns
        self._await(max(passed, first + 1))
        if passed > first and self._due_ns <= now_ns:
            due_ns = self._due_ns
            self._await(passed + 1)
        elif self._number > first + 1:  # held up for longer than a period, and the latest tick is still to come
            due_ns = self._due_of(self._number - 1)
        return Due(self._number - first, now_ns - due_ns)

    def left_ns(self) -> int:
        """Nanoseconds until the next tick."""
        return self._due_ns - self._clock.monotonic_ns()

    def seconds_left(self) -> float:
        """Seconds until the next tick, at most 60."""
        return _wait_seconds(self.left_ns())

    def _await(self, number: int) -> None:
        self._number, self._due_ns = number, self._due_of(number)

    def _due_of(self, number: int) -> int:
        return self._start_ns + number * self._period_ns + self._jitter.delay_ns(self._period_ns)


class CronTicks:
    """The times of a cron expression, against a wall clock that may be set while the schedule runs.

    Set forward: the ticks jumped over are missed, the last of them comes late. Set back: no tick comes twice, unless
    the clock was set back by more than the distance of two ticks or by more than three hours (the rule of Debian's
    cron); then the schedule follows the new time.
    """

    def __init__(self, expression: CronExpression, clock: Clock, jitter: Jitter) -> None:
        self._expression = expression
        self._clock = clock
        self._jitter = jitter
        self.interval_seconds: float | None = None
        self._restart(clock.time_ns())

    def take(self) -> Due | None:
        """What has come due since the last call; counted up to 10 000, for a clock that was years behind."""
        now_ns = self._clock.time_ns()
        self._notification_set_back(now_ns)
        ticks = late_ns = 0
        while self._due_ns <= now_ns:
            ticks += 1
            late_ns = now_ns - self._due_ns
            if ticks == _MISSED_COUNTED:
                self._restart(now_ns)
            else:
                self._advance()
        return Due(ticks, late_ns) if ticks else None

    def left_ns(self) -> int:
        """Nanoseconds until the next tick, as the wall clock goes now."""
        return self._due_ns - self._clock.time_ns()

    def seconds_left(self) -> float:
        """Seconds until the next tick, at most 60."""
        return _wait_seconds(self.left_ns())

    def _restart(self, now_ns: int) -> None:
        self._latest_ns = self._last_ns = now_ns
        self._upcoming = self._expression.after(now_ns)
        self._await(next(self._upcoming))

    def _advance(self) -> None:
        """The tick that was awaited has come: await the next."""
        before_ns, self._last_ns = self._last_ns, self._tick_ns
        self._await(self._next_ns)
        # The longer of the distances before and after a tick: on a Monday nothing is overdue that came last on Friday,
        # nor is it on a Friday that comes next on Monday.
        self.interval_seconds = max(self._last_ns - before_ns, self._tick_ns - self._last_ns) / _SECOND_NS

    def _await(self, tick_ns: int) -> None:
        self._tick_ns, self._next_ns = tick_ns, next(self._upcoming)
        self._due_ns = tick_ns + self._jitter.delay_ns(self._next_ns - tick_ns)

    def _notification_set_back(self, now_ns: int) -> None:
        if self._latest_ns - now_ns > min(_SET_BACK_NS, self._tick_ns - self._last_ns):
            self._restart(now_ns)
        self._latest_ns = max(self._latest_ns, now_ns)


def _wait_seconds(left_ns: int) -> float:
    return max(0, min(left_ns, _LONGEST_WAIT_NS)) / _SECOND_NS
