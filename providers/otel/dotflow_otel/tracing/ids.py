"""Ids of spans and traces."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections import deque

from opentelemetry.sdk.trace.id_generator import IdGenerator

__all__ = ["RunIdGenerator"]

_SPAN_BYTES = 8
_DRAWN_AT_ONCE = 256


class RunIdGenerator(IdGenerator):
    """Random ids from the operating system, and the run id as the trace id of a run's root span.

    The SDK's own generator draws from the global `random`, so a step that seeds it would repeat span ids.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._drawn: deque[int] = deque()
        _generators.add(self)

    def use_next(self, trace_id: int | None) -> None:
        """Give the next trace that this thread begins this id; None takes it back."""
        self._local.trace_id = trace_id

    def generate_trace_id(self) -> int:
        """128 bits, never 0."""
        chosen: int | None = getattr(self._local, "trace_id", None)
        self._local.trace_id = None
        return chosen or secrets.randbits(128) or 1

    def generate_span_id(self) -> int:
        """64 bits, never 0.

        Drawn in advance: asking the operating system for each would let another thread take over every time.
        """
        try:
            return self._drawn.popleft()
        except IndexError:
            self._draw()
            return secrets.randbits(64) or 1

    def is_trace_id_random(self) -> bool:
        """True: run ids are random in all their bits (https://www.w3.org/TR/trace-context-2/#random-trace-id-flag)."""
        return True

    def forget(self) -> None:
        """Do not use what was drawn in advance."""
        self._drawn.clear()

    def _draw(self) -> None:
        drawn = secrets.token_bytes(_SPAN_BYTES * _DRAWN_AT_ONCE)
        numbers = (int.from_bytes(drawn[at : at + _SPAN_BYTES], "big") for at in range(0, len(drawn), _SPAN_BYTES))
        self._drawn.extend(number for number in numbers if number)


_generators: weakref.WeakSet[RunIdGenerator] = weakref.WeakSet()


def _forget_all() -> None:
    for generator in list(_generators):
        generator.forget()


# Once, because nothing takes it back: a forked child must not repeat its parent's ids.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
