"""Attempts in the coordinator's own thread, one at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dotflow.executors.attempt import run_attempt
from dotflow.executors.base import Executor
from dotflow.executors.inner import inner_runs_of

if TYPE_CHECKING:
    import asyncio

    from dotflow.executors.attempt import Attempt, Sides
    from dotflow.executors.base import InterruptGate
    from dotflow.executors.threads import ThreadExecutor
    from dotflow.model.clock import Clock
    from dotflow.model.outcome import Outcome

__all__ = ["InlineExecutor"]


class InlineExecutor(Executor):
    """Runs an attempt in the calling thread; in a helper thread where it may have to be given up.

    A helper is used for a step with a timeout, for an async step under a running event loop, and always when
    `detached` (so that a run in the background can be cancelled) or when there is a `loop` to be kept free.
    """

    slots = 1

    def __init__(
        self,
        clock: Clock,
        sides: Sides,
        interrupts: InterruptGate,
        *,
        detached: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._clock = clock
        self._sides = sides
        self._interrupts = interrupts
        self._detached = detached or loop is not None
        self._waiting: deque[Attempt] = deque()
        self._loop = loop
        self._helper: ThreadExecutor | None = None
        self._woken = False
        self._here: Attempt | None = None

    def submit(self, attempt: Attempt) -> None:
        """Keep the attempt for the next call of `next`, or lend it to the helper."""
        if self._detached or attempt.timeout or (attempt.step.is_async and _is_under_a_loop()):
            (self._helper or self._make_helper()).submit(attempt)
        else:
            self._waiting.append(attempt)

    def next(self, timeout: float | None) -> tuple[Attempt, Outcome] | None:
        """Run the attempt that was submitted. In the calling thread it takes as long as it takes."""
        if not self._waiting:
            return self._helper.next(timeout) if self._helper is not None else None
        attempt = self._waiting.popleft()
        interrupts = self._interrupts
        interrupts.open = True
        try:
            self._here = attempt
            interrupts.check()  # a Ctrl-C of before it was open would else wait for the end of the step
            return attempt, run_attempt(attempt, self._clock, self._sides)
        finally:
            interrupts.open = False
            self._here = None

    def wake(self) -> None:
        """Make a wait for the helper look at what has changed."""
        self._woken = True  # before looking: whoever makes a helper meanwhile wakes it
        if self._helper is not None:
            self._helper.wake()

    def cancel(self) -> None:
        """Give up the attempt in the helper. One in the calling thread cannot be given up: it is what calls."""
        if self._helper is not None:
            self._helper.cancel()

    def cancel_inner(self) -> None:
        """The attempt in the calling thread goes on, but not the runs that its step has started."""
        attempt = self._here
        if attempt is not None:
            inner_runs_of(attempt).give_up()

    def close(self) -> None:
        """Let the helper end."""
        if self._helper is not None:
            self._helper.close()

    def _make_helper(self) -> ThreadExecutor:
        from dotflow.executors.threads import ThreadExecutor  # here, because most runs need none

        self._helper = helper = ThreadExecutor(self._clock, self._sides, 1, ends_program=True, loop=self._loop)
        if self._woken:
            helper.wake()
        return helper


def _is_under_a_loop() -> bool:
    from dotflow.executors.event_loop import is_running_here

    return is_running_here()
