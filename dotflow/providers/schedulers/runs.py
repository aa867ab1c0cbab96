"""The runs of a schedule: each in a thread of its own, so that the ticking goes on meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from dotflow.errors import InvalidChoice, InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Limits", "Overlap", "Runs", "limits_of"]

Overlap = Literal["skip", "queue", "parallel"]


@dataclass(frozen=True)
class Limits:
    """How many runs may go on and wait at a time, and the reason that is counted for a tick beyond them."""

    running: int
    waiting: int
    reason: str


def limits_of(overlap: str, *, max_parallel: int, max_queued: int) -> Limits:
    """What an overlap policy allows.

    Raises:
        InvalidChoice: no such policy.
        InvalidOption: a bound that is not a whole number above 0.
    """
    _check_bound("max_parallel", max_parallel)
    _check_bound("max_queued", max_queued)
    policies = {
        "skip": Limits(1, 0, "overlap"),
        "queue": Limits(1, max_queued, "queue_full"),
        "parallel": Limits(max_parallel, 0, "parallel_full"),
    }
    if overlap not in get_args(Overlap):
        raise InvalidChoice("overlap", overlap, policies)
    return policies[overlap]


class Runs:
    """Makes runs in daemon threads, within `limits`.

    The threads are daemons because a run that outlives the drain must not keep the program from ending.
    """

    def __init__(self, limits: Limits, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._limits = limits
        self.idle = threading.Event()  # set while nothing runs or waits
        self.idle.set()
        self._lock = threading.Lock()
        self._running = 0
        self._is_stopped = is_stopped  # then what waits is left for `drop_waiting`
        self._waiting: deque[Callable[[], None]] = deque()

    def offer(self, run: Callable[[], None]) -> bool:
        """Call `run` now, or when a run before has ended. False if there is room for neither."""
        with self._lock:
            if self._running == self._limits.running:
                return self._enqueue(run)
            threading.Thread(target=self._work, args=(run,), name="dotflow-scheduled-run", daemon=True).start()
            self._running += 1
            self.idle.clear()
        return True

    def drop_waiting(self) -> int:
        """Forget the runs that wait; what runs is left alone. Returns how many were forgotten."""
        with self._lock:
            dropped = len(self._waiting)
            self._waiting.clear()
        return dropped

    def _enqueue(self, run: Callable[[], None]) -> bool:
        if len(self._waiting) == self._limits.waiting:
            return False
        self._waiting.append(run)
        return True

    def _work(self, run: Callable[[], None] | None) -> None:
        while run is not None:
            run()
            run = self._next()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting and not self._is_stopped():
                return self._waiting.popleft()
            self._running -= 1
            if not self._running:
                self.idle.set()
            return None


def _check_bound(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"{name}={value!r}: how many runs, a whole number above 0")
