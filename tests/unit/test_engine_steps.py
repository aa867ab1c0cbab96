"""What can be a step, what it is called with, and what becomes of what it returns."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from dotflow import Context, DotFlow, action


def values_of(*steps, initial=None):
    """What the steps produce, run one after another in a workflow."""
    workflow = DotFlow(name="steps")
    workflow.task.add(step=list(steps), initial_context=initial)
    workflow.start().raise_for_status()
    return workflow.result_storage()


def double(number=4):
    return number * 2


async def double_async(number=4):
    return number * 2


class Doubler:
    def __init__(self, number=4):
        self.number = number

    def __call__(self):
        return self.number * 2

    def method(self):
        return self.number * 2


class AsyncDoubler:
    async def __call__(self):
        await asyncio.sleep(0)
        return 8


class SlottedDoubler:
    __slots__ = ()

    def __call__(self):
        return 8


SYNC_STEPS = {
    "function": double,
    "lambda": lambda: 8,
    "partial": functools.partial(double, number=4),
    "callable instance": Doubler(),
    "callable with slots": SlottedDoubler(),
    "bound method": Doubler().method,
    "builtin": functools.partial(sum, [3, 5]),
    "cached": functools.cache(double),
}
BARE_AND_CALLED = {"bare": action, "called": action(), "with options": action(retry=2, timeout=0)}


@pytest.fixture(params=BARE_AND_CALLED.values(), ids=BARE_AND_CALLED)
def mark(request):
    return request.param


@pytest.mark.parametrize("step", SYNC_STEPS.values(), ids=SYNC_STEPS)
def test_every_kind_of_callable_is_a_step_and_still_itself(mark, step):
    marked = mark(step)
    assert marked() == 8
    assert values_of(marked) == [8]
    assert marked() == 8


def test_a_builtin_that_cannot_hold_a_mark_gets_a_stand_in():
    queue = [1, 2]
    pop = action(queue.pop)
    assert pop() == 2
    assert values_of(pop) == [1]
    assert action(str.upper)("a") == "A"


@pytest.mark.parametrize("step", [double_async, AsyncDoubler(), functools.partial(double_async, number=4)])
def test_async_callables_are_awaited_in_a_run_and_give_a_coroutine_when_called(mark, step):
    marked = mark(step)
    assert asyncio.run(marked()) == 8
    assert values_of(marked) == [8]


def test_a_decorated_function_takes_arguments_when_called_directly():
    @action(retry=3)
    def add(initial_context, *, more=0):
        return initial_context + more

    assert add(1, more=2) == 3
    assert add.__name__ == "add"


def test_what_a_step_raises_when_called_directly_is_raised_at_the_first_attempt():
    calls = []

    @action(retry=5)
    def broken():
        calls.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        broken()
    assert calls == [1]


@pytest.mark.parametrize("step", [double, double_async, Doubler(), AsyncDoubler(), functools.partial(double)])
def test_marking_again_leaves_the_first_mark_alone(step):
    first = action(step)
    second = action(retry=7)(first)
    workflow = DotFlow(name="steps")
    workflow.task.add(step=[first, second])
    schema = workflow.task.schema()["tasks"]
    assert [entry["retry"] for entry in schema] == [1, 7]
    assert schema[0]["step"] == schema[1]["step"]
    assert schema[1]["name"] == schema[0]["name"]
    workflow.start().raise_for_status()
    assert workflow.result_storage() == [8, 8]


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (double, "double"),
        (functools.partial(functools.partial(double, 1)), "double"),
        (Doubler(), "Doubler"),
        (lambda: 1, "<lambda>"),
        (functools.partial(sum, []), "sum"),
    ],
)
def test_the_name_of_a_step_is_that_of_the_users_code(step, name):
    workflow = DotFlow(name="steps")
    workflow.task.add(step=action(step))
    (entry,) = workflow.task.schema()["tasks"]
    assert entry["name"] == entry["task_id"] == name
    assert entry["step"].split(".")[-1] == name


# --- contexts


def test_contexts_are_given_to_those_who_name_them_and_to_nobody_else():
    @action
    def both(initial_context, previous_context):
        return initial_context.storage, previous_context.storage

    @action
    def neither(**others):
        return others

    @action
    def variadic(*previous_context, **initial_context):
        return previous_context, initial_context

    @action
    def optional(previous_context=None, limit=10):
        return previous_context.storage, limit

    assert values_of(both, neither, variadic, optional, initial="i") == [
        ("i", None),
        {},
        ((), {}),
        (((), {}), 10),
    ]


@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_what_a_step_makes_of_the_contexts_that_it_is_given_is_its_own_affair(executor):
    @action
    def first():
        return 1

    @action
    def second(initial_context, previous_context):
        initial_context.storage = previous_context.storage = "changed"

    with DotFlow() as workflow:
        workflow.task.add(first).add(second, initial_context="as added")
        for _ in range(2):
            run = workflow.start(executor=executor).raise_for_status()
            assert workflow.result_storage() == [1, None]
            assert run.tasks[1].initial_context.storage == "as added"


def test_a_returned_context_does_not_nest():
    @action
    def wrap():
        return Context(Context("inner"))

    assert values_of(wrap) == ["inner"]


# --- what is returned is a value


class Touched:
    """Anything that could be called says so."""

    calls: list = []  # noqa: RUF012

    def __init__(self):
        self.calls.append("init")

    def __call__(self):
        self.calls.append("call")

    @action
    def method(self):
        self.calls.append("method")

    def __iter__(self):
        self.calls.append("iter")
        return iter(())


async def coroutine_function():
    Touched.calls.append("coroutine")


def generator():
    Touched.calls.append("generator")
    yield 1


@pytest.mark.parametrize(
    "value",
    [
        Touched,
        action(Touched)(),
        Touched().method,
        coroutine_function,
        action(coroutine_function),
        generator(),
        generator,
    ],
)
def test_what_a_step_returns_is_a_value_and_nothing_of_it_is_called(value):
    Touched.calls.clear()
    assert values_of(action(lambda: value), action(name="next")(lambda previous_context: previous_context.storage)) == [
        value,
        value,
    ]
    assert Touched.calls == []


# --- async


def test_async_steps_share_nothing_and_leave_no_loop_behind():
    loops = []

    @action
    async def step():
        loops.append(asyncio.get_running_loop())
        asyncio.get_running_loop().create_task(asyncio.Event().wait())
        return len(loops)

    assert values_of(step, step) == [1, 2]
    assert loops[0] is not loops[1]
    assert all(loop.is_closed() for loop in loops)


def test_async_steps_run_inside_a_running_loop():
    @action
    async def step(previous_context):
        await asyncio.sleep(0)
        return threading.current_thread().name, previous_context.storage

    async def application():
        return values_of(step, action(lambda previous_context: previous_context.storage))

    first, second = asyncio.run(application())
    assert first == second == ("dotflow-attempts", None)
