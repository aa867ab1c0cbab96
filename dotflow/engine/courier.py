"""The background thread for providers that do network I/O."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.engine.contain import Containment
    from dotflow.run import Run

__all__ = ["Courier"]


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    run: Run
    provider: str
    method: str
    deliver: Callable[[], object]


class Courier:
    """Delivers calls in order, one at a time, from one thread with a bounded queue.

    The thread lives while a run is open and ends with the last of them. A call that does not come back is given up
    when its run drains: another thread takes over, and only the provider that hangs loses its calls, until it returns.
    """

    def __init__(self, containment: Containment, capacity: int = 10_000) -> None:
        self._containment = containment
        self._capacity = capacity
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._open_runs = 0
        self._thread: threading.Thread | None = None
        self._current: _Job | None = None
        self._current_since = 0.0
        self._hung: Counter[str] = Counter()

    def open(self) -> None:
        """A run will have calls to deliver."""
        with self._changed:
            self._open_runs += 1

    def put(self, job_run: Run, provider: str, method: str, deliver: Callable[[], object]) -> None:
        """Queue a call; if the queue is full it is dropped and counted."""
        job = _Job(job_run, provider, method, deliver)
        with self._changed:
            full = len(self._jobs) >= self._capacity
            if not full:
                self._jobs.append(job)
                self._ensure_thread()
                self._changed.notify_all()
        if full:
            self._containment.dropped(job.run, provider, 1, f"its queue of {self._capacity} is full")

    def close(self, timeout: float) -> None:
        """A run has ended: wait up to `timeout` seconds until all is delivered; drop and count what is not."""
        deadline = time.monotonic() + timeout
        with self._changed:
            if not self._changed.wait_for(self._is_idle, timeout / 2):
                self._give_up_on_hung(timeout / 2)
                self._changed.wait_for(self._is_idle, max(0.0, deadline - time.monotonic()))
            late = list(self._jobs)
            self._jobs.clear()
            if late:
                # The call still going on has had its time as well: whoever comes next must not wait for it.
                self._give_up_on_hung(0.0)
            self._open_runs -= 1
            self._changed.notify_all()
        self._drop(late, f"not delivered within {timeout:g} s of the end of the run")

    def _is_idle(self) -> bool:
        return not self._jobs and self._current is None

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver_all, name="dotflow-courier", daemon=True)
            self._thread.start()

    def _give_up_on_hung(self, patience: float) -> None:
        """Leave the thread whose call has lasted longer than `patience` seconds behind, and go on in a new one."""
        current = self._current
        if current is None or time.monotonic() - self._current_since < patience:
            return
        self._hung[current.provider] += 1
        self._current = None
        self._thread = None
        if self._jobs:
            self._ensure_thread()

    def _deliver_all(self) -> None:
        me = threading.current_thread()
        while (job := self._take(me)) is not None:
            if self._hung[job.provider]:
                self._drop([job], "an earlier call has not come back")
            else:
                self._containment.call(job.run, job.provider, job.method, job.deliver)
            if not self._done(me, job):
                return

    def _take(self, me: threading.Thread) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._open_runs or self._thread is not me)
            if self._thread is not me:
                return None
            if not self._jobs:
                self._thread = None
                return None
            self._current = self._jobs.popleft()
            self._current_since = time.monotonic()
            return self._current

    def _done(self, me: threading.Thread, job: _Job) -> bool:
        with self._changed:
            if self._thread is not me:
                self._hung[job.provider] -= 1
                return False
            self._current = None
            self._changed.notify_all()
            return True

    def _drop(self, jobs: list[_Job], why: str) -> None:
        for (_, provider), group in _by_run_and_provider(jobs).items():
            self._containment.dropped(group[0].run, provider, len(group), why)


def _by_run_and_provider(jobs: list[_Job]) -> dict[tuple[str, str], list[_Job]]:
    groups: dict[tuple[str, str], list[_Job]] = {}
    for job in jobs:
        groups.setdefault((job.run.run_id, job.provider), []).append(job)
    return groups
