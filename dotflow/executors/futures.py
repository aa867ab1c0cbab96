"""Attempts in an executor of the user's own: any `concurrent.futures.Executor`, also that of a Dask cluster."""

from __future__ import annotations

import contextvars
import queue
import time
from concurrent.futures import Executor as AnyExecutor
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dotflow.errors import NotPicklable, WorkerDied
from dotflow.executors.attempt import blank_outcome, run_attempt
from dotflow.executors.payload import Packer, read_report
from dotflow.executors.pool import Pool, is_dask, workers_of
from dotflow.executors.pooled import AGAIN, WOKEN, Out, PooledExecutor, Signal
from dotflow.executors.remote import HOME
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dotflow.abc.provider import Dropped
    from dotflow.executors.attempt import Attempt, Sides
    from dotflow.executors.inner import Surroundings
    from dotflow.model.clock import Clock
    from dotflow.model.outcome import Outcome

__all__ = ["FuturesExecutor", "shares_memory", "workers_of"]


class FuturesExecutor(PooledExecutor["Future[Any] | None"]):
    """Runs attempts in an executor that somebody else has made, and will shut down.

    An attempt that is given up is cancelled if it has not begun; one that runs goes on unseen, and keeps its worker busy.
    As long as it does, one attempt less is handed out. The time of an attempt counts from when it is handed out; in a
    thread pool and on a Dask cluster, from when it really begins. What the executor itself raises instead of a report means that the worker died.
    """

    def __init__(
        self,
        clock: Clock,
        executor: AnyExecutor,
        sides: Sides,
        pickled_sides: bytes,
        workers: int,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(clock)
        self._executor = executor
        self._pool = _pool_of(executor, self.wake)
        self._workers = workers
        self._stuck: set[Future[Any]] = set()
        self._arrivals: queue.SimpleQueue[tuple[Attempt, Future[Any]] | None] = queue.SimpleQueue()
        self._dropped: list[tuple[str, Dropped]] = []
        self._sides = sides
        self._sender = HOME.enter(sides, surroundings)
        self._packer = None if shares_memory(executor) else Packer(pickled_sides, self._sender, surroundings)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """How many attempts it takes at a time: its workers without those that are stuck, but at least one."""
        return max(1, (self._workers or self._pool.size) - sum(not future.done() for future in self._stuck))

    def wake(self) -> None:
        """Make a wait look at what has changed."""
        self._arrivals.put(None)

    def take_dropped(self) -> Sequence[tuple[str, Dropped]]:
        """What workers have lost."""
        found, self._dropped = self._dropped, []
        return found

    def close(self) -> None:
        """Let go of the executor, which is not ours."""
        self._pool.close()
        HOME.leave(self._sender)

    def _hand_out(self, attempt: Attempt) -> Out[Future[Any] | None]:
        out: Out[Future[Any] | None] = Out(attempt, None, self._clock)
        try:
            out.where = self._call_there(attempt, out)
        except NotPicklable as error:
            self._arrivals.put((attempt, _failed(error)))
        except Exception as error:  # noqa: BLE001 - broken or shut down: whatever it raises, this attempt has failed
            self._arrivals.put((attempt, _failed(error)))
        else:
            out.where.add_done_callback(lambda future: self._arrivals.put((attempt, future)))
        return out

    def _call_there(self, attempt: Attempt, out: Out[Future[Any] | None]) -> Future[Any]:
        def watch() -> None:
            out.began = time.monotonic()
            self.wake()

        if self._packer is None:
            attempt.in_thread = True
            context = contextvars.copy_context()
            return self._executor.submit(context.run, self._run_here, attempt, out)
        payload = self._packer.pack(attempt)
        return self._pool.submit(attempt.task_id or attempt.step.name, payload, watch if attempt.timeout else None)

    def _run_here(self, attempt: Attempt, out: Out[Future[Any] | None]) -> Outcome:
        out.began = time.monotonic()
        return run_attempt(attempt, self._clock, self._sides).contained()

    def _receive(self, seconds: float) -> tuple[Attempt, Outcome] | Signal | None:
        self._pool.look()
        try:
            found = self._arrivals.get(timeout=seconds) if seconds > 0 else self._arrivals.get_nowait()
        except queue.Empty:
            return None
        if found is None:
            return WOKEN
        attempt, future = found
        if attempt not in self._out:
            self._stuck.discard(future)
            return AGAIN
        return attempt, self._outcome(attempt, future)

    def _outcome(self, attempt: Attempt, future: Future[Any]) -> Outcome:
        try:
            found = future.result()
            if self._packer is None:
                here: Outcome = found
                return here
            report = read_report(self._pool.read(found), attempt.task_id)
        except NotPicklable as error:
            outcome = blank_outcome(self._clock).fail(error)
            outcome.final = True
            return outcome
        except BaseException as error:  # noqa: BLE001 - also the CancelledError of a cluster that is gone
            return self._out[attempt].lost(self._death(error), TypeResult.FAILURE)
        self._dropped += report.dropped
        return report.outcome

    def _death(self, error: BaseException) -> WorkerDied:
        if isinstance(error, WorkerDied):
            return error.with_traceback(None)
        why = f"{type(error).__name__}: {error}".removesuffix(": ")
        return WorkerDied(f"{type(self._executor).__name__} brought no result of the attempt: {why}")

    def _give_up(self, out: Out[Future[Any] | None]) -> None:
        future = out.where
        if future is None:
            return
        with suppress(Exception):  # an executor of somebody else's
            if not self._pool.give_up(future) and not future.done():
                self._stuck.add(future)
        if out.attempt.loop is not None:
            out.attempt.loop.cancel()


def shares_memory(executor: AnyExecutor) -> bool:
    """Whether its workers are threads of this process, which need nothing pickled. Subinterpreters (3.14) are not."""
    return isinstance(executor, ThreadPoolExecutor) and "Interpreter" not in type(executor).__name__


def _pool_of(executor: AnyExecutor, wake: Callable[[], None]) -> Pool:
    if not is_dask(executor):
        return Pool(executor)
    from dotflow.executors.dask import DaskPool

    return DaskPool(executor, wake)


def _failed(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
