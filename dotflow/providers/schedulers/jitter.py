"""A random delay for each tick, so that many programs on one schedule do not all begin in the same second."""

from __future__ import annotations

import random
from typing import Final

from dotflow.errors import InvalidOption

__all__ = ["Jitter"]

_SECOND_NS: Final = 1_000_000_000


class Jitter:
    """Delays from 0 to `seconds`, each as likely as any other.

    The randomness is the operating system's, or `rng`; never that of the module `random`, which a step may seed. So two
    programs that seed alike still do not tick together, and no step sees other numbers because of a schedule.

    Raises:
        InvalidOption: an `rng` that is no `random.Random`.
    """

    def __init__(self, seconds: float = 0.0, rng: random.Random | None = None) -> None:
        if rng is not None and not isinstance(rng, random.Random):
            raise InvalidOption(f"rng={rng!r}: a random.Random of your own, such as random.Random(7), or None")
        self.seconds = seconds
        self._rng = rng or random.SystemRandom()

    def delay_ns(self, room_ns: int) -> int:
        """The delay of one tick, less than the `room_ns` up to the tick that follows: they stay in order."""
        if not self.seconds:
            return 0
        delay = self._rng.uniform(0, min(self.seconds, room_ns / _SECOND_NS))
        return min(round(delay * _SECOND_NS), room_ns - 1)
