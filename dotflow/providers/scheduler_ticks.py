"""When a schedule ticks: on a grid of the monotonic clock, or at wall-clock times."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from dotflow.clock import Clock
    from dotflow.providers.scheduler_cron import CronExpression

__all__ = ["CronTicks", "IntervalTicks", "Ticks"]

_SECOND_NS: Final = 1_000_000_000
_LONGEST_WAIT_NS: Final = 60 * _SECOND_NS  # then the clock is read again: it may have been set meanwhile
_SET_BACK_NS: Final = 3 * 3600 * _SECOND_NS
_MISSED_COUNTED: Final = 10_000


class Ticks(Protocol):
    """The ticks of one schedule, from the moment it was started."""

    def take(self) -> int:
        """How many ticks have come due since the last call. More than one means that all but the last were missed."""

    def seconds_left(self) -> float:
        """Seconds to wait before `take` is worth calling again: until the next tick, and 60 at most."""


class IntervalTicks:
    """Now, and then every `seconds` on a grid that never drifts, whatever the runs and the waits take."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._start_ns = clock.monotonic_ns()
        self._period_ns = max(1, round(Fraction(seconds) * _SECOND_NS))
        self._next = 0  # number of the next tick on the grid

    def take(self) -> int:
        """How many ticks have come due since the last call."""
        latest = (self._clock.monotonic_ns() - self._start_ns) // self._period_ns
        due = max(0, latest - self._next + 1)
        self._next += due
        return due

    def seconds_left(self) -> float:
        """Seconds until the next tick, at most 60."""
        due_ns = self._start_ns + self._next * self._period_ns
        return _wait_seconds(due_ns - self._clock.monotonic_ns())


class CronTicks:
    """The times of a cron expression, against a wall clock that may be set while the schedule runs.

    Set forward: the ticks jumped over are missed, the last of them comes late. Set back: no tick comes twice, unless
    the clock was set back by more than the distance of two ticks or by more than three hours (the rule of Debian's
    cron); then the schedule follows the new time.
    """

    def __init__(self, expression: CronExpression, clock: Clock) -> None:
        self._expression = expression
        self._clock = clock
        self._restart(clock.time_ns())

    def take(self) -> int:
        """How many ticks have come due since the last call; counted up to 10 000, for a clock that was years behind."""
        now_ns = self._clock.time_ns()
        self._notice_set_back(now_ns)
        due = 0
        while self._due_ns <= now_ns:
            due += 1
            if due == _MISSED_COUNTED:
                self._restart(now_ns)
            else:
                self._advance()
        return due

    def seconds_left(self) -> float:
        """Seconds until the next tick, at most 60."""
        return _wait_seconds(self._due_ns - self._clock.time_ns())

    def _restart(self, now_ns: int) -> None:
        self._latest_ns = self._due_ns = now_ns
        self._upcoming = self._expression.after(now_ns)
        self._advance()

    def _advance(self) -> None:
        self._last_ns, self._due_ns = self._due_ns, next(self._upcoming)

    def _notice_set_back(self, now_ns: int) -> None:
        if self._latest_ns - now_ns > min(_SET_BACK_NS, self._due_ns - self._last_ns):
            self._restart(now_ns)
        self._latest_ns = max(self._latest_ns, now_ns)


def _wait_seconds(left_ns: int) -> float:
    return max(0, min(left_ns, _LONGEST_WAIT_NS)) / _SECOND_NS
