"""What is going on now, for the gauges."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

__all__ = ["Active", "ActiveRuns", "RunsNow"]


class Active:
    """Numbers by key that go up and down, and not below 0. Not safe for threads by itself, as all of this file."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, ...]] = Counter()

    def change(self, key: tuple[str, ...], change: int) -> int:
        """The number after it has changed."""
        number = self._numbers[key] = max(0, self._numbers[key] + change)
        return number


class RunsNow(NamedTuple):
    """The runs of a workflow that are going on: how many, and when the oldest started (s since the epoch; 0: none is)."""

    workflow: str
    number: int
    oldest: float


class ActiveRuns:
    """The runs that are going on. Finds the one that ends also for a caller who tells only its workflow's id."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, object], tuple[str, float]] = {}

    def open(self, workflow_id: str, run_id: str | None, name: str, time: float) -> RunsNow:
        """A run of the workflow called `name` starts."""
        self._runs[workflow_id, run_id or object()] = name, time
        return self._now(name)

    def close(self, workflow_id: str, run_id: str | None, name: str | None) -> RunsNow:
        """A run ends: the one named, else the one of this workflow that started first."""
        of_workflow = (key for key in self._runs if key[0] == workflow_id)
        key = next(of_workflow, None) if run_id is None else (workflow_id, run_id)
        known = self._runs.pop(key, None) if key is not None else None
        return self._now(known[0] if known else name or workflow_id)

    def _now(self, name: str) -> RunsNow:
        times = [time for known, time in self._runs.values() if known == name]
        return RunsNow(name, len(times), min(times, default=0.0))
