"""What all executors share that run attempts beside the coordinator: what is out, since when, for how long."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from dotflow.errors import AttemptCancelled, AttemptTimeout
from dotflow.executors.attempt import blank_outcome
from dotflow.executors.base import Executor
from dotflow.executors.inner import PATIENCE_SECONDS, inner_runs_of
from dotflow.executors.verdict import judge
from dotflow.model.clock import LONGEST_BLOCK
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    from dotflow.executors.attempt import Attempt
    from dotflow.executors.inner import InnerRuns
    from dotflow.model.clock import Clock
    from dotflow.model.outcome import Outcome

__all__ = ["AGAIN", "WOKEN", "Out", "PooledExecutor", "Signal"]

Where = TypeVar("Where")


class Out(Generic[Where]):
    """An attempt that is out: where, and since when. `began` is monotonic seconds, None until it is known to run."""

    __slots__ = ("_blank", "_sent", "attempt", "began", "where")

    def __init__(self, attempt: Attempt, where: Where, clock: Clock) -> None:
        self.attempt = attempt
        self.where = where
        self.began: float | None = None
        self._sent = time.monotonic()
        self._blank = blank_outcome(clock)

    @property
    def deadline(self) -> float:
        """Monotonic seconds at which its time is over."""
        return math.inf if self.began is None else self.began + self.attempt.timeout

    def lost(self, error: Exception, result: TypeResult, pid: int | None = None) -> Outcome:
        """What is reported of an attempt that will not report itself; `pid` is of the process that had it."""
        outcome = self._blank
        outcome.duration_ns = round((time.monotonic() - (self.began or self._sent)) * 1e9)
        if self.began is not None:
            outcome.started_ns += round((self.began - self._sent) * 1e9)
        outcome.pid = pid or outcome.pid
        outcome.fail(error, result)
        if result is not TypeResult.CANCELLATION:
            judge(outcome, error, self.attempt.step.options)
            outcome.cause = error  # made here, and never raised
        return outcome


class PooledExecutor(Executor, Generic[Where]):
    """Hands attempts out, waits for what comes back, and gives up what takes too long or is cancelled.

    An attempt that was given up has ended when the runs have that its step had started: they are cancelled, and waited for
    (`_lingering`) beside everything else. A subclass says how: `_hand_out`, `_receive`, `_give_up`, and `_back` once an attempt is no longer out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._out: dict[Attempt, Out[Where]] = {}
        self._timed: set[Attempt] = set()
        self._kept: deque[tuple[Attempt, Outcome]] = deque()
        self._lingering: deque[tuple[float, InnerRuns, tuple[Attempt, Outcome]]] = deque()
        self._cancelled = False

    def submit(self, attempt: Attempt) -> None:
        """Hand the attempt out. After `cancel`, when all that was out has come back, others may come."""
        if self._cancelled and not self._out and not self._kept and not self._lingering:
            self._cancelled = False
        self._out[attempt] = self._hand_out(attempt)
        if attempt.timeout:
            self._timed.add(attempt)

    def next(self, timeout: float | None) -> tuple[Attempt, Outcome] | None:
        """What has come back, or had to be given up; None after `timeout` seconds or a wake-up."""
        if self._kept:
            return self._kept.popleft()
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            ended = self._given_up_before()
            if ended is not None:
                return ended
            deadline = min((self._out[attempt].deadline for attempt in self._timed), default=math.inf)
            patience = self._lingering[0][0] if self._lingering else math.inf
            now = time.monotonic()
            wait = 0.0 if self._kept else min(until, deadline, patience) - now
            found = self._receive(max(0.0, min(wait, LONGEST_BLOCK)))
            if isinstance(found, tuple):
                self._forget(found[0])
                if now < deadline and not self._kept:
                    return found
                # One is late, or has just come: it is looked for among all that has arrived, and does not wait for the
                # coordinator to take the rest, of which there is always more.
                self._kept.append(found)
            elif found is None and now >= deadline:
                late = min(self._timed, key=lambda attempt: self._out[attempt].deadline)
                ended = self._end(late, AttemptTimeout(late.timeout), TypeResult.TIMEOUT)
                if ended is not None:
                    return ended
            elif found is not AGAIN and self._kept:
                return self._kept.popleft()
            elif found is WOKEN or (found is None and time.monotonic() >= until):
                return None

    def cancel(self) -> None:
        """Give up everything that is out, and what is still to come."""
        self._cancelled = True
        for out in self._out.values():
            inner_runs_of(out.attempt).give_up(self.wake)
            self._give_up(out)

    def pid_of(self, attempt: Attempt) -> int | None:
        """The process that has an attempt, if that is known and not this one."""
        out = self._out.get(attempt)
        return self._pid_of(out) if out is not None else None

    def _given_up_before(self) -> tuple[Attempt, Outcome] | None:
        """What ends because it was given up earlier, or because everything is."""
        if self._lingering:
            ended = self._has_settled()
            if ended is not None:
                return ended
        while self._cancelled and self._out:
            ended = self._kept.popleft() if self._kept else self._cancel_one()
            if ended is not None:
                return ended
        return None

    def _cancel_one(self) -> tuple[Attempt, Outcome] | None:
        cancelled = AttemptCancelled("the run was cancelled while the step was running; it was given up")
        return self._end(next(iter(self._out)), cancelled, TypeResult.CANCELLATION)

    def _end(self, attempt: Attempt, error: Exception, result: TypeResult) -> tuple[Attempt, Outcome] | None:
        """Give an attempt up. None: it ends when the runs have that its step had started."""
        out = self._out[attempt]
        inner = inner_runs_of(attempt)
        inner.give_up(self.wake)
        self._give_up(out)
        self._forget(attempt)
        ended = attempt, out.lost(error, result, self._pid_of(out))
        if not inner.are_going:
            return ended
        self._lingering.append((time.monotonic() + PATIENCE_SECONDS, inner, ended))
        return None

    def _has_settled(self) -> tuple[Attempt, Outcome] | None:
        """An attempt that was given up, and whose inner runs have ended, or will not in any time that could be waited."""
        for place, (patience, inner, ended) in enumerate(self._lingering):
            if not inner.are_going or time.monotonic() >= patience:
                del self._lingering[place]
                return ended
        return None

    def _forget(self, attempt: Attempt) -> None:
        self._timed.discard(attempt)
        self._back(self._out.pop(attempt))

    @abstractmethod
    def _hand_out(self, attempt: Attempt) -> Out[Where]:
        """Bring the attempt to where it will run."""

    @abstractmethod
    def _receive(self, seconds: float) -> tuple[Attempt, Outcome] | Signal | None:
        """Wait at most so long: an outcome of an attempt that is out, `WOKEN`, `AGAIN` to look anew, or None for nothing."""

    @abstractmethod
    def _give_up(self, out: Out[Where]) -> None:
        """Stop an attempt, if that can be done here. May be called twice for the same."""

    def _back(self, out: Out[Where]) -> None:
        """The attempt is no longer out: its slot is free, unless it was given up."""

    def _pid_of(self, out: Out[Where]) -> int | None:
        """The process that had the attempt, if it is not this one."""
        del out
        return None


class Signal:
    """Why `_receive` returned without an outcome."""


WOKEN = Signal()
AGAIN = Signal()
