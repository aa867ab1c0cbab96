"""Ctrl-C between two steps of the bookkeeping, never in the middle of one."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Interrupts"]


class Interrupts:
    """Holds Ctrl-C back while the engine writes its state, and lets it through while the user's code runs.

    Takes effect in the main thread, and only where the application has left Python's own SIGINT handler in place.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.open = False
        self.pending = False
        self._wake = wake
        self._installed = False

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._installed = False

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back, if there is one."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        if self.open:
            raise KeyboardInterrupt
        self.pending = True
        self._wake()
