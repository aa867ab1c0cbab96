"""Which runs are going on."""

from __future__ import annotations

import threading

__all__ = ["ActiveRuns"]


class ActiveRuns:
    """Finds the run that ends, also for a caller who tells no more of it than its workflow's id."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[object, str]] = {}
        self._lock = threading.Lock()

    def open(self, workflow_id: str, run_id: str | None, name: str) -> object:
        """A run of the workflow called `name` starts; returns what tells it from others."""
        key: object = run_id or object()
        with self._lock:
            self._runs.setdefault(workflow_id, {})[key] = name
        return key

    def close(self, workflow_id: str, run_id: str | None) -> tuple[object, str | None]:
        """A run ends: the one named, else the one that started first. Its key, and its workflow's name if known."""
        with self._lock:
            runs = self._runs.get(workflow_id, {})
            key: object = run_id or next(iter(runs), None)
            name = runs.pop(key, None)
            if not runs:
                self._runs.pop(workflow_id, None)
        return key, name
