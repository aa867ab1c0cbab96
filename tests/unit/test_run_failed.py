"""What `raise_for_status` raises: the run, and the exception of the first task that failed, wherever it was raised."""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback
import weakref

import cloudpickle
import pytest

from dotflow import DotFlow, GiveUp, RetryAfter, action
from dotflow.errors import AttemptTimeout, RunFailed, WorkerDied

EXECUTORS = ["inline", "thread", "process"]


class Refused(Exception):
    def __init__(self, status):
        super().__init__(status)
        self.status = status


class Stays(Exception):
    def __reduce__(self):
        raise TypeError("it holds a connection")


class MadeOtherwise(Exception):
    """It cannot be made again from its arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class BringsItsTraceback(Exception):
    """As every exception does once a library has registered that."""

    def __reduce__(self):
        return _with_traceback, (str(self), self.__traceback__)


def _with_traceback(text, traceback):
    error = BringsItsTraceback(text).with_traceback(traceback)
    error.__context__ = KeyError("before")
    return error


def failure_of(*steps, executor="inline", **options):
    with DotFlow(name="w") as workflow:
        workflow.task.add(list(steps))
        run = workflow.start(executor=executor, **options)
    with pytest.raises(RunFailed) as caught:
        run.raise_for_status()
    assert caught.value.run is run
    return caught.value


def raising(make, **options):
    @action(name="step", **options)
    def step():
        raise make()

    return step


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_cause_is_the_exception_with_what_it_holds_and_its_traceback_as_text(executor):
    failed = failure_of(raising(lambda: Refused(503), retry=2), executor=executor)
    assert type(failed.__cause__) is Refused
    assert failed.__cause__.status == 503
    shown = "".join(traceback.format_exception(failed))
    assert "raise make()" in shown
    assert (
        shown.index("raise make()") < shown.index("The above exception was the direct cause") < shown.index("RunFailed")
    )


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("make", [lambda: Stays("here"), lambda: MadeOtherwise(1, 2)])
def test_of_one_that_cannot_be_made_again_there_is_the_text(make, executor):
    failed = failure_of(raising(make), executor=executor)
    assert type(make()).__name__ in str(failed.__cause__)
    assert "raise make()" in str(failed.__cause__)
    assert failed.__cause__.__cause__ is None


@pytest.mark.parametrize("executor", EXECUTORS)
def test_of_several_it_is_the_first(executor):
    failed = failure_of(raising(lambda: Refused(1)), raising(lambda: Refused(2)), executor=executor, keep_going=True)
    assert failed.__cause__.status == 1


def test_it_is_that_of_the_last_attempt():
    numbers = iter((1, 2, 3))
    assert failure_of(raising(lambda: Refused(next(numbers)), retry=3)).__cause__.status == 3


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_step_says_of_its_retries(executor):
    def later():
        raise RetryAfter(1) from Refused(429)

    failed = failure_of(action(name="step")(later), executor=executor)
    assert failed.__cause__.status == 429
    failed = failure_of(raising(lambda: GiveUp("gone"), retry=3), executor=executor)
    assert (type(failed.__cause__), str(failed.__cause__)) == (GiveUp, "gone")


def test_an_item_tells_more_than_its_task():
    workflow = DotFlow()
    workflow.task.add(action(name="items")(lambda: [1, 2]))
    workflow.task.add(action(name="each")(lambda items: 1 / (items - 2)), after="items", each=True)
    with pytest.raises(RunFailed, match="ItemsFailed") as caught:
        workflow.start().raise_for_status()
    assert type(caught.value.__cause__) is ZeroDivisionError


def test_a_timeout_and_a_dead_worker():
    @action(timeout=0.02)
    async def slow():
        import asyncio

        await asyncio.sleep(60)

    assert type(failure_of(slow).__cause__) is AttemptTimeout

    @action
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    assert type(failure_of(killed, executor="process").__cause__) is WorkerDied


@pytest.mark.parametrize("make", [lambda: Refused(500), lambda: BringsItsTraceback("long")])
def test_nothing_of_the_step_is_kept_alive(make):
    class Table:
        """As large as memory."""

    seen = []

    @action
    def step():
        table = Table()
        seen.append(weakref.ref(table))
        raise make()

    failed = failure_of(step)
    assert type(failed.__cause__) is type(make())
    assert failed.__cause__.__context__ is None
    gc.collect()
    assert seen[0]() is None
    assert failed.__cause__.__traceback__ is None


def test_a_run_with_an_exception_that_does_not_pickle_pickles():
    def make():
        error = Refused(500)
        error.lock = threading.Lock()
        return error

    failed = failure_of(raising(make))
    assert failed.__cause__.lock is not None
    again = cloudpickle.loads(cloudpickle.dumps(failed.run))
    with pytest.raises(RunFailed) as caught:
        again.raise_for_status()
    assert "raise make()" in str(caught.value.__cause__)


def test_the_cause_of_a_run_inside_a_step():
    @action
    def outer():
        with DotFlow(name="inner") as inner:
            inner.task.add(raising(lambda: Refused(404)))
            inner.start().raise_for_status()

    for executor in EXECUTORS:
        failed = failure_of(outer, executor=executor)
        assert type(failed.__cause__) is RunFailed
        assert failed.__cause__.run.workflow_name == "inner"
