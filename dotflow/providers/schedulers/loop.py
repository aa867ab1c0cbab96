"""What every ticking scheduler does: wait, start runs, count what was skipped, end gracefully."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from abc import abstractmethod
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dotflow.abc import Scheduler
from dotflow.errors import DotflowError, InvalidOption
from dotflow.model.clock import SystemClock
from dotflow.names import logs
from dotflow.providers.schedulers.runs import Limits, Runs
from dotflow.providers.schedulers.stop import StopSwitch, run_stoppable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.model.clock import Clock
    from dotflow.providers.schedulers.jitter import Jitter
    from dotflow.providers.schedulers.ticks import Due, Ticks

__all__ = ["MISSED", "STOPPED", "SchedulerBusy", "TickingScheduler", "seconds_of"]

MISSED: Final = "missed"
STOPPED: Final = "stopped"

_SECOND_NS: Final = 1_000_000_000
_CANCEL_SECONDS: Final = 5.0  # for a run that was given up: to end as cancelled, and to send what it has buffered
_WORTH_A_LINE_NS: Final = 60 * _SECOND_NS
_BEYOND_CALENDARS_NS: Final = 100 * 366 * 86_400 * _SECOND_NS

_logger = logging.getLogger(logs.LOGGER)


class SchedulerBusy(DotflowError, RuntimeError):
    """A scheduler that was started while it is already running a workflow; each workflow needs one of its own."""

    def __init__(self) -> None:
        super().__init__("this scheduler is running a workflow already: give each workflow a scheduler of its own")


class TickingScheduler(Scheduler):
    """Base of the schedulers that live in this process.

    Attributes:
        idle: set while no run of the latest `start` goes on or waits. To be waited for, never to be set.
        on_skip: called with the reason of every tick that makes no run, in the thread that ticks.
        on_tick: called with the lateness in seconds, before every run and in its thread.
        on_give_up: called when the drain is over and a run still goes on; it then has five seconds more to end.
            Of a hook that raises, the first time is logged.
    """

    def __init__(self, *, limits: Limits, drain_timeout: float, clock: Clock | None, jitter: Jitter) -> None:
        self.idle = threading.Event()
        self.idle.set()
        self._clock: Clock = clock or SystemClock()
        self._limits = limits
        self._jitter = jitter
        self._drain_seconds = min(seconds_of("drain_timeout", drain_timeout), threading.TIMEOUT_MAX)
        self._skipped = dict.fromkeys((limits.reason, MISSED, STOPPED), 0)
        self._busy = threading.Lock()
        self._switch = StopSwitch()
        self._ended = False
        self._failed_hooks: set[str] = set()
        self._fatal: BaseException | None = None

    @property
    @abstractmethod
    def expected_interval(self) -> float:
        """Seconds between two ticks, without jitter."""

    @property
    def skipped(self) -> dict[str, int]:
        """A copy of the counts of ticks that made no run, by reason; every reason there can be is in it from the start.

        `overlap`, `queue_full` or `parallel_full` (by policy): too many runs were going on. `missed`: the process was
        held up past the next tick. `stopped`: still in the queue when the schedule ended.
        """
        return dict(self._skipped)

    def start(self, workflow: Callable[..., Any], **kwargs: Any) -> None:
        """Call `workflow(**kwargs)` in a thread of its own at every tick. Blocks until `stop` and the end of the runs.

        A run that raises an Exception is logged, and the schedule goes on. One that raises SystemExit or
        KeyboardInterrupt means the program: the schedule ends and `start` raises the same.

        In the main thread SIGTERM and SIGINT end the schedule like `stop`: no further tick, and the current run has
        `drain_timeout` seconds to finish. Then the handler of before is called, if there was one. So after SIGTERM
        `start` returns and the program can finish, and after SIGINT (Ctrl-C) it raises KeyboardInterrupt. A second
        signal acts at once, as if there were no schedule.

        When the next run comes is logged on the logger `dotflow`: at INFO if that is a minute or more from now, and the
        first time; else at DEBUG; not at all if it is less than a second.

        Raises:
            SchedulerBusy: it is running already.
            KeyboardInterrupt: SIGINT was received.
        """
        with self._exclusive():
            switch = self._switch
            runs = Runs(self._limits, lambda: switch.is_on)
            run_stoppable(partial(self._schedule, runs, partial(workflow, **kwargs)), self.stop)

    def stop(self) -> None:
        """End `start`: no further tick, and what waits in the queue is dropped. Returns at once.

        May be called from any thread, from within a run, from a signal handler, and more than once. Before the first
        `start` it makes that return without a tick; after the end of a `start` it does nothing.
        """
        self._switch.turn_on()

    def close(self, timeout: float) -> None:
        """Stop; `start` itself waits for the runs."""
        del timeout
        self.stop()

    @abstractmethod
    def _ticks(self) -> Ticks:
        """The ticks from now on."""

    def _moment(self, time_ns: int) -> datetime:
        """An instant as people of this schedule say it."""
        return datetime.fromtimestamp(time_ns // _SECOND_NS, timezone.utc).astimezone()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise SchedulerBusy
        if self._ended:
            self._switch = StopSwitch()
        self._ended = False
        try:
            yield
        finally:
            self._ended = True
            self._busy.release()

    def _schedule(self, runs: Runs, run: Callable[[], object]) -> None:
        self.idle = runs.idle
        try:
            self._tick_until_stopped(runs, run)
        finally:
            self._skip(STOPPED, runs.drop_waiting())
            self._drain(runs)
        self._raise_fatal()

    def _tick_until_stopped(self, runs: Runs, run: Callable[[], object]) -> None:
        switch, ticks = self._switch, self._ticks()
        announced, level = False, logging.INFO
        while not switch.is_on:
            due = ticks.take()
            if due is not None:
                self._offer(runs, run, due)
                announced = False
                continue
            if not announced:
                self._announce(ticks.left_ns(), level)
                announced, level = True, logging.DEBUG
            self._clock.wait(switch.wake, ticks.seconds_left())

    def _offer(self, runs: Runs, run: Callable[[], object], due: Due) -> None:
        # Monotonic from here on: a clock that is set makes no run look late, or early.
        due_ns = self._clock.monotonic_ns() - due.late_ns
        self._skip(MISSED, due.ticks - 1)
        try:
            is_taken = runs.offer(partial(self._run, run, due_ns))
        except RuntimeError as error:  # no thread can be started just now; the next tick may have one
            self._skip(MISSED, 1)
            _logger.warning("%r: a scheduled run could not begin: %s", self, error)
        else:
            self._skip(self._limits.reason, 0 if is_taken else 1)

    def _run(self, run: Callable[[], object], due_ns: int) -> None:
        try:
            self._call_hook("on_tick", max(0, self._clock.monotonic_ns() - due_ns) / _SECOND_NS)
            run()
        except Exception:
            _logger.exception("%r: a scheduled run raised; the schedule goes on", self)
        except BaseException as error:  # noqa: BLE001 - raised again by `start`, in the thread that waits for it
            self._fatal = error
            self.stop()

    def _drain(self, runs: Runs) -> None:
        if not runs.idle.is_set():
            _logger.info("%r stops: the current run has %g s to finish", self, self._drain_seconds)
        if self._clock.wait(runs.idle, self._drain_seconds):
            return
        _logger.warning("%r: a scheduled run was given up: still going %g s after the stop", self, self._drain_seconds)
        if self.on_give_up is not None:
            self._call_hook("on_give_up")
            self._clock.wait(runs.idle, _CANCEL_SECONDS)

    def _raise_fatal(self) -> None:
        fatal, self._fatal = self._fatal, None
        if fatal is not None:
            raise fatal

    def _skip(self, reason: str, ticks: int) -> None:
        if ticks and not self._skipped[reason]:
            _logger.warning(
                "%r: a scheduled run was skipped (%s); the next ones stand in `skipped` without a word", self, reason
            )
        self._skipped[reason] += ticks
        for _ in range(ticks):
            self._call_hook("on_skip", reason)

    def _call_hook(self, name: str, *arguments: object) -> None:
        hook = getattr(self, name)
        try:
            if hook is not None:
                hook(*arguments)
        except Exception:
            if name not in self._failed_hooks:
                _logger.exception("%r: %s raised; the schedule goes on, and more of the same is not told", self, name)
            self._failed_hooks.add(name)

    def _announce(self, left_ns: int, level: int) -> None:
        """Say when the next run comes."""
        level = logging.INFO if left_ns >= _WORTH_A_LINE_NS else level
        if not _SECOND_NS <= left_ns < _BEYOND_CALENDARS_NS or not _logger.isEnabledFor(level):
            return
        moment, wait = self._moment(self._clock.time_ns() + left_ns), timedelta(seconds=round(left_ns / _SECOND_NS))
        _logger.log(level, "%r: next run at %s, in %s", self, moment.isoformat(sep=" "), wait)


def seconds_of(name: str, value: float, *, zero: bool = True) -> float:
    """`value`, checked to be a finite number of seconds: not below 0, and above it unless `zero` may be.

    Raises:
        InvalidOption: it is not.
    """
    bound = "not below 0" if zero else "above 0"
    if not _is_finite(value) or value < 0 or (value == 0 and not zero):
        raise InvalidOption(f"{name}={value!r}: seconds, a finite number {bound}")
    return float(value)


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False
