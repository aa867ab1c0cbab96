"""The background thread for providers that do network I/O."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.engine.containment import Containment
    from dotflow.model.run import Run

__all__ = ["BackgroundQueue"]


_HUNG = "the call has not come back"


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    run: Run
    provider: str
    method: str
    deliver: Callable[[], object]


class BackgroundQueue:
    """Delivers calls in order, one at a time, from one thread with a bounded queue.

    The thread lives while a run is open and ends with the last of them. A call that does not come back is given up
    when its run drains, or when the queue is full after `patience` seconds: another thread takes over, and only the
    provider that hangs loses its calls, until it returns. `on_change` is told how many more, or less, wait.
    """

    def __init__(
        self,
        containment: Containment,
        capacity: int = 10_000,
        patience: float = 5.0,
        on_change: Callable[[int], object] | None = None,
    ) -> None:
        self._containment = containment
        self._patience = patience
        self._capacity = capacity
        self._on_change = on_change
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._left: dict[str, int] = {}  # of each open run, the calls that are queued or going on
        self._thread: threading.Thread | None = None
        self._current: _Job | None = None
        self._current_since = 0.0
        self._hung: Counter[str] = Counter()

    def open(self, run: Run) -> None:
        """A run will have calls to deliver."""
        with self._changed:
            self._left[run.run_id] = 0

    def put(self, run: Run, provider: str, method: str, deliver: Callable[[], object]) -> None:
        """Queue a call; if the queue is full it is dropped and counted."""
        job, hung, purged = _Job(run, provider, method, deliver), list[_Job](), list[_Job]()
        self._count(1)  # before anyone can take it, so that there are never less than none
        with self._changed:
            if len(self._jobs) >= self._capacity:
                hung = self._give_up_on_hung(self._patience)
                purged = self._remove(lambda job: self._hung[job.provider] > 0) if hung else []
            full = len(self._jobs) >= self._capacity
            if not full:
                self._jobs.append(job)
                self._left[run.run_id] += 1
                self._ensure_thread()
                self._changed.notify_all()
        self._count(-len(purged))
        self._drop(hung, _HUNG)
        self._drop(purged, "an earlier call has not come back")
        if full:
            self._count(-1)
            self._drop([job], f"the queue of {self._capacity} is full")

    def close(self, run: Run, timeout: float) -> None:
        """A run has ended: wait up to `timeout` seconds until its calls are delivered; drop and count what is not."""
        deadline = time.monotonic() + timeout
        hung: list[_Job] = []
        with self._changed:
            while self._left[run.run_id] and (now := time.monotonic()) < deadline:
                hung += self._give_up_on_hung(timeout / 2)
                self._changed.wait(min(deadline - now, self._until_hung(timeout / 2)))
            late = self._remove(lambda job: job.run is run)
            if self._current is not None and self._current.run is run:
                # The call still going on has had its time as well: whoever comes next must not wait for it.
                hung += self._give_up_on_hung(0.0)
            del self._left[run.run_id]
            self._changed.notify_all()
        self._count(-len(late))
        self._drop(hung, _HUNG)
        self._drop(late, f"not delivered within {timeout:g} s of the end of the run")

    def is_hung(self, provider: str) -> bool:
        """True if a call of the provider was given up and has not come back yet."""
        return self._hung[provider] > 0

    def _remove(self, unwanted: Callable[[_Job], bool]) -> list[_Job]:
        removed = [job for job in self._jobs if unwanted(job)]
        self._jobs = deque(job for job in self._jobs if not unwanted(job))
        for job in removed:
            self._count_off(job)
        return removed

    def _count_off(self, job: _Job) -> None:
        if job.run.run_id in self._left:
            self._left[job.run.run_id] -= 1

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver_all, name="dotflow-background-queue", daemon=True)
            self._thread.start()

    def _until_hung(self, patience: float) -> float:
        """Seconds until the current call has lasted longer than `patience`."""
        if self._current is None:
            return patience
        return max(0.0, self._current_since + patience - time.monotonic())

    def _give_up_on_hung(self, patience: float) -> list[_Job]:
        """Leave the thread whose call has lasted longer than `patience` seconds behind, and go on in a new one.

        The call, if there is one, is counted as lost by who calls this, though it may come to its end.
        """
        current = self._current
        if current is None or self._until_hung(patience) > 0:
            return []
        self._hung[current.provider] += 1
        self._count_off(current)
        self._current = None
        self._thread = None
        if self._jobs:
            self._ensure_thread()
        return [current]

    def _deliver_all(self) -> None:
        me = threading.current_thread()
        while (job := self._take(me)) is not None:
            self._count(-1)
            if self._hung[job.provider]:
                self._drop([job], "an earlier call has not come back")
            else:
                self._deliver(me, job)
            if not self._done(me, job):
                return

    def _deliver(self, me: threading.Thread, job: _Job) -> None:
        try:
            job.deliver()
        except BaseException as error:  # noqa: BLE001 - in a thread of the engine's own nothing at all leaves
            with self._changed:
                is_counted_already = self._thread is not me
            if not is_counted_already:
                self._containment.caught(job.run, job.provider, job.method, error)

    def _take(self, me: threading.Thread) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._left or self._thread is not me)
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
            self._count_off(job)
            self._changed.notify_all()
            return True

    def _count(self, change: int) -> None:
        """Tell it, never under the lock: who is told may take its time."""
        if self._on_change is not None and change:
            self._on_change(change)

    def _drop(self, jobs: list[_Job], why: str) -> None:
        for (_, provider), group in _by_run_and_provider(jobs).items():
            self._containment.dropped(group[0].run, provider, len(group), why)


def _by_run_and_provider(jobs: list[_Job]) -> dict[tuple[str, str], list[_Job]]:
    groups: dict[tuple[str, str], list[_Job]] = {}
    for job in jobs:
        groups.setdefault((job.run.run_id, job.provider), []).append(job)
    return groups
