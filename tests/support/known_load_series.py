"""What the load of `known_load` comes to: every series of the table `dotflow.names.metrics`, in each of its phases."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from dotflow.names import metrics as names
from support import known_load as load

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.names.metrics import Metric
    from support.known_load import Phase

Labels = frozenset  # of pairs of a label and its value

SICK, ALL = load.SICK_RUNS, load.SICK_RUNS + load.HEALTHY_RUNS


@dataclass(frozen=True, eq=False)
class Between:
    """Stands for a number that is known by its bounds only."""

    low: float
    high: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and self.low <= other <= self.high

    __hash__ = None


@dataclass(frozen=True)
class Task:
    """A task, in all runs of its workflow."""

    completed: int = 0
    failed: int = 0
    retried: int = 0
    restored: int = 0
    skipped: int = 0
    active: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    recorded: dict[str, int] = field(default_factory=dict)
    failures_take: float = 0.0  # seconds at least, all together

    @property
    def started(self) -> int:
        return self.completed + self.failed + self.active


@dataclass(frozen=True)
class Workflow:
    """A workflow, in all its runs."""

    tasks: dict[str, Task]
    completed: int = 0
    failed: int = 0
    active: int = 0
    last_run_success: int = 0

    @property
    def started(self) -> int:
        return self.completed + self.failed + self.active


# --- the load in numbers

GOOD = Task(completed=ALL, recorded={"rows_loaded": load.RECORDED})
GOOD_ONCE = Task(completed=1, recorded={"rows_loaded": load.RECORDED})
FLAKY = Task(completed=ALL, retried=2 * SICK, errors={"ConnectionError": 2 * SICK})
BAD = Task(completed=1, failed=SICK, retried=SICK, errors={"ValueError": 2 * SICK})
BAD_ONCE = Task(completed=1, failed=1, retried=1, errors={"ValueError": 2})
SLOW = Task(completed=1, failed=SICK, errors={"AttemptTimeout": SICK}, failures_take=SICK * load.TIMEOUT)
KILLED = Task(completed=1, failed=SICK, retried=SICK, errors={"WorkerDied": 2 * SICK})


def _loaded(way: str) -> Workflow:
    tasks = {"good": GOOD, "flaky": FLAKY, "bad": BAD, "slow": SLOW}
    if way in load.IN_WORKERS:
        tasks["killed"] = KILLED
    return Workflow(tasks, completed=load.HEALTHY_RUNS, failed=SICK, last_run_success=1)


LOADED = {
    **{way: _loaded(way) for way in load.WAYS},
    "resumed": Workflow(
        {"good": Task(completed=1, restored=1, recorded=GOOD_ONCE.recorded), "bad": BAD_ONCE},
        completed=1,
        failed=1,
        last_run_success=1,
    ),
    "unheard": Workflow({"good": GOOD_ONCE}, completed=1, last_run_success=1),
    "lost": Workflow({"good": GOOD_ONCE}, completed=1, last_run_success=1),
    "scheduled": Workflow({"tick": Task(completed=load.TICKS)}, completed=load.TICKS, last_run_success=1),
    "held": Workflow({"hold": Task(active=1)}, active=1),
}
DECLARED = {name: Workflow({task: Task() for task in workflow.tasks}) for name, workflow in LOADED.items()}
RELEASED = {**LOADED, "held": Workflow({"hold": Task(completed=1)}, completed=1, last_run_success=1)}

PHASES = {"declared": DECLARED, "loaded": LOADED, "released": RELEASED}


# --- the same as series


class Expected:
    """The value of every series in one phase; of a histogram, its count. `began` is the Unix time of the first phase."""

    def __init__(self, phase: Phase, began: float) -> None:
        self.phase = phase.name
        self.workflows = PHASES[phase.name]
        self.skipped: dict[str, int] = phase.facts.get("skipped", {})
        self.during = Between(began, phase.time)

    def __getitem__(self, metric: Metric) -> dict[Labels, object]:
        found = SERIES[metric](self)
        assert all({label for label, _ in labels} == set(metric.labels) for labels in found), (metric, found)
        return found

    def has(self, *phases: str) -> bool:
        return self.phase in phases

    def by_workflow(self, value: Callable[[Workflow], object], **more: str) -> dict[Labels, object]:
        return {labels_of(workflow=name, **more): value(workflow) for name, workflow in self.workflows.items()}

    def by_task(self, value: Callable[[Task], object], **more: str) -> dict[Labels, object]:
        return {
            labels_of(workflow=name, task=task, **more): value(found)
            for name, workflow in self.workflows.items()
            for task, found in workflow.tasks.items()
        }

    def by_task_and(self, label: str, values: Callable[[Task], dict[str, int]]) -> dict[Labels, object]:
        return {
            labels_of(workflow=name, task=task, **{label: each}): value
            for name, workflow in self.workflows.items()
            for task, found in workflow.tasks.items()
            for each, value in values(found).items()
        }


def labels_of(**labels: str) -> Labels:
    return frozenset(labels.items())


def _by_status(by: Callable[..., dict[Labels, object]]) -> dict[Labels, object]:
    return by(lambda each: each.completed, status="completed") | by(lambda each: each.failed, status="failed")


SERIES: dict[Metric, Callable[[Expected], dict[Labels, Any]]] = {
    names.WORKFLOW_STARTED: lambda e: e.by_workflow(lambda w: w.started),
    names.WORKFLOW_COMPLETED: lambda e: e.by_workflow(lambda w: w.completed),
    names.WORKFLOW_FAILED: lambda e: e.by_workflow(lambda w: w.failed),
    names.WORKFLOW_DURATION: lambda e: _by_status(e.by_workflow),
    names.WORKFLOW_ACTIVE: lambda e: e.by_workflow(lambda w: w.active),
    names.WORKFLOW_OLDEST_ACTIVE: lambda e: e.by_workflow(lambda w: e.during if w.active else 0),
    names.WORKFLOW_LAST_SUCCESS: lambda e: e.by_workflow(lambda w: e.during if w.completed else 0),
    names.WORKFLOW_LAST_COMPLETION: lambda e: e.by_workflow(lambda w: e.during if w.completed + w.failed else 0),
    names.WORKFLOW_LAST_RUN_SUCCESS: lambda e: e.by_workflow(lambda w: w.last_run_success),
    names.WORKFLOW_EXPECTED_INTERVAL: lambda e: (
        {} if e.has("declared") else {labels_of(workflow="scheduled"): load.INTERVAL}
    ),
    names.SCHEDULE_SKIPPED: lambda e: {
        labels_of(workflow="scheduled", reason=reason): count for reason, count in e.skipped.items()
    },
    names.SCHEDULE_LATENESS: lambda e: {} if e.has("declared") else {labels_of(workflow="scheduled"): load.TICKS},
    names.TASK_STARTED: lambda e: e.by_task(lambda t: t.started),
    names.TASK_COMPLETED: lambda e: e.by_task(lambda t: t.completed),
    names.TASK_FAILED: lambda e: e.by_task(lambda t: t.failed),
    names.TASK_RETRIED: lambda e: e.by_task(lambda t: t.retried),
    names.TASK_RESTORED: lambda e: e.by_task(lambda t: t.restored),
    names.TASK_SKIPPED: lambda e: e.by_task(lambda t: t.skipped),
    names.TASK_ERRORS: lambda e: e.by_task_and("error_type", lambda t: t.errors),
    names.TASK_DURATION: lambda e: _by_status(e.by_task),
    names.TASK_QUEUE: lambda e: e.by_task(lambda t: t.started),
    names.TASK_ACTIVE: lambda e: e.by_task(lambda t: t.active),
    names.TASK_RECORDED: lambda e: e.by_task_and("name", lambda t: t.recorded),
    # Each hook of the notifier that fails: the task's start and its end.
    names.PROVIDER_ERRORS: lambda e: (
        {} if e.has("declared") else {labels_of(provider="notify", method="hook_status_task"): 2}
    ),
    # The spans that nobody took: of the run and its task.
    names.TELEMETRY_DROPPED: lambda e: {
        labels_of(signal=signal): 2 if signal == "spans" and not e.has("declared") else 0 for signal in names.SIGNALS
    },
    names.BACKGROUND_QUEUED: lambda e: {labels_of(): load.QUEUED if e.has("loaded") else 0},
    names.BUILD: lambda _: {labels_of(version=metadata.version("dotflow-sdk")): 1},
}
