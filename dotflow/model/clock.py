"""Where times and ids come from; both are injected, so that tests can make them up."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

__all__ = ["Clock", "IdSource", "RandomIds", "Randomness", "SystemClock", "SystemRandomness"]


# Seconds. A signal that comes just before a thread blocks is seen only when the block ends, so none is longer.
LONGEST_BLOCK = 0.5


class Clock(Protocol):
    """Wall-clock time, monotonic time and waiting."""

    def time_ns(self) -> int:
        """Nanoseconds since the epoch; may jump when the machine's clock is set."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start; never goes backwards. For durations."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set, at most `seconds`. True if it was set."""


class IdSource(Protocol):
    """Where run ids come from."""

    def run_id(self) -> str:
        """32 lower-case hex digits, never all zero: a W3C trace id (https://www.w3.org/TR/trace-context/)."""


class Randomness(Protocol):
    """Where the spread of delays comes from; a `random.Random` is one."""

    def random(self) -> float:
        """A number from 0 up to 1, each as likely as any other."""


class SystemClock:
    """The machine's own clocks."""

    time_ns = staticmethod(time.time_ns)
    # The same clock as time.monotonic_ns on POSIX, and the finer of the two on Windows.
    monotonic_ns = staticmethod(time.perf_counter_ns)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set, at most `seconds`."""
        end = time.monotonic() + seconds
        while not event.wait(max(0.0, min(end - time.monotonic(), LONGEST_BLOCK))):
            if time.monotonic() >= end:
                return False
        return True


class RandomIds:
    """Ids from the operating system's randomness, so a step that seeds `random` cannot repeat them."""

    def run_id(self) -> str:
        """128 random bits as hex; all of them random, so ratio samplers see an even spread."""
        while not any(bits := os.urandom(16)):
            pass
        return bits.hex()


class SystemRandomness:
    """The operating system's randomness: a step that seeds `random` cannot repeat it, nor do two processes forked from one."""

    def random(self) -> float:
        """A number from 0 up to 1, of 53 bits."""
        return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)
