"""A gauge that somebody else sets."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dotflow_prometheus.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dotflow.names.metrics import Metric

__all__ = ["GaugeSeries", "Level"]


class GaugeSeries:
    """The value that was set last; none until then, so that a scrape in between sees no 0 that nobody measured."""

    __slots__ = ("_metric", "labels", "value")

    def __init__(self, metric: Metric, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.value: float | None = None
        self._metric = metric

    def read(self) -> Iterable[Reading]:
        """The value now, if there is one."""
        value = self.value
        return () if value is None else (Reading(self._metric, self.labels, value),)


class Level:
    """A number that goes up and down by changes, which threads may tell in another order than they happened."""

    __slots__ = ("_lock", "_sum")

    def __init__(self) -> None:
        self._sum = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """The level now; 0 while what was taken is known, and what was put is not yet."""
        return max(0, self._sum)

    def change(self, by: int) -> None:
        """So many more, or less."""
        with self._lock:
            self._sum += by
