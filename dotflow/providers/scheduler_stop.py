"""How a schedule is ended: by `stop()` from anywhere, or by SIGINT and SIGTERM."""

from __future__ import annotations

import _thread
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["StopSignals", "StopSwitch"]


class StopSwitch:
    """Goes on once and stays on. `wake` is set a moment later, for those who wait."""

    def __init__(self) -> None:
        self.is_on = False
        self.wake = threading.Event()
        self.waiter: int | None = None

    def turn_on(self) -> None:
        """Safe from any thread, from a signal handler, and more than once."""
        self.is_on = True
        if threading.get_ident() == self.waiter:
            # A signal handler: it may have interrupted `wake.wait()` just while that holds the event's lock, and
            # would deadlock on it. `_thread`, because `threading.Thread.start` takes locks of its own.
            _thread.start_new_thread(self.wake.set, ())
        else:
            self.wake.set()


class StopSignals:
    """Within it, and only in the main thread, the first SIGINT or SIGTERM calls `stop` instead of what it did before.

    With that first signal the handlers of before are back in place, so a second one acts at once. A signal that the
    process ignores (as under `nohup`) stays ignored.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._install(signum)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def hand_over(self) -> None:
        """Pass the signal that was received, if any, to the handler of before.

        Raises:
            KeyboardInterrupt: the signal was SIGINT, and its handler was Python's own or none.
        """
        if self._received is None:
            return
        previous = self._previous[self._received]
        if callable(previous):
            previous(self._received, None)
        elif self._received == signal.SIGINT:
            raise KeyboardInterrupt

    def _install(self, signum: int) -> None:
        previous = signal.getsignal(signum)
        # None is a handler that was not set by Python, so Python could not put it back.
        if previous not in (None, signal.SIG_IGN):
            self._previous[signum] = previous
            signal.signal(signum, self._handle)

    def _restore(self) -> None:
        for signum, previous in self._previous.items():
            if signal.getsignal(signum) == self._handle:
                signal.signal(signum, previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._received = signum
        self._restore()
        self._stop()
