"""What a schedule tells the engine while it runs: how often, how late, what was skipped, and when time is up."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dotflow.abc.hooks import overridden
from dotflow.model.context import at_ns
from dotflow.model.status import TypeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.config import Config
    from dotflow.engine.containment import Containment
    from dotflow.model.run import Run
    from dotflow.options import StartOptions

__all__ = ["Scheduled"]


class Scheduled:
    """The hooks of a workflow's scheduler: they become metrics, and cancel the runs that are given up."""

    def __init__(self, workflow_name: str, config: Config, containment: Containment) -> None:
        self._name = workflow_name
        self._scheduler = config.scheduler
        self._metrics = config.metrics
        self._containment = containment
        self._expected: float | None = None
        self._runs: set[Run] = set()
        self._ended_well = False
        self._clock = config.clock
        self._late = threading.local()  # of the tick that this thread makes a run of

    def open(self) -> None:
        """Set the hooks, and make the series of everything that may be skipped at 0."""
        scheduler = self._scheduler
        self._expected = None
        for reason in scheduler.skipped:
            self._skipped(reason, 0)
        self._expect()
        scheduler.on_skip, scheduler.on_tick, scheduler.on_give_up = self._skipped, self._ticked, self._give_up

    def options(self, given: StartOptions) -> StartOptions:
        """Those of the run for this tick: after one that ended well nothing is left to be continued, and it starts afresh."""
        late_ns, self._late.ns = getattr(self._late, "ns", 0), 0
        options = replace(given, resume=given.resume and not self._ended_well)
        return options.at(at_ns(self._clock.time_ns() - late_ns))

    @contextmanager
    def run(self) -> Iterator[Callable[[Run], None]]:
        """Around one run; to be told of it when it begins."""
        begun: list[Run] = []

        def began(run: Run) -> None:
            begun.append(run)
            self._runs.add(run)

        try:
            yield began
        finally:
            self._runs.difference_update(begun)
            self._look_at(begun)

    def _look_at(self, ended: list[Run]) -> None:
        """A run in which nothing came to an end, as when the storage refused it, leaves what it found."""
        for run in ended:
            if any(task.status is TypeStatus.COMPLETED for task in run.tasks):
                self._ended_well = not run.failed

    def _skipped(self, reason: str, count: int = 1) -> None:
        self._expect()
        self._tell("schedule_skipped", reason, count)

    def _ticked(self, lateness: float) -> None:
        self._late.ns = round(lateness * 1e9)
        self._expect()
        self._tell("schedule_ticked", lateness)

    def _expect(self) -> None:
        """The interval need not be the same all the time: look at it with every tick."""
        seconds = self._scheduler.expected_interval
        if seconds is not None and seconds != self._expected:
            self._expected = seconds
            self._tell("expected_interval", seconds)

    def _give_up(self) -> None:
        for run in self._runs.copy():
            run.cancel()

    def _tell(self, method: str, *arguments: Any) -> None:
        if overridden(self._metrics, method):
            call = getattr(self._metrics, method)
            self._containment.call(None, "metrics", method, lambda: call(self._name, *arguments))
