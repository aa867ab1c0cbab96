"""Ids of spans and traces."""

from __future__ import annotations

import secrets
import threading

from opentelemetry.sdk.trace.id_generator import IdGenerator

__all__ = ["RunIdGenerator"]


class RunIdGenerator(IdGenerator):
    """Random ids from the operating system, and the run id as the trace id of a run's root span.

    The SDK's own generator draws from the global `random`, so a step that seeds it would repeat span ids.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def use_next(self, trace_id: int | None) -> None:
        """Give the next trace that this thread begins this id; None takes it back."""
        self._local.trace_id = trace_id

    def generate_trace_id(self) -> int:
        """128 bits, never 0."""
        chosen: int | None = getattr(self._local, "trace_id", None)
        self._local.trace_id = None
        return chosen or _nonzero(128)

    def generate_span_id(self) -> int:
        """64 bits, never 0."""
        return _nonzero(64)

    def is_trace_id_random(self) -> bool:
        """True: run ids are random in all their bits (https://www.w3.org/TR/trace-context-2/#random-trace-id-flag)."""
        return True


def _nonzero(bits: int) -> int:
    while not (number := secrets.randbits(bits)):
        pass
    return number
