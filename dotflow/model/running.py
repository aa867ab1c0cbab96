"""The attempt that runs here: what `record`, `current` and a run inside a step look for."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dotflow.model.outcome import Outcome

__all__ = ["RunningAttempt", "running_attempt"]


class RunningAttempt(Protocol):
    """One execution of a step, while it goes on. `outcome` is its report; `facts` is what `current` makes of its `number`."""

    outcome: Outcome
    number: int
    facts: Any


running_attempt: ContextVar[RunningAttempt | None] = ContextVar("dotflow_attempt", default=None)
"""Set for as long as a step runs, in a `contextvars` context of its own."""
