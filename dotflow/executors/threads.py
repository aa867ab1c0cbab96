"""Attempts in threads of the coordinator's own process."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from typing import TYPE_CHECKING

from dotflow.executors.attempt import Attempt, Sides, run_attempt
from dotflow.executors.pooled import AGAIN, WOKEN, Out, PooledExecutor

if TYPE_CHECKING:
    import asyncio

    from dotflow.executors.pooled import Signal
    from dotflow.model.clock import Clock
    from dotflow.model.outcome import Outcome

__all__ = ["ThreadExecutor"]

_Arrivals = queue.SimpleQueue["tuple[Attempt, Outcome] | None"]


class ThreadExecutor(PooledExecutor["_Thread"]):
    """Runs attempts in daemon threads, each in a copy of the caller's `contextvars`.

    Python cannot kill a thread: an attempt that is given up goes on unseen in its own, another thread takes over, and
    the end of the program waits for neither. `ends_program`: what ends a program (`sys.exit`) in a step ends the run, as
    it would in line; else it only fails the attempt. With a `loop`, that of `start_async`, coroutines run there.
    """

    def __init__(
        self,
        clock: Clock,
        sides: Sides,
        slots: int,
        *,
        ends_program: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(clock)
        self.slots = slots
        self._sides = sides
        self._ends_program = ends_program
        self._loop = loop
        self._arrivals: _Arrivals = queue.SimpleQueue()
        self._idle: list[_Thread] = []

    def wake(self) -> None:
        """Make a wait look at what has changed."""
        self._arrivals.put(None)

    def close(self) -> None:
        """Let the threads end."""
        while self._idle:
            self._idle.pop().jobs.put(None)

    def _hand_out(self, attempt: Attempt) -> Out[_Thread]:
        attempt.callers_loop = self._loop
        attempt.in_thread = True
        thread = self._idle.pop() if self._idle else _Thread(self._clock, self._sides, self._arrivals)
        out = Out(attempt, thread, self._clock)
        out.began = time.monotonic()
        thread.jobs.put((attempt, contextvars.copy_context()))
        return out

    def _receive(self, seconds: float) -> tuple[Attempt, Outcome] | Signal | None:
        try:
            found = self._arrivals.get(timeout=seconds) if seconds > 0 else self._arrivals.get_nowait()
        except queue.Empty:
            return None
        if found is None:
            return WOKEN
        if found[0] not in self._out:  # it was given up earlier, and has come to its end
            return AGAIN
        return found if self._ends_program else (found[0], found[1].contained())

    def _give_up(self, out: Out[_Thread]) -> None:
        if not out.where.given_up:
            out.where.given_up = True
            out.where.jobs.put(None)
            if out.attempt.loop is not None:
                out.attempt.loop.cancel()

    def _back(self, out: Out[_Thread]) -> None:
        if not out.where.given_up:
            self._idle.append(out.where)


class _Thread:
    """A daemon thread that runs attempts until it is told to end."""

    def __init__(self, clock: Clock, sides: Sides, arrivals: _Arrivals) -> None:
        self.given_up = False
        self.jobs: queue.SimpleQueue[tuple[Attempt, contextvars.Context] | None] = queue.SimpleQueue()
        self._clock = clock
        self._sides = sides
        self._arrivals = arrivals
        threading.Thread(target=self._work, name="dotflow-attempts", daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            attempt, context = job
            self._arrivals.put((attempt, context.run(run_attempt, attempt, self._clock, self._sides)))
            del job, attempt, context  # or the last value would live as long as the thread
