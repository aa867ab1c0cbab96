"""Times and ids that can be foreseen."""

from __future__ import annotations

import itertools
import threading
from typing import Protocol

__all__ = ["FakeClock", "ScheduleClock", "SequentialIds"]

_PATIENCE = 60  # seconds
_OF_A_RUN = "dotflow-scheduled-run"  # the thread of one
_START_NS = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z


class FakeClock:
    """A clock that moves only when it is told to: by `advance`, by a wait, or by `tick_seconds` at every reading.

    A wait takes no time at all: the clock jumps over it, and its length is kept in `waits` (seconds). Safe to read
    from several threads.
    """

    def __init__(self, start_ns: int = _START_NS, tick_seconds: float = 0.0) -> None:
        self._now_ns = start_ns
        self._start_ns = start_ns
        self._tick_ns = round(tick_seconds * 1e9)
        self._lock = threading.Lock()
        self.waits: list[float] = []

    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._read()

    def monotonic_ns(self) -> int:
        """Nanoseconds since this clock was made."""
        return self._read() - self._start_ns

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Jump `seconds` ahead, unless `event` is set already. Returns at once, True if it was set."""
        if event.is_set():
            return True
        self.waits.append(seconds)
        self.advance(seconds)
        return False

    def advance(self, seconds: float) -> None:
        """Move the clock `seconds` ahead."""
        with self._lock:
            self._now_ns += round(seconds * 1e9)

    def _read(self) -> int:
        with self._lock:
            self._now_ns += self._tick_ns
            return self._now_ns


class ScheduleClock(FakeClock):
    """A clock for a scheduler of dotflow's, which jumps from tick to tick: a year of a schedule takes a moment.

    It does not jump while a run goes on, so a run takes no time and every tick finds the one before ended. It has to know the
    scheduler: `clock.scheduler = scheduler = SchedulerCron("0 3 * * *", timezone="UTC", clock=clock)`. A run that calls
    `scheduler.stop()` ends the schedule.
    """

    scheduler: _Idling | None = None
    """Whose runs are waited for, at most a minute each."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Jump `seconds` ahead, once no run goes on, unless `event` is set by then. In the thread of a run, at once."""
        is_of_a_run = threading.current_thread().name == _OF_A_RUN
        if self.scheduler is not None and not is_of_a_run and not self.scheduler.idle.wait(_PATIENCE):
            raise TimeoutError(f"a scheduled run still goes on after {_PATIENCE} s")
        return super().wait(event, seconds)


class _Idling(Protocol):
    idle: threading.Event


class SequentialIds:
    """Run ids 1, 2, 3, … as 32 hex digits."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def run_id(self) -> str:
        """The next id."""
        return f"{next(self._numbers):032x}"
