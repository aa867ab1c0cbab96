"""What a type checker must accept; checked by `make typing`, never run."""

from __future__ import annotations

from typing import Any

from dotflow import Config, Context, DotFlow, Run, Task, TypeStatus, action, observability
from dotflow.abc import Metrics, Notify, Storage, Tracer
from dotflow.events import Event, TaskEnded
from dotflow.providers import LogStructlog, MetricsPrometheus, SchedulerCron, StorageFile, TracerOpenTelemetry


@action
def bare(initial_context: Context) -> int:
    return len(initial_context.storage)


@action(retry=3, retry_delay=0.5, backoff=True, timeout=30, name="called")
async def called(previous_context: Context) -> str:
    return str(previous_context.storage)


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
one_line = Config(**observability("x", port=0))
tracer: Tracer = one_line.tracer
