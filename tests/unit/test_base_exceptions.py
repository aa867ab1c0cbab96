"""An exception of any base class fails its attempt and nothing else; only KeyboardInterrupt and SystemExit end the program."""

from __future__ import annotations

import builtins

import pytest

from dotflow import Config, DotFlow, action, events
from dotflow.providers import SchedulerInterval
from dotflow.testing import RecordingStorage, RecordingTracer

BaseGroup = getattr(builtins, "BaseExceptionGroup", None)  # from Python 3.11
needs_groups = pytest.mark.skipif(BaseGroup is None, reason="SKIPPED: exception groups are of Python 3.11 and newer")


class Panic(BaseException):
    """As of native code, or of a library's own time limit; it does not pickle."""

    def __reduce__(self):
        raise TypeError("stays here")


def raises(make):
    @action(retry=2, name="step")
    def step():
        raise make()

    return step


def raises_where_it_is_awaited(make):
    @action(retry=2, name="step")
    async def step():
        raise make()

    return step


@action
def other():
    return 1


MAKERS = [
    pytest.param(lambda: Panic("native code"), id="Panic"),
    pytest.param(lambda: GeneratorExit("left"), id="GeneratorExit"),
    pytest.param(lambda: BaseGroup("group", [Panic("inside"), ValueError()]), id="group", marks=needs_groups),
]


@pytest.mark.parametrize("made", [raises, raises_where_it_is_awaited])
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_it_fails_its_attempt_and_is_retried_like_any_failure(make, made, executor):
    with DotFlow() as workflow:
        workflow.task.add(made(make), group_name="a").add(other, group_name="b")
        run = workflow.start(executor=executor)
    failed, well = run.tasks
    expected = type(make()).__name__
    assert [(error.attempt, error.exception) for error in failed.errors] == [(1, expected), (2, expected)]
    assert (failed.status, failed.result, well.status) == ("Failed", "failure", "Completed")
    assert (run.status, run.result) == ("Failed", "failure")


def test_a_schedule_goes_on():
    ticks = []

    @action
    def tick():
        ticks.append(1)
        if len(ticks) == 2:
            raise Panic
        if len(ticks) == 4:
            scheduler.stop()

    scheduler = SchedulerInterval(0.001)
    workflow = DotFlow(Config(scheduler=scheduler))
    workflow.task.add(tick)
    workflow.schedule()
    assert len(ticks) >= 4


@needs_groups
@pytest.mark.parametrize("end", [KeyboardInterrupt("Ctrl-C"), SystemExit(3)])
def test_what_ends_the_program_ends_it_from_inside_a_group_too(end):
    tries = []

    @action(retry=3)
    def step():
        tries.append(1)
        raise BaseGroup("outer", [ValueError(), BaseGroup("inner", [Panic(), end])])

    workflow = DotFlow()
    workflow.task.add(step)
    with pytest.raises(type(end)) as caught:
        workflow.start()
    assert caught.value is end
    (task,) = workflow.result_task()
    assert (task.result, len(tries), task.error.exception) == ("cancellation", 1, "BaseExceptionGroup")


# --- not of a step


@pytest.mark.contained
def test_a_provider_a_listener_and_a_callback_harm_nobody():
    class Tracer(RecordingTracer):
        def start_task(self, task):
            raise Panic

    def listen(event):
        if isinstance(event, events.AttemptStarted):
            raise Panic

    def after(task):
        raise Panic

    workflow = DotFlow(Config(tracer=Tracer(), listeners=[listen]))
    workflow.task.add([other, other], callback=after)
    run = workflow.start()
    assert run.status == "Completed"
    assert sorted(run.provider_errors.values()) == [1, 1, 2, 2]


@pytest.mark.contained
@pytest.mark.parametrize("enters", [True, False])
def test_a_tracer_that_panics_around_an_attempt_does_not_keep_the_step_from_running(enters):
    class Around:
        def __enter__(self):
            if enters:
                raise Panic

        def __exit__(self, *_):
            if not enters:
                raise Panic

    class Tracer(RecordingTracer):
        def carrier(self, task):
            return {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}

        def attach(self, carrier):
            return Around()

    workflow = DotFlow(Config(tracer=Tracer()))
    workflow.task.add(other)
    run = workflow.start()
    assert workflow.result_storage() == [1]
    assert run.provider_errors == {("tracer", "attach"): 1}


def test_a_storage_fails_the_task():
    class Storage(RecordingStorage):
        def post(self, key, context):
            raise Panic("no room")

    workflow = DotFlow(Config(storage=Storage()))
    workflow.task.add(other)
    (task,) = workflow.start().tasks
    assert (task.status, task.result, task.error.message) == ("Failed", "failure", "no room")


def test_a_storage_that_panics_on_resume_fails_the_task():
    class Storage(RecordingStorage):
        broken = False

        def get(self, key):
            if self.broken:
                raise Panic("torn")
            return super().get(key)

    storage = Storage()
    workflow = DotFlow(Config(storage=storage), workflow_id="w")
    workflow.task.add(other)
    workflow.start()
    storage.broken = True
    (task,) = workflow.start(resume=True).tasks
    assert (task.status, task.error.exception) == ("Failed", "Panic")


def test_a_key_of_an_item_fails_the_mapped_task():
    def key(item):
        raise Panic("no key")

    @action
    def items():
        return [1, 2]

    workflow = DotFlow()
    workflow.task.add(items).add(action(name="each")(lambda item: item), after="items", each=True, key=key)
    run = workflow.start()
    assert [(task.status, task.error and task.error.exception) for task in run.tasks] == [
        ("Completed", None),
        ("Failed", "Panic"),
    ]


def panics():
    raise Panic("made again")


class MadeAgain:
    def __reduce__(self):
        return panics, ()


def test_a_value_that_panics_when_it_is_read_here_fails_the_task():
    workflow = DotFlow()
    workflow.task.add(action(name="step")(lambda: MadeAgain()))  # noqa: PLW0108 - the class itself would be a step of another kind
    with workflow:
        (task,) = workflow.start(executor="process").tasks
    assert (task.status, task.error.exception) == ("Failed", "NotPicklable")
    assert "Panic: made again" in task.error.message
