"""The runs in the background of this process, and what Ctrl-C means while there are any."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from dotflow.run import Run

__all__ = ["background"]


class _Background:
    """Ends the runs in the background when the program is interrupted, wherever its main thread is.

    Without it a Ctrl-C would end the main thread only, and the program would wait for the runs in silence. Takes effect
    from the first such run on, where the application has left Python's own SIGINT handler in place.
    """

    def __init__(self) -> None:
        self._runs: set[Run] = set()

    def add(self, run: Run) -> None:
        """A run goes on from now."""
        self._runs.add(run)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self.interrupt)

    def remove(self, run: Run) -> None:
        """It has ended."""
        self._runs.discard(run)

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """The handler of SIGINT."""
        runs = [run for run in self._runs if not run.cancelled.is_set()]
        if runs:
            # In a thread of its own: a signal handler must not take a lock that the interrupted thread may hold.
            threading.Thread(target=_cancel, args=(runs,), name="dotflow-cancel", daemon=True).start()
        # At the end of the program the main thread waits for these runs. The first Ctrl-C lets them end in order.
        if not runs or threading.main_thread().is_alive():
            signal.default_int_handler(signum, frame)


def _cancel(runs: list[Run]) -> None:
    for run in runs:
        run.cancel()


background = _Background()
