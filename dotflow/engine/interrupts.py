"""Ctrl-C between two steps of the bookkeeping, never in the middle of one."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dotflow.engine.background import background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Interrupts"]

_PATIENCE_SECONDS = 1.0  # of a person whose first Ctrl-C has brought nothing


class Interrupts:
    """Holds Ctrl-C back while the engine writes its state, and lets it through while the user's code runs.

    Takes effect in the main thread, and only where the application has left Python's own SIGINT handler in place, or
    where that of a run around this one is. One that is held back longer than a second lets the next through anywhere,
    so that bookkeeping which hangs can be ended too.

    `wake` is called by the signal handler: it must not take a lock that the main thread may hold.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.open = False
        self.pending = False
        self._pending_since = 0.0
        self._wake = wake
        self._replaced: Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            found = signal.getsignal(signal.SIGINT)
            if callable(found) and (found is signal.default_int_handler or _is_ours(found)):
                self._replaced = found
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._replaced is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._replaced)
        self._replaced = None

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Ctrl-C is raised at once inside, where the user's code runs or nothing is going on."""
        self.open = True
        try:
            yield
        finally:
            self.open = False

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back, if there is one."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        now = time.monotonic()
        if self.open or (self.pending and now - self._pending_since > _PATIENCE_SECONDS):
            raise KeyboardInterrupt
        if not self.pending:
            self.pending, self._pending_since = True, now
        self._wake()


def _is_ours(handler: object) -> bool:
    return handler == background.interrupt or isinstance(getattr(handler, "__self__", None), Interrupts)
