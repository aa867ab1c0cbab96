"""Notifications on their way to a receiver: sent as they come, and together when it asks for fewer."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from dotflow.abc.provider import Dropped
from dotflow.errors import DotflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dotflow.toolkit.notification import Notification

__all__ = ["Batcher", "NotYet"]

_SIGNAL = "notify"
_SLOW = 1.0  # seconds; a receiver that takes longer gets what comes meanwhile in one message
_SHORTEST_WAIT = 1.0  # seconds; for who says "not now" and "at once" in one, as with a clock that is behind
_LONGEST_WAIT = 3600.0  # seconds; who asks for more is asked again after that


class NotYet(Exception):
    """The receiver took nothing, and wants nothing for `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(wait)
        self.wait = min(max(_SHORTEST_WAIT, wait), _LONGEST_WAIT)


class Batcher:
    """Sends notifications in order; what may not go yet is kept, and goes in one message with what came after it.

    `send(notifications)` sends one message about one or more notifications. It raises `NotYet` if the receiver asks for a pause: then
    nothing goes until that is over (a thread sends it then), so the caller of `post` never waits for it. `gap` is the
    time (s) between two messages that is kept while a run goes on, but not at its end. A receiver that is slow gets a
    gap as long as its latest answer took.

    What `send` raises else is raised by `post` and `flush`, and its notifications are lost; those that no caller hears of are
    in `take_dropped`. At most `capacity` notifications are kept and `batch` of them go in a message.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Notification]], object],
        *,
        gap: float = 0.0,
        batch: int = 30,
        capacity: int = 1000,
    ) -> None:
        self._send = send
        self._gap = gap
        self._batch = batch
        self._capacity = capacity
        self._sending = threading.RLock()  # held while a message is on its way: one at a time, in order
        self._lock = threading.Lock()  # of what stands below; never held while anything waits
        self._kept: deque[Notification] = deque()
        self._not_before = 0.0  # monotonic; the receiver asked for it
        self._rather_not_before = 0.0  # monotonic; a courtesy
        self._timer: threading.Timer | None = None
        self._lost: Counter[str] = Counter()

    def post(self, notification: Notification) -> None:
        """Send a notification, or keep it until it may be sent. Raises what `send` raises."""
        with self._lock:
            full = len(self._kept) >= self._capacity
            if not full:
                self._kept.append(notification)
        if full:
            self._lose(1, f"{self._capacity} notifications wait already")
        self._deliver()

    def flush(self, timeout: float) -> None:
        """Send what is kept within `timeout` seconds; what must wait longer is given up and counted.

        Raises:
            TimeoutError: a message that is on its way still was.
        """
        deadline = _now() + timeout
        if not self._sending.acquire(timeout=timeout):
            self._lose(self._forget(), "the message before them took too long")
            raise TimeoutError(f"a message is still on its way after {timeout:g} s")
        try:
            while self._kept and self._may_send_by(deadline):
                self._send_one()
        except BaseException as error:
            self._lose(self._forget(), _why(error))
            raise
        finally:
            self._sending.release()

    def close(self, timeout: float) -> None:
        """Flush, and let go of the thread that waits."""
        try:
            self.flush(timeout)
        finally:
            self.stop()

    def stop(self) -> None:
        """Let go of the thread that waits, if there is one."""
        with self._lock:
            self._cancel_timer()

    def take_dropped(self) -> list[Dropped]:
        """What was lost since this was last asked, without the errors that were raised."""
        with self._lock:
            lost, self._lost = self._lost, Counter()
        return [Dropped(_SIGNAL, count, why) for why, count in lost.items()]

    def _may_send_by(self, deadline: float) -> bool:
        """Wait until the receiver's pause is over; False, with everything given up, if that is not in time."""
        wait = max(0.0, self._not_before - _now())
        if _now() + wait >= deadline:
            self._lose(self._forget(), f"the receiver asks for {wait:.0f} s more" if wait else "the time is over")
            return False
        time.sleep(wait)
        return True

    def _deliver(self) -> None:
        """Send message after message until nothing is kept or it must wait."""
        with self._sending:
            while self._kept:
                wait = max(self._not_before, self._rather_not_before) - _now()
                if wait > 0:
                    self._wake_in(wait)
                    return
                self._send_one()

    def _send_one(self) -> None:
        with self._lock:
            batch = [self._kept.popleft() for _ in range(min(self._batch, len(self._kept)))]
        if not batch:  # a flush has given it up a moment ago
            return
        begun = _now()
        try:
            self._send(batch)
        except NotYet as later:
            self._not_before = _now() + later.wait
            with self._lock:
                self._kept.extendleft(reversed(batch))
        except BaseException as error:
            self._lose(len(batch) - 1, _why(error))  # the one that is left is counted by whoever catches the error
            raise
        took = _now() - begun
        self._rather_not_before = _now() + max(self._gap, took if took > _SLOW else 0.0)

    def _wake_in(self, wait: float) -> None:
        with self._lock:
            self._cancel_timer()
            self._timer = threading.Timer(wait, self._deliver_later)
            self._timer.name, self._timer.daemon = "dotflow-batching", True
            self._timer.start()

    def _deliver_later(self) -> None:
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001 - nobody is there to catch it: it is counted as lost
            self._lose(1, _why(error))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> int:
        with self._lock:
            count = len(self._kept)
            self._kept.clear()
        return count

    def _lose(self, count: int, why: str) -> None:
        with self._lock:
            if count:
                self._lost[why] += count


def _why(error: BaseException) -> str:
    """The error in words; of one that is not dotflow's own only the type, since its text may hold a secret."""
    return str(error) if isinstance(error, DotflowError) else type(error).__name__


def _now() -> float:
    return time.monotonic()
