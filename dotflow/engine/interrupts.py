"""Ctrl-C and SIGTERM between two steps of the bookkeeping, never in the middle of one."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dotflow.engine.background import background, end_by, exception_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from dotflow.engine.background import SignalHandler

__all__ = ["Interrupts"]

_PATIENCE_SECONDS = 1.0  # of a person whose first Ctrl-C has brought nothing
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Holds Ctrl-C back while the engine writes its state, and lets it through while the user's code runs.

    SIGTERM, which would end the program with everything that is buffered, is taken as `sys.exit(143)` for as long as the
    run goes on: the run is ended as cancelled, and flushed.

    Takes effect in the main thread, and only where the application has left Python's own handlers in place, or where those
    of a run around this one are. A signal that is held back longer than a second lets the next through anywhere, so that
    bookkeeping which hangs can be ended too.

    `wake` is called by the signal handler: it must not take a lock that the main thread may hold.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.open = False
        self.pending = False
        self._pid = os.getpid()
        self._signal = signal.SIGINT
        self._pending_since = 0.0
        self._wake = wake
        self._replaced: dict[signal.Signals, SignalHandler] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                found = signal.getsignal(signum)
                if found in (signal.default_int_handler, signal.SIG_DFL) or _is_ours(found):
                    self._replaced[signum] = found
                    signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._replaced.items():
            if signal.getsignal(signum) == self._handle:
                signal.signal(signum, handler)
        self._replaced.clear()

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Ctrl-C is raised at once inside, where the user's code runs or nothing is going on."""
        self.open = True
        try:
            yield
        finally:
            self.open = False

    def check(self) -> None:
        """Raise the interrupt that was held back, if there is one.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM.
        """
        if self.pending:
            self.pending = False
            raise exception_of(self._signal)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if signum == signal.SIGTERM and os.getpid() != self._pid:
            end_by(signum)  # a child that a step has forked
        now = time.monotonic()
        if self.open or (self.pending and now - self._pending_since > _PATIENCE_SECONDS):
            raise exception_of(signum)
        if not self.pending:
            self._signal = signal.Signals(signum)
            self.pending, self._pending_since = True, now
        self._wake()


def _is_ours(handler: object) -> bool:
    return handler == background.interrupt or isinstance(getattr(handler, "__self__", None), Interrupts)
