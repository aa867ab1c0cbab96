"""What a type checker must refuse: an ignore that is not needed is an error, so each line proves its refusal."""

from __future__ import annotations

from dotflow import Config, Context, DotFlow, RetryAfter, Task, action, providers
from dotflow.abc import Storage
from dotflow.events import TaskEnded
from dotflow.providers import LogStructlog, StorageFile

providers.StorageFiel  # type: ignore[attr-defined]


@action(retries=3)  # type: ignore[call-overload, untyped-decorator]
def misspelt_option() -> None: ...


@action(retry="3")  # type: ignore[call-overload, untyped-decorator]
def text_for_a_number() -> None: ...


@action(retry_on="OSError")  # type: ignore[call-overload, untyped-decorator]
def text_for_a_type() -> None: ...


@action(retry_on=[OSError])  # type: ignore[call-overload, untyped-decorator]
def list_for_a_tuple() -> None: ...


@action(give_up_on=int)  # type: ignore[arg-type]
def type_that_is_no_exception() -> None: ...


@action(retry_on=(OSError, "KeyError"))  # type: ignore[arg-type]
def tuple_with_a_text() -> None: ...


@action(give_up_on=lambda: True)  # type: ignore[arg-type]
def function_of_nothing() -> None: ...


@action(jitter="0.5")  # type: ignore[call-overload, untyped-decorator]
def text_for_a_share() -> None: ...


RetryAfter("30")  # type: ignore[arg-type]
Config(rng=7)  # type: ignore[arg-type]


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

# The words that start takes, by every way in.
DotFlow().start(mode="paralel")  # type: ignore[arg-type]
DotFlow().start("paralel")  # type: ignore[arg-type]
DotFlow().start(executor="threads")  # type: ignore[arg-type]
DotFlow().start(on_input_change="ignore")  # type: ignore[arg-type]
DotFlow().schedule(mode="paralel")  # type: ignore[arg-type]
DotFlow().schedule(executr="thread")  # type: ignore[call-arg]
DotFlow().schedule(executor="threads")  # type: ignore[arg-type]
DotFlow().schedule(params=lambda tick: tick.date())  # type: ignore[arg-type, return-value]
DotFlow().schedule(max_workers="2")  # type: ignore[arg-type]
DotFlow().mermaid(mode="paralel")  # type: ignore[arg-type]
DotFlow().start_async(modes="parallel")  # type: ignore[call-arg, unused-coroutine]
DotFlow().start_async("paralel")  # type: ignore[arg-type, unused-coroutine]
DotFlow().start_async(resume="yes")  # type: ignore[arg-type, unused-coroutine]
DotFlow().task.add(step, when="sucess")  # type: ignore[arg-type]
DotFlow().task.add(step, after=1)  # type: ignore[arg-type]
DotFlow().task.add(step, after=["step", 1])  # type: ignore[list-item]
DotFlow().task.add(step, after={"rows": 1})  # type: ignore[dict-item]
DotFlow().task.add(step, each=1)  # type: ignore[arg-type]

# A context knows the type of its value.
number: Context[int] = Context("1")  # type: ignore[arg-type]
Context(1).storage.upper()  # type: ignore[attr-defined]


def doubled(initial_context: Context[int]) -> int:
    return initial_context.storage * 2


doubled(Context("2"))  # type: ignore[arg-type]


class Incomplete(Storage):
    def post(self, key: str, context: Context) -> None: ...


Incomplete()  # type: ignore[abstract]


def frozen(event: TaskEnded, task: Task) -> None:
    event.task = task  # type: ignore[misc]
