"""Several schedules in one program."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from dotflow.errors import InvalidOption
from dotflow.model.clock import LONGEST_BLOCK
from dotflow.options import StartOptions
from dotflow.providers.defaults import SchedulerDefault
from dotflow.providers.schedulers.loop import SchedulerBusy
from dotflow.providers.schedulers.stop import run_stoppable

if TYPE_CHECKING:
    from dotflow.abc import Scheduler

__all__ = ["Schedules"]

_STOP_AGAIN_SECONDS: Final = 0.5  # a scheduler may forget a stop that comes before its start


class _Config(Protocol):
    @property
    def scheduler(self) -> Scheduler: ...


class Workflow(Protocol):
    """What is needed of a `DotFlow`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def config(self) -> _Config:
        """Its providers."""

    def schedule(self, **kwargs: Any) -> None:
        """Hand the workflow to its scheduler. Blocks until that ends."""


class _Entry(NamedTuple):
    workflow: Workflow
    kwargs: dict[str, Any]


class _Ended(NamedTuple):
    error: BaseException | None


class Schedules:
    """Several scheduled workflows in one program, with one end for all.

    Python tells only the main thread of a signal, and `DotFlow.schedule` blocks; so one program that runs two schedules
    needs a thread for each, and somebody who stops them all. This is it:

        schedules = Schedules()
        schedules.add(nightly, mode="parallel")
        schedules.add(hourly, resume=True)
        schedules.start()
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._stopped = False
        # Its `put` is reentrant, so a signal handler may call it: https://docs.python.org/3/library/queue.html
        self._news: queue.SimpleQueue[_Ended | None] = queue.SimpleQueue()

    def add(self, workflow: Workflow, **kwargs: Any) -> None:
        """Add a workflow, with the keywords of `DotFlow.start` for its runs.

        Raises:
            InvalidChoice, InvalidOption, TypeError: a keyword that `start` would refuse.
            InvalidOption: a workflow that has no scheduler.
            SchedulerBusy: it has the same scheduler as another one.
        """
        StartOptions.of("Schedules.add()", kwargs)
        scheduler = workflow.config.scheduler
        if type(scheduler) is SchedulerDefault:
            raise InvalidOption(f"workflow {workflow.name!r} has no scheduler: give it a Config(scheduler=...)")
        if any(scheduler is entry.workflow.config.scheduler for entry in self._entries):
            raise SchedulerBusy
        self._entries.append(_Entry(workflow, kwargs))

    def start(self) -> None:
        """Run all schedules, each in a thread of its own. Blocks until they have ended.

        In the main thread SIGTERM and SIGINT stop all of them; each lets its current runs finish within its own
        `drain_timeout`, side by side. What comes then is as with one schedule: after SIGTERM this returns, after SIGINT it
        raises KeyboardInterrupt, and a second signal acts at once.

        A schedule that is stopped by itself leaves the others alone. One that raises stops the others too.

        Raises:
            InvalidOption: nothing was added.
            KeyboardInterrupt: SIGINT was received.
            BaseException: what the first schedule that failed has raised, such as SystemExit from a step.
        """
        if not self._entries:
            raise InvalidOption("no schedules: add a workflow first")
        run_stoppable(self._run, self.stop)

    def stop(self) -> None:
        """Stop all schedules, for good: a later `start` returns at once. From any thread, also from a signal handler."""
        self._stopped = True
        self._news.put(None)

    def _run(self) -> None:
        if self._stopped:
            return
        for entry in self._entries:
            threading.Thread(
                target=self._schedule, args=(entry,), name=f"dotflow-schedule-{entry.workflow.name}", daemon=True
            ).start()
        errors = [error for error in self._until_all_have_ended() if error is not None]
        if errors:
            raise errors[0]

    def _schedule(self, entry: _Entry) -> None:
        error: BaseException | None = None
        try:
            entry.workflow.schedule(**entry.kwargs)
        except BaseException as raised:  # noqa: BLE001 - raised again by `start`, in the thread that waits for it
            error = raised
        self._news.put(_Ended(error))

    def _until_all_have_ended(self) -> list[BaseException | None]:
        ended: list[BaseException | None] = []
        stopping = False
        while len(ended) < len(self._entries):
            try:
                # Never without a time: a signal that comes just before the main thread blocks is seen only afterwards.
                news = self._news.get(timeout=_STOP_AGAIN_SECONDS if stopping else LONGEST_BLOCK)
            except queue.Empty:
                if not stopping:
                    continue
                news = None
            if news is not None:
                ended.append(news.error)
            if news is None or news.error is not None or stopping:
                stopping = True
                self._stop_all()
        return ended

    def _stop_all(self) -> None:
        for entry in self._entries:
            entry.workflow.config.scheduler.stop()
