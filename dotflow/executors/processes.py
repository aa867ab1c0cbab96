"""Attempts in worker processes."""

from __future__ import annotations

import pickle
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from dotflow.errors import NotPicklable, WorkerDied
from dotflow.executors import protocol
from dotflow.executors.attempt import blank_outcome
from dotflow.executors.payload import read_report
from dotflow.executors.pooled import AGAIN, WOKEN, Out, PooledExecutor, Signal
from dotflow.executors.remote import ProviderFailure
from dotflow.executors.verdict import judge
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.abc.provider import Dropped
    from dotflow.executors.attempt import Attempt
    from dotflow.executors.payload import Packer
    from dotflow.executors.workers import Worker, WorkerStock
    from dotflow.model.clock import Clock
    from dotflow.model.outcome import Outcome

__all__ = ["ProcessExecutor"]

_SHARE = 0.95  # of the time to flush, so that what a worker says of its own is not too late


class ProcessExecutor(PooledExecutor["Worker | None"]):
    """Runs attempts in worker processes, one at a time in each; kills the one of an attempt that is given up.

    Workers are started when they are needed, at most `slots` of them, and go back to the `stock` at the end of the run.
    A worker that dies takes only its own attempt along. There are no threads here: the coordinator itself waits for all
    the lines at once.
    """

    def __init__(self, clock: Clock, packer: Packer, slots: int, stock: WorkerStock) -> None:
        super().__init__(clock)
        self.slots = slots
        self._stock = stock
        self._packer = packer
        self._idle: list[Worker] = []
        self._with: dict[Worker, Attempt] = {}
        self._writing: set[Worker] = set()
        self._arrived: deque[tuple[Attempt, Outcome]] = deque()
        self._dropped: list[tuple[str, Dropped]] = []
        self._flushing: set[Worker] = set()
        self._flush_failures: list[tuple[str, str, Exception]] = []
        self._sent_again: set[Attempt] = set()
        self._woken = False
        self._selector = selectors.DefaultSelector()
        self._waker, self._sleeper = socket.socketpair()
        self._waker.settimeout(0)
        self._sleeper.settimeout(0)
        self._selector.register(self._sleeper, selectors.EVENT_READ)

    # --- the seam

    def wake(self) -> None:
        """Make a wait look at what has changed."""
        with suppress(OSError):  # so many wake-ups that no more fit, or the run has ended
            self._waker.send(b"\0")

    @property
    def is_buffering(self) -> bool:
        """Whether a worker has telemetry of its steps to send."""
        return any(worker.is_buffering for worker in self._idle)

    def flush(self, timeout: float) -> None:
        """Have the workers send what their steps have buffered; one that does not answer in time is killed at the end.

        Raises:
            TimeoutError: not all of them have answered.
        """
        deadline = time.monotonic() + _SHARE * timeout
        self._flushing = {worker for worker in self._idle if worker.is_buffering}
        for worker in self._flushing:
            worker.mailbox.send(protocol.FLUSH, pickle.dumps(timeout))
        while self._flushing and (left := deadline - time.monotonic()) > 0:
            self._wait(left)
        if self._flushing:
            raise TimeoutError(f"{len(self._flushing)} workers have not flushed their telemetry within {timeout:g} s")

    def take_failures(self) -> Sequence[tuple[str, str, Exception]]:
        """What providers have raised in workers while they were flushed."""
        found, self._flush_failures = self._flush_failures, []
        return found

    def take_dropped(self) -> Sequence[tuple[str, Dropped]]:
        """What workers have lost."""
        found, self._dropped = self._dropped, []
        return found

    def close(self) -> None:
        """Give the idle workers back, and end the others."""
        for worker in [*self._with, *self._flushing]:
            self._let_go(worker)
            worker.kill()
        for worker in self._idle:
            if worker not in self._flushing:
                self._selector.unregister(worker.mailbox.sock)
                self._stock.give_back(worker)
        self._idle.clear()
        self._with.clear()
        self._selector.close()
        self._waker.close()
        self._sleeper.close()

    # --- attempts

    def _hand_out(self, attempt: Attempt) -> Out[Worker | None]:
        try:
            payload = self._packer.pack(attempt)
            worker = self._idle_worker()
        except NotPicklable as error:
            return self._refused(attempt, error, final=True)
        except Exception as error:  # noqa: BLE001 - no process, no descriptor, no memory: this attempt has failed
            died = WorkerDied(f"no worker process could be started: {type(error).__name__}: {error}")
            return self._refused(attempt, died, final=False)
        self._with[worker] = attempt
        worker.mailbox.send(protocol.RUN, payload)
        if worker.mailbox.has_more_to_send:
            self._watch(worker)
        return Out(attempt, worker, self._clock)

    def _refused(self, attempt: Attempt, error: Exception, *, final: bool) -> Out[Worker | None]:
        outcome = blank_outcome(self._clock).fail(error)
        outcome.final = final
        if not final:
            judge(outcome, error, attempt.step.options)
        self._arrived.append((attempt, outcome))
        return Out(attempt, None, self._clock)

    def _idle_worker(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            self._selector.unregister(worker.mailbox.sock)
            worker.kill()
        worker = self._stock.take()
        self._selector.register(worker.mailbox.sock, selectors.EVENT_READ, worker)
        return worker

    def _receive(self, seconds: float) -> tuple[Attempt, Outcome] | Signal | None:
        came = bool(self._arrived) or self._wait(seconds)
        if not came:
            self._look_after_the_silent()
        while self._arrived:
            found = self._arrived.popleft()
            if found[0] in self._out:
                return found
        if self._woken:
            self._woken = False
            return WOKEN
        return AGAIN if came else None

    def _give_up(self, out: Out[Worker | None]) -> None:
        if out.where is not None and self._with.pop(out.where, None) is not None:
            self._let_go(out.where)
            out.where.kill()

    def _back(self, out: Out[Worker | None]) -> None:
        self._sent_again.discard(out.attempt)

    def _pid_of(self, out: Out[Worker | None]) -> int | None:
        return out.where.pid if out.where is not None else None

    # --- lines

    def _wait(self, seconds: float) -> bool:
        """Serve what comes over the lines within `seconds`; whether anything did."""
        found = self._selector.select(seconds)
        for key, _ in found:
            if key.data is None:
                self._woken = True
                with suppress(BlockingIOError):
                    while self._sleeper.recv(4096):
                        pass
            else:
                self._serve(key.data)
        return bool(found)

    def _serve(self, worker: Worker) -> None:
        if worker in self._writing:
            worker.mailbox.send_more()
            self._watch(worker)
        for kind, payload in worker.mailbox.messages():
            if kind == protocol.DONE:
                self._done(worker, payload)
            elif kind == protocol.BEGUN:
                self._out[self._with[worker]].began = time.monotonic()
            else:
                self._flushed(worker, payload)
        if worker.mailbox.is_gone:
            self._died(worker)

    def _watch(self, worker: Worker) -> None:
        """Look out for room to write as long as there is something to be written."""
        more = worker.mailbox.has_more_to_send
        events = selectors.EVENT_READ | selectors.EVENT_WRITE if more else selectors.EVENT_READ
        self._selector.modify(worker.mailbox.sock, events, worker)
        (self._writing.add if more else self._writing.discard)(worker)

    def _done(self, worker: Worker, payload: bytes) -> None:
        attempt = self._with.pop(worker)
        self._idle.append(worker)
        try:
            report = read_report(payload, attempt.task_id)
        except Exception as error:  # noqa: BLE001 - a step that has written to our line, or broken our own classes
            outcome = self._out[attempt].lost(WorkerDied(f"what came back is no report: {error}"), TypeResult.FAILURE)
            self._arrived.append((attempt, outcome))
            return
        worker.is_buffering = report.is_buffering
        self._dropped += report.dropped
        self._arrived.append((attempt, report.outcome))

    def _flushed(self, worker: Worker, payload: bytes) -> None:
        failures, dropped = pickle.loads(payload)  # noqa: S301 - from our own worker
        self._flushing.discard(worker)
        worker.is_buffering = False
        self._dropped += dropped
        self._flush_failures += [(who, method, ProviderFailure(kind, text)) for who, method, kind, text in failures]

    def _died(self, worker: Worker) -> None:
        self._let_go(worker)
        self._flushing.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        attempt = self._with.pop(worker, None)
        error = worker.epitaph()
        if attempt is None:
            return
        if worker.mailbox.was_unread and attempt not in self._sent_again:
            # It has not begun. Once only, as a payload may be what kills those who read it.
            self._sent_again.add(attempt)
            self._out[attempt] = self._hand_out(attempt)
        else:
            self._arrived.append((attempt, self._out[attempt].lost(error, TypeResult.FAILURE, worker.pid)))

    def _let_go(self, worker: Worker) -> None:
        self._writing.discard(worker)
        with suppress(KeyError, ValueError):
            self._selector.unregister(worker.mailbox.sock)

    def _look_after_the_silent(self) -> None:
        """A worker may be gone while a process that its step has forked keeps its line open."""
        for worker in list(self._with):
            if not worker.is_alive:
                self._serve(worker)  # what it had still sent
                if worker in self._with:
                    self._died(worker)
