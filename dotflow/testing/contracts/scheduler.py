"""The suite for a Scheduler."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dotflow.abc.scheduler import Scheduler
from dotflow.model.events import WorkflowEnded
from dotflow.testing.contracts.base import GUARD_SECONDS, ProviderContract, check, fail, same
from dotflow.testing.contracts.workloads import eventful

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SchedulerContract"]


class SchedulerContract(ProviderContract[Scheduler]):
    """What a Scheduler promises. `make_provider` is yours to write: one that ticks soon and often, or by a fake clock.

    `ticks = False` says that it never ticks, as the default does not.
    """

    ticks = True

    def test_every_tick_passes_the_keywords_on(self) -> None:
        """The ones that `start` got, all of them and no others."""
        seen: list[dict[str, Any]] = []
        with self.provider() as provider, self._started(provider, seen.append, mode="sequential", keep_going=True):
            self._wait_for(lambda: len(seen) >= 1)
        for kwargs in seen:
            same(kwargs, {"mode": "sequential", "keep_going": True}, "the keywords of a tick")

    def test_stop_ends_start(self) -> None:
        """From another thread, and more than once."""
        seen: list[dict[str, Any]] = []
        with self.provider() as provider:
            with self._started(provider, seen.append):
                self._wait_for(lambda: len(seen) >= 1)
                provider.stop()
                provider.stop()
            provider.stop()

    def test_a_run_may_stop_its_own_schedule(self) -> None:
        """From the thread of the tick."""
        with self.provider() as provider, self._started(provider, lambda _: provider.stop()) as thread:
            thread.join(GUARD_SECONDS)
            check(not thread.is_alive(), "start() goes on after a tick has called stop()")

    def test_no_tick_follows_the_end_of_start(self) -> None:
        """When `start` has returned, nothing is called any more."""
        seen: list[dict[str, Any]] = []
        with self.provider() as provider:
            with self._started(provider, seen.append):
                self._wait_for(lambda: len(seen) >= 1)
            count, done = len(seen), threading.Event()
            done.wait(0.05)  # a tick that must not come cannot be waited for
            same(len(seen), count, "ticks after start() has returned")

    def test_a_run_that_raises_does_not_end_the_schedule_unseen(self) -> None:
        """Either the next tick comes, or `start` raises what the run has raised."""
        calls: list[int] = []

        def fails(_: object) -> None:
            calls.append(1)
            raise ConnectionError("the run's own")

        with self.provider() as provider:
            raised: list[BaseException] = []
            with self._started(provider, fails, raised=raised):
                self._wait_for(lambda: len(calls) >= self._wanted(2) or raised)

    def test_what_it_says_of_itself_is_usable(self) -> None:
        """An interval above 0 or None; every reason to skip with a count."""
        with self.provider() as provider:
            interval = provider.expected_interval
            check(interval is None or interval > 0, f"expected_interval={interval!r}: seconds above 0, or None")
            for reason, count in provider.skipped.items():
                check(isinstance(reason, str) and count >= 0, f"skipped[{reason!r}]={count!r}: a count for a text")

    def test_every_tick_of_a_workflow_is_a_run(self) -> None:
        """With the trigger `schedule`, and an id of its own."""
        runs: list[Any] = []

        def listen(event: object) -> None:
            if isinstance(event, WorkflowEnded):
                runs.append(event.run)

        with (
            self.provider() as provider,
            eventful(scheduler=provider, listeners=[listen]) as workflow,
            self._in_a_thread(workflow.schedule, provider.stop),
        ):
            self._wait_for(lambda: len(runs) >= 1)
        same({run.trigger for run in runs}, {"schedule"} if self.ticks else set(), "the triggers of the runs")
        same(len({run.run_id for run in runs}), len(runs), "how many different ids the runs have")

    def _wanted(self, ticks: int) -> int:
        return ticks if self.ticks else 0

    def _wait_for(self, condition: Callable[[], object]) -> None:
        if not self.ticks:
            return
        pause = threading.Event()
        for _ in range(round(GUARD_SECONDS / 0.005)):
            if condition():
                return
            pause.wait(0.005)
        fail("the scheduler does not tick")

    @contextmanager
    def _started(
        self,
        provider: Scheduler,
        tick: Callable[[Any], object],
        *,
        raised: list[BaseException] | None = None,
        **kw: Any,
    ) -> Iterator[threading.Thread]:
        """`start` in a thread; stopped at the end of the block, and waited for."""
        errors: list[BaseException] = [] if raised is None else raised

        def start() -> None:
            try:
                provider.start(lambda **kwargs: tick(kwargs), **kw)
            except BaseException as error:  # noqa: BLE001 - looked at below
                errors.append(error)

        with self._in_a_thread(start, provider.stop) as thread:
            yield thread
        check(raised is not None or not errors, f"start() raised {errors!r}")

    @contextmanager
    def _in_a_thread(self, start: Callable[[], None], stop: Callable[[], None]) -> Iterator[threading.Thread]:
        thread = threading.Thread(target=start, daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            stop()
            thread.join(GUARD_SECONDS)
        check(not thread.is_alive(), f"start() has not returned {GUARD_SECONDS:g} s after stop()")
