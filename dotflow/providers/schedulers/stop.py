"""How a schedule is ended: by `stop()` from anywhere, or by SIGINT and SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["StopSignals", "StopSwitch", "run_stoppable"]

_DONE: Final = b"\0"  # no signal has the number 0


class StopSwitch:
    """Goes on once and stays on. `wake` is set with it, for those who wait."""

    def __init__(self) -> None:
        self.is_on = False
        self.wake = threading.Event()

    def turn_on(self) -> None:
        """Safe from any thread and more than once, also from a signal handler that interrupts this very call."""
        if not self.is_on:
            self.is_on = True
            self.wake.set()


def run_stoppable(work: Callable[[], None], stop: Callable[[], None]) -> None:
    """Call `work` and return when it has ended; in the main thread, SIGINT and SIGTERM call `stop` meanwhile.

    There `work` runs in a thread of its own and the main thread only listens for signals. It could not do both: a
    signal that arrives just before a lock is waited for is not noticed until that wait is over, and a handler must not
    set an event whose lock the interrupted code may hold.

    Raises:
        BaseException: what `work` raises, and what the handler of before raises for the signal (see `StopSignals`).
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    signals = StopSignals(stop)
    with signals:
        _work_and_listen(work)
    signals.hand_over()


class StopSignals:
    """Within it, the first SIGINT or SIGTERM calls `stop` instead of what it did before. Main thread only.

    With that first signal the handlers of before are back in place, so a second one acts at once. A signal that the
    process ignores (as under `nohup`) stays ignored.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._install(signum)

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


def _work_and_listen(work: Callable[[], None]) -> None:
    outcome: Future[None] = Future()
    with _wakeup_sockets() as (reader, writer):
        arguments = (work, outcome, writer)
        # A daemon, because after a second signal nobody waits for it any more.
        threading.Thread(target=_work, args=arguments, name="dotflow-scheduler", daemon=True).start()
        while _DONE not in reader.recv(64):  # every signal that arrives puts its number there
            pass
    outcome.result()


def _work(work: Callable[[], None], outcome: Future[None], writer: socket.socket) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - raised again in the main thread
        outcome.set_exception(error)
    else:
        outcome.set_result(None)
    finally:
        with contextlib.suppress(OSError):  # closed: nobody listens any more
            writer.send(_DONE)


@contextlib.contextmanager
def _wakeup_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of sockets to which the arrival of a signal is written: https://docs.python.org/3/library/signal.html."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)  # noqa: FBT003 - the name of the argument is not public
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader, writer
        finally:
            signal.set_wakeup_fd(previous)
