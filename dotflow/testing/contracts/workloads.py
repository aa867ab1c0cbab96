"""The workflows that the suites run, and where: everything that can happen to a task, with every executor."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from dotflow import Config, DotFlow, action
from dotflow.model.task import Task
from dotflow.providers.defaults import StorageDefault
from dotflow.testing.contracts.base import GUARD_SECONDS
from dotflow.testing.recording import RecordingLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.run import Run

__all__ = ["EXECUTORS", "STATUSES", "eventful", "mended", "run_of", "strange_tasks"]

EXECUTORS: dict[str, dict[str, Any]] = {
    "inline": {"mode": "sequential"},
    "in threads": {"mode": "sequential", "executor": "thread"},
    "in the background": {"mode": "background"},
    "in worker processes": {"mode": "parallel", "max_workers": 2},
}
"""The keywords of `start` for every executor, and for a run in the background."""

STATUSES = ["Completed", "Failed", "Completed"]
"""How the tasks of `eventful` end."""

_STRANGE_NAMES = ["a\nb\tc", 'quo"te\\', "{}%s${x}", "日本語 😀", "x" * 10_000, " x ", "a:b/../c", "\0"]


@action(name="good")
def _good() -> dict[str, object]:
    return {"rows": 3, "when": (1, 2)}


@action(name="bad", retry=2)
def _bad() -> None:
    raise ConnectionError("näh\n'\"{}%s \ud800 " + "x" * 5000)


@action(name="last")
def _last() -> str:
    return "done"


def _config(**providers: Any) -> Config:
    """With a log that says nothing unless it is the one to be tested: these failures are meant, nobody need read of them."""
    return Config(**{"log": RecordingLog(), **providers})


def eventful(**providers: Any) -> DotFlow:
    """A task that ends well, one that fails after a retry, and one more, with these providers."""
    workflow = DotFlow(_config(**providers), name="contract", workflow_id="contract-1")
    workflow.task.add(step=[_good, _bad, _last])
    return workflow


def run_of(workflow: DotFlow, **how: Any) -> Run:
    """A whole run that goes on after failures."""
    return workflow.start(keep_going=True, **how).wait(GUARD_SECONDS)


def mended(**providers: Any) -> tuple[DotFlow, Callable[[], Run]]:
    """A workflow whose first run fails, and what resumes it: its first task is restored, its second ends well."""
    numbers = itertools.count()

    @action(name="bad")
    def bad() -> int:
        if next(numbers) == 0:
            raise ConnectionError("not yet")
        return 1

    workflow = DotFlow(_config(storage=StorageDefault(), **providers), name="contract", workflow_id="contract-2")
    workflow.task.add(step=[_good, bad])
    run_of(workflow)
    return workflow, lambda: run_of(workflow, resume=True)


def strange_tasks() -> list[Task]:
    """Tasks as they come once in a while: never started, ended without a start, with names that nobody would give."""
    never = Task(_good, task_id="never", workflow_id="contract-3")
    strange = DotFlow(_config(), name="日\n" + "y" * 2000, workflow_id="日\n:" + "z" * 2000)
    for name in _STRANGE_NAMES:
        strange.task.add(step=_bad, name=name)
    return [never, *run_of(eventful()).tasks, *run_of(strange).tasks]
