"""The runs in the background of this process, and what Ctrl-C and SIGTERM mean while there are any."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from types import FrameType

    from dotflow.model.run import Run

__all__ = ["SignalHandler", "background", "end_by", "exception_of"]

SignalHandler = Union[Callable[[int, "FrameType | None"], Any], int, signal.Handlers, None]  # noqa: UP007 - a string in it

_EXIT_STATUS = 128  # plus the signal's number: what a shell reports of a program that a signal has ended


def exception_of(signum: int) -> BaseException:
    """What a signal is raised as: Ctrl-C as Python does, SIGTERM as the program's exit."""
    return KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(_EXIT_STATUS + signum)


def end_by(signum: int) -> None:
    """End this process as the signal would have done without us. Main thread only."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


class _Background:
    """Ends the runs in the background when the program is interrupted, wherever its main thread is.

    Without it a Ctrl-C would end the main thread only, and the program would wait for the runs in silence. Takes effect
    from the first such run on, where the application has left Python's own SIGINT handler in place.
    """

    def __init__(self) -> None:
        self._runs: set[Run] = set()
        self._pid = os.getpid()

    def add(self, run: Run) -> None:
        """A run goes on from now."""
        self._runs.add(run)
        self.watch()

    def watch(self) -> None:
        """Take the signals over, where this can be done: in the main thread, before a run begins in another."""
        self._pid = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for signum, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(signum) == default:
                    signal.signal(signum, self.interrupt)

    def remove(self, run: Run) -> None:
        """It has ended."""
        self._runs.discard(run)

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """The handler of both signals."""
        del frame
        if signum == signal.SIGTERM and (not self._runs or os.getpid() != self._pid):
            return end_by(signum)  # nothing is lost by it, or this is a forked child
        runs = [run for run in self._runs if not run.cancelled.is_set()]
        if runs:
            # In a thread of its own: a signal handler must not take a lock that the interrupted thread may hold.
            threading.Thread(target=_cancel, args=(runs,), name="dotflow-cancel", daemon=True).start()
        # At the end of the program the main thread waits for these runs. The first Ctrl-C lets them end in order.
        if not runs or threading.main_thread().is_alive():
            raise exception_of(signum)
        return None


def _cancel(runs: list[Run]) -> None:
    for run in runs:
        run.cancel()


background = _Background()
