"""What a type checker must accept; checked by `make typing`, never run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dotflow import Config, Context, DotFlow, GiveUp, RetryAfter, Run, Task, TypeStatus, action, observability
from dotflow.abc import Metrics, Notify, Storage, Tracer
from dotflow.events import Event, TaskEnded
from dotflow.model.modes import Mode
from dotflow.providers import LogStructlog, MetricsPrometheus, SchedulerCron, StorageFile, TracerOpenTelemetry


@action
def bare(initial_context: Context) -> int:
    return len(initial_context.storage)


@action(retry=3, retry_delay=0.5, backoff=True, timeout=30, name="called")
async def called(previous_context: Context) -> str:
    return str(previous_context.storage)


def is_busy(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == 11


def is_final(error: BaseException) -> bool:
    return isinstance(error, PermissionError)


@action(
    retry=5, retry_delay=1, backoff=True, max_delay=60, jitter=0.5, retry_on=(OSError, KeyError), give_up_on=is_final
)
def policy(rows: list[int]) -> int:
    try:
        return rows[0]
    except IndexError as error:
        raise RetryAfter(2.5) from error


@action(retry=2, retry_on=is_busy, give_up_on=PermissionError)
async def policy_by_function(rows: list[int]) -> int:
    if not rows:
        raise GiveUp("no rows")
    return rows[0]


@action(retry_on=BaseException, give_up_on=lambda error: "denied" in str(error))
class PolicyOfAClass:
    @action
    def page(self) -> str:
        return ""


# A decorated function keeps its type, whatever its options.
row: int = policy([1])
seconds: float = RetryAfter(3).seconds


@action
class Report:
    def __init__(self, initial_context: Context) -> None:
        self.title: str = initial_context.storage

    @action
    def page(self) -> str:
        return self.title


# A decorated function or class keeps its type.
number: int = bare(Context([1, 2]))
title: str = Report(Context("Monday")).title


async def awaits() -> str:
    return await called(Context(1))


class Minimal(Storage):
    def post(self, key: str, context: Context) -> None: ...

    def get(self, key: str) -> Context:
        return Context()

    def key(self, task: Task) -> str:
        return task.task_id


class Quiet(Notify):
    def hook_status_task(self, task: Task) -> None: ...


class WantsTheRun(Metrics):
    """A method about a workflow may name `run`."""

    def workflow_started(self, workflow_id: str, *, run: Run | None = None, **kwargs: Any) -> None: ...
    def workflow_completed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None: ...
    def workflow_failed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None: ...
    def task_completed(self, task: Task) -> None: ...
    def task_failed(self, task: Task) -> None: ...
    def task_retried(self, task: Task) -> None: ...


def listen(event: Event) -> None:
    if isinstance(event, TaskEnded):
        print(event.task.name, event.time_ns)


workflow = DotFlow(
    config=Config(
        storage=StorageFile(path="x", serializer="json"),
        notify=Quiet(),
        log=LogStructlog(level="INFO", format="json"),
        scheduler=SchedulerCron("0 2 * * *", timezone="Europe/Berlin"),
        tracer=TracerOpenTelemetry(service_name="x"),
        metrics=MetricsPrometheus(port=0),
        listeners=[listen],
    ),
    name="typed",
)
workflow.task.add(step=bare, initial_context=[1]).add(step=[called, Report], group_name="g")
run: Run = workflow.start(mode="background", keep_going=True).wait(timeout=1).raise_for_status()
done: bool = run.status is TypeStatus.COMPLETED and run.tasks[0].status == "Completed"
values: list[Any] = workflow.result_storage()

# The words that start takes, by every way in.
mode: Mode = "parallel"
workflow.start(mode, executor="thread", on_input_change="reset", params={"table": "events"}, max_workers=2)
workflow.start("sequential_group", executor=ThreadPoolExecutor(), background=True)
workflow.schedule(mode="background", executor="process", keep_going=True, params={"table": "events"})
workflow.schedule(params=lambda tick: {"day": tick.date()})
drawn: str = workflow.mermaid(mode="parallel") + run.mermaid() + run.tree(full=True)


async def awaited() -> Run:
    return await workflow.start_async("sequential", resume=True, executor="inline", fingerprint=repr)


@action
def load(rows: list[int], table: str = "events") -> int:
    return len(rows)


@action
async def publish(rows: list[int]) -> None: ...


# A task, a step of any kind, or several of them; and a dict for parameters.
workflow.task.add(load, after="bare", params={"table": "users"}, when="any")
workflow.task.add(load, after=bare).add(load, after=Report).add(publish, after=called, when="always")
workflow.task.add(load, after=["bare", called], each="bare").add(
    load, after=("bare", "called"), each=["bare", "called"]
)
workflow.task.add(load, after={"rows": bare, "table": "called"}, when="failure").add(load, after=[], key="eu")
workflow.task.add(load, after="bare", each=True, key=str)

# A context knows the type of its value; a plain one holds a value of any type.
typed: Context[list[int]] = Context([1, 2])
first: int = typed.storage[0] + Context(1).storage + Context(Context(1)).storage
anything: Context = typed
empty: Context[int] = Context()
copied: Context[list[int]] = typed.copy()


def doubled(initial_context: Context[int]) -> int:
    return initial_context.storage * 2


four: int = doubled(Context(2))
one_line = Config(**observability("x", port=0))
tracer: Tracer = one_line.tracer
