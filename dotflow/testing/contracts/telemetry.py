"""What the suites of Tracer, Metrics, Log, Notify and Server share: whatever a run does, they raise nothing."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from dotflow import action
from dotflow.testing.contracts.base import GUARD_SECONDS, P, ProviderContract, check, same, together
from dotflow.testing.contracts.workloads import EXECUTORS, STATUSES, eventful, mended, run_of, strange_tasks

if TYPE_CHECKING:
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["TelemetryContract"]


class TelemetryContract(ProviderContract[P]):
    """Base of the five suites for providers that are told what happens."""

    argument: ClassVar[str]
    """The provider's keyword of `Config`."""

    def check_run(self, provider: P, run: Run) -> None:
        """Yours to override: look at what has arrived of a run that has ended and was flushed."""

    def test_it_follows_a_run_with_every_executor(self) -> None:
        """Inline, in threads, in the background, in worker processes: nothing is raised, nothing lost."""
        for executor, how in EXECUTORS.items():
            with self.provider() as provider, eventful(**{self.argument: provider}) as workflow:
                self._check(provider, run_of(workflow, **how), STATUSES, executor)

    def test_it_follows_one_run_after_another(self) -> None:
        """One provider serves every run of a workflow."""
        with self.provider() as provider, eventful(**{self.argument: provider}) as workflow:
            for number in range(3):
                self._check(provider, run_of(workflow), STATUSES, f"run {number}")

    def test_it_follows_runs_side_by_side(self) -> None:
        """One provider serves several workflows at once, each in a thread of its own."""
        with self.provider() as provider:
            workflows = [eventful(**{self.argument: provider}) for _ in range(4)]
            meet = _meets(len(workflows))
            for workflow in workflows:
                workflow.task.add(step=meet)
            for run in together([lambda each=workflow: run_of(each) for workflow in workflows]):  # type: ignore[misc]
                self._check(provider, run, [*STATUSES, "Completed"], "one of four runs")

    def test_it_follows_a_resumed_run(self) -> None:
        """A task whose result comes from the storage neither starts nor ends."""
        with self.provider() as provider:
            workflow, resume = mended(**{self.argument: provider})
            with workflow:
                self._check(provider, resume(), ["Completed", "Completed"], "the resumed run")

    def test_it_follows_a_cancelled_run(self) -> None:
        """What did not run is not told of, and the run ends all the same."""
        with self.provider() as provider:
            workflow = eventful(**{self.argument: provider})
            workflow.task.clear()
            workflow.task.add(step=_cancels_its_run(workflow))
            workflow.task.add(step=_cancels_its_run(workflow), name="never")
            with workflow:
                run = run_of(workflow)
                same(dict(run.provider_errors), {}, "errors of the provider in a cancelled run")
                same(run.tasks[1].status.value, "Not started", "the task behind the one that cancelled the run")

    def test_after_close_it_harms_no_run(self) -> None:
        """A provider that two workflows share is closed by the first of them. What it then loses is its affair."""
        with self.provider() as provider:
            eventful(**{self.argument: provider}).close()
            with eventful(**{self.argument: provider}) as workflow:
                run = together([lambda: run_of(workflow)])[0]
            same([task.status.value for task in run.tasks], STATUSES, "the tasks of a run after close()")

    def test_it_takes_whatever_comes(self) -> None:
        """Strange names, tasks that never started, ends without a start, starts without an end, everything twice."""
        with self.provider() as provider:
            for task in strange_tasks():
                for _ in range(2):
                    self.tell(provider, task)
            provider.flush(GUARD_SECONDS)

    @abstractmethod
    def tell(self, provider: P, task: Task) -> None:
        """Call every method of the contract, the ends first."""

    def _check(self, provider: P, run: Run, statuses: list[str], where: str) -> None:
        same([task.status.value for task in run.tasks], statuses, f"the tasks {where}")
        same(dict(run.provider_errors), {}, f"errors of the provider, by method, {where}")
        same(dict(run.dropped), {}, f"what the provider has lost {where}")
        check(run.ended.is_set(), f"the run {where} has not ended")
        self.check_run(provider, run)


def _meets(count: int) -> Any:
    """A step that ends when so many runs have come to it: until then all of them have it open."""
    barrier = threading.Barrier(count)

    @action(name="meets")
    def meets() -> None:
        barrier.wait(GUARD_SECONDS)

    return meets


def _cancels_its_run(workflow: Any) -> Any:
    @action(name="cancels")
    def cancels() -> None:
        workflow.task.latest.cancel()

    return cancels
