"""What a type checker must refuse: an ignore that is not needed is an error, so each line proves its refusal."""

from __future__ import annotations

from dotflow import Config, Context, DotFlow, Task, action, providers
from dotflow.abc import Storage
from dotflow.events import TaskEnded
from dotflow.providers import LogStructlog, StorageFile

providers.StorageFiel  # type: ignore[attr-defined]


@action(retries=3)  # type: ignore[call-overload, untyped-decorator]
def misspelt_option() -> None: ...


@action(retry="3")  # type: ignore[call-overload, untyped-decorator]
def text_for_a_number() -> None: ...


@action
def step(initial_context: Context) -> int:
    return 1


step(1)  # type: ignore[arg-type]
step()  # type: ignore[call-arg]
text: str = step(Context())  # type: ignore[assignment]

Config(storage=LogStructlog())  # type: ignore[arg-type]
Config(storage=StorageFile)  # type: ignore[arg-type]
Config(loggs=LogStructlog())  # type: ignore[call-arg]
LogStructlog(format="xml")  # type: ignore[arg-type]
DotFlow(name=1)  # type: ignore[arg-type]
DotFlow().start(keep_goin=True)  # type: ignore[call-arg]


class Incomplete(Storage):
    def post(self, key: str, context: Context) -> None: ...


Incomplete()  # type: ignore[abstract]


def frozen(event: TaskEnded, task: Task) -> None:
    event.task = task  # type: ignore[misc]
