"""Attempts in the coordinator's own process, one at a time."""

from __future__ import annotations

import contextvars
import math
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from dotflow.clock import LONGEST_BLOCK
from dotflow.engine.attempt import Attempt, blank_outcome, run_attempt
from dotflow.engine.executor import Executor
from dotflow.errors import AttemptCancelled, AttemptTimeout
from dotflow.outcome import ErrorInfo, Outcome
from dotflow.status import TypeResult

if TYPE_CHECKING:
    from dotflow.clock import Clock
    from dotflow.engine.interrupts import Interrupts

__all__ = ["InlineExecutor"]


class InlineExecutor(Executor):
    """Runs an attempt in the calling thread; in a helper thread where it may have to be given up.

    A helper is used for a step with a timeout, for an async step under a running event loop, and always when
    `detached` (so that a run in the background can be cancelled). Python cannot kill a thread: an attempt that is
    given up goes on unseen, and never delays the end of the program.
    """

    slots = 1

    def __init__(self, clock: Clock, interrupts: Interrupts, *, detached: bool = False) -> None:
        self._clock = clock
        self._interrupts = interrupts
        self._detached = detached
        self._waiting: deque[Attempt] = deque()
        self._lent: _Lent | None = None
        self._inbox: queue.SimpleQueue[tuple[Attempt, Outcome] | None] = queue.SimpleQueue()
        self._helper: _Helper | None = None
        self._cancelled = False

    def submit(self, attempt: Attempt) -> None:
        """Keep the attempt for the next call of `next`."""
        self._waiting.append(attempt)

    def next(self, timeout: float | None) -> tuple[Attempt, Outcome] | None:
        """Run the attempt that was submitted. `timeout` does not matter: only its own limits how long it takes."""
        del timeout
        if self._lent is None:
            attempt = self._waiting.popleft()
            if not self._detached and not attempt.timeout and not _is_under_a_loop(attempt):
                return attempt, self._run_here(attempt)
            self._lent = self._lend(attempt)
        return self._await(self._lent)

    def wake(self) -> None:
        """Make a wait for the helper look at what has changed."""
        self._inbox.put(None)

    def cancel(self) -> None:
        """Give up the attempt in the helper. One in the calling thread cannot be given up: it is what calls."""
        if not self._cancelled and self._lent is not None:
            self._give_up(self._lent.attempt)
        self._cancelled = True

    def close(self) -> None:
        """Let the helper end."""
        if self._helper is not None:
            self._helper.jobs.put(None)
            self._helper = None

    def _run_here(self, attempt: Attempt) -> Outcome:
        interrupts = self._interrupts
        interrupts.open = True
        try:
            interrupts.check()  # a Ctrl-C of before it was open would else wait for the end of the step
            return run_attempt(attempt, self._clock)
        finally:
            interrupts.open = False

    def _lend(self, attempt: Attempt) -> _Lent:
        lent = _Lent(attempt, blank_outcome(self._clock))
        self._helper = self._helper or _Helper(self._clock, self._inbox)
        self._helper.jobs.put((attempt, contextvars.copy_context()))
        return lent

    def _await(self, lent: _Lent) -> tuple[Attempt, Outcome] | None:
        """What became of the attempt in the helper; None after a wake-up, to be called again."""
        while not self._cancelled:
            left = lent.seconds_left()
            if left <= 0 and self._inbox.empty():
                self._give_up(lent.attempt)
                return self._end(lent, lent.given_up(AttemptTimeout(lent.attempt.timeout), TypeResult.TIMEOUT))
            try:
                item = self._inbox.get(timeout=max(0.0, min(left, LONGEST_BLOCK)))
            except queue.Empty:
                continue
            if item is None:
                return None
            if item[0] is lent.attempt:  # another one was given up earlier, and has come to its end
                return self._end(lent, item[1])
        cancelled = AttemptCancelled("the run was cancelled while the step was running; it was given up")
        return self._end(lent, lent.given_up(cancelled, TypeResult.CANCELLATION))

    def _end(self, lent: _Lent, outcome: Outcome) -> tuple[Attempt, Outcome]:
        self._lent = None
        return lent.attempt, outcome

    def _give_up(self, attempt: Attempt) -> None:
        self.close()
        if attempt.loop is not None:
            attempt.loop.cancel()


class _Lent:
    """The attempt that the helper has, and since when."""

    def __init__(self, attempt: Attempt, blank: Outcome) -> None:
        self.attempt = attempt
        self._blank = blank
        self._started = time.monotonic()

    def seconds_left(self) -> float:
        """Until its timeout."""
        return self._started + self.attempt.timeout - time.monotonic() if self.attempt.timeout else math.inf

    def given_up(self, error: Exception, result: TypeResult) -> Outcome:
        """What is reported of it when it is not waited for any longer."""
        outcome = self._blank
        outcome.duration_ns = round((time.monotonic() - self._started) * 1e9)
        outcome.error = ErrorInfo.of(error)
        outcome.result = result
        return outcome


class _Helper:
    """A daemon thread that runs attempts until it is told to end."""

    def __init__(self, clock: Clock, inbox: queue.SimpleQueue[tuple[Attempt, Outcome] | None]) -> None:
        self.jobs: queue.SimpleQueue[tuple[Attempt, contextvars.Context] | None] = queue.SimpleQueue()
        self._clock = clock
        self._inbox = inbox
        threading.Thread(target=self._work, name="dotflow-attempts", daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            attempt, context = job
            self._inbox.put((attempt, context.run(run_attempt, attempt, self._clock)))
            del job, attempt, context  # or the last value would live as long as the thread


def _is_under_a_loop(attempt: Attempt) -> bool:
    if not attempt.step.is_async:
        return False
    from dotflow.engine.loop import is_running_here

    return is_running_here()
