"""Attempts that are given up: by their timeout, or because their run was cancelled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest

from dotflow import Config, DotFlow, action, events
from dotflow.testing import Calls, RecordingLog, RecordingMetrics, RecordingTracer

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass


class Stuck:
    """Steps that tell when they have begun and go on until they are let go."""

    def __init__(self):
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.ended = threading.Event()

    def step(self):
        self.begun.set()
        self.gate.wait(LIMIT)
        self.ended.set()
        return "late"

    async def async_step(self):
        self.begun.set()
        try:
            await asyncio.sleep(LIMIT)
        except asyncio.CancelledError:
            self.ended.set()
            raise


@pytest.fixture
def stuck():
    stuck = Stuck()
    yield stuck
    stuck.gate.set()


@action(name="after")
def after(previous_context):
    return previous_context.storage


def outcome(task):
    return str(task.status), str(task.result), task.error and task.error.exception


TIMED_OUT = ("Failed", "timeout", "AttemptTimeout")
CANCELLED = ("Failed", "cancellation", "AttemptCancelled")
NOT_STARTED = ("Not started", "None", None)


# --- timeouts


def test_a_step_in_time_is_left_alone():
    workflow = DotFlow(name="w")
    workflow.task.add(step=[action(timeout=LIMIT)(lambda: 1), action(timeout=LIMIT)(lambda: 1 / 0)])
    run = workflow.start()
    assert [outcome(task)[2] for task in run.tasks] == [None, "ZeroDivisionError"]
    assert workflow.result_storage() == [1, None]


@pytest.mark.parametrize("mode", ["sequential", "background"])
def test_a_step_that_takes_too_long_is_given_up_and_its_late_result_is_lost(stuck, mode):
    workflow = DotFlow(name="w")
    workflow.task.add(step=[action(timeout=0.05)(stuck.step), after])
    run = workflow.start(mode=mode, keep_going=True, on_failure=lambda tasks: stuck.gate.set()).wait(LIMIT)
    assert stuck.ended.wait(LIMIT)
    assert [outcome(task) for task in run.tasks] == [TIMED_OUT, ("Not started", "upstream_failed", None)]
    assert "its timeout of 0.05 s" in run.tasks[0].error.message
    assert workflow.result_storage() == [None, None]


def test_the_late_result_of_an_attempt_is_not_taken_for_that_of_the_next(stuck):
    tries = []

    @action(timeout=0.05, retry=2)
    def step():
        tries.append(1)
        if len(tries) == 1:
            return stuck.step()
        stuck.gate.set()
        assert stuck.ended.wait(LIMIT)
        return "in time"

    # The second attempt lets the first one end before it ends itself.
    workflow = DotFlow(name="w")
    workflow.task.add(step=step)
    (task,) = workflow.start().tasks
    assert (task.status, task.retry_count) == ("Completed", 1)
    assert task.current_context.storage == "in time"


def test_an_async_step_that_takes_too_long_is_really_cancelled(stuck):
    workflow = DotFlow(name="w")
    workflow.task.add(step=action(timeout=0.05)(stuck.async_step))
    (task,) = workflow.start().tasks
    assert outcome(task) == TIMED_OUT
    assert stuck.ended.wait(LIMIT)


def test_a_timeout_counts_per_attempt_and_is_retried(stuck):
    workflow = DotFlow(name="w")
    workflow.task.add(step=action(timeout=0.02, retry=3)(stuck.step))
    (task,) = workflow.start().tasks
    assert outcome(task) == TIMED_OUT
    assert [error.exception for error in task.errors] == ["AttemptTimeout"] * 3


def test_a_timeout_error_of_the_steps_own_is_an_ordinary_failure():
    @action(timeout=LIMIT)
    def impatient():
        raise TimeoutError("of my own")

    workflow = DotFlow(name="w")
    workflow.task.add(step=impatient)
    assert outcome(workflow.start().tasks[0]) == ("Failed", "failure", "TimeoutError")


@pytest.mark.parametrize(
    "step",
    ["def step(): threading.Event().wait()", "async def step(): await asyncio.Event().wait()", "def step(): spin()"],
)
def test_a_step_that_was_given_up_never_delays_the_end_of_the_program(step):
    program = f"""
        import asyncio, threading
        from dotflow import DotFlow, action

        def spin():
            while True:
                pass

        @action(timeout=0.05)
        {step}

        workflow = DotFlow(name="w")
        workflow.task.add(step=step)
        print(workflow.start().tasks[0].result)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "timeout\n"


# --- cancelling


@pytest.mark.parametrize("kind", ["step", "async_step"])
def test_cancelling_a_run_in_the_background_gives_its_step_up(stuck, kind):
    workflow = DotFlow(name="w")
    workflow.task.add(step=[action(retry=3)(getattr(stuck, kind)), after])
    run = workflow.start(mode="background", keep_going=True)
    assert stuck.begun.wait(LIMIT)
    run.cancel()
    run.wait(LIMIT)
    assert [outcome(task) for task in run.tasks] == [CANCELLED, NOT_STARTED]
    assert (run.status, run.result) == ("Failed", "cancellation")
    assert run.tasks[0].attempt == 1
    if kind == "async_step":
        assert stuck.ended.wait(LIMIT)


def test_cancelling_during_the_wait_for_a_retry_cuts_it_short():
    seen, waiting = [], threading.Event()

    def listen(event):
        seen.append(type(event).__name__)
        if isinstance(event, events.TaskRetrying):
            waiting.set()

    @action(retry=2, retry_delay=3600)
    def flaky():
        raise ConnectionError

    workflow = DotFlow(Config(listeners=[listen]), name="w")
    workflow.task.add(step=[flaky, after])
    run = workflow.start(mode="background")
    assert waiting.wait(LIMIT)
    run.cancel()
    run.wait(LIMIT)
    (task, untouched) = run.tasks
    assert outcome(task) == CANCELLED
    assert [error.exception for error in task.errors] == ["ConnectionError", "AttemptCancelled"]
    assert (task.attempt, task.retry_count) == (2, 1)
    assert outcome(untouched) == NOT_STARTED
    assert seen[-4:] == ["AttemptStarted", "AttemptEnded", "TaskEnded", "WorkflowEnded"]
    assert seen.count("AttemptStarted") == seen.count("AttemptEnded") == 2


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_what_is_to_run_always_goes_on_at_once_if_it_waits_for_its_retry_as_the_run_is_cancelled(executor):
    waiting, tries = threading.Event(), []

    @action(retry=2, retry_delay=3600)
    def clean_up():
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return "gone"

    workflow = DotFlow(
        Config(listeners=[lambda event: waiting.set() if isinstance(event, events.TaskRetrying) else None])
    )
    workflow.task.add(after, after=[]).add(clean_up, after="after", when="always").add(
        after, name="last", after="clean_up"
    )
    run = workflow.start("parallel", background=True, executor=executor)
    assert waiting.wait(LIMIT)
    run.cancel()
    run.wait(LIMIT)
    assert [str(task.status) for task in run.tasks] == ["Completed", "Completed", "Not started"]
    assert run.tasks[1].current_context.storage == "gone"
    assert (run.tasks[1].attempt, run.tasks[1].retry_count, str(run.result)) == (2, 1, "cancellation")


def test_cancelling_a_sequential_run_from_another_thread_lets_the_step_finish(stuck):
    workflow, ended = DotFlow(name="w"), []
    workflow.task.add(step=[action(stuck.step), after])
    thread = threading.Thread(target=lambda: ended.append(workflow.start(keep_going=True)))
    thread.start()
    assert stuck.begun.wait(LIMIT)
    workflow.task.latest.cancel()
    stuck.gate.set()
    thread.join(LIMIT)
    (run,) = ended
    assert [outcome(task) for task in run.tasks] == [("Completed", "success", None), NOT_STARTED]
    assert (run.status, run.result) == ("Failed", "cancellation")


def test_cancelling_in_the_last_step_or_after_the_end_changes_nothing():
    @action
    def last():
        workflow.task.latest.cancel()

    workflow = DotFlow(name="w")
    workflow.task.add(step=last)
    run = workflow.start()
    run.cancel()
    assert (run.status, run.result) == ("Completed", "success")


def test_cancelling_before_anything_has_started():
    workflow = DotFlow(Config(listeners=[lambda event: event.run.cancel()]), name="w")
    workflow.task.add(step=after)
    run = workflow.start()
    assert outcome(run.tasks[0]) == NOT_STARTED
    assert (run.status, run.result) == ("Failed", "cancellation")


def test_every_provider_sees_the_end_of_a_cancelled_task(stuck):
    calls = Calls()
    config = Config(tracer=RecordingTracer(calls), metrics=RecordingMetrics(calls), log=RecordingLog(calls))
    workflow = DotFlow(config, name="w")
    workflow.task.add(step=action(stuck.step))
    run = workflow.start(mode="background")
    assert stuck.begun.wait(LIMIT)
    run.cancel()
    run.wait(LIMIT)
    assert calls.names()[-6:] == [
        *("log.error", "metrics.task_failed", "tracer.end_task"),
        *("log.error", "metrics.workflow_failed", "tracer.end_workflow"),
    ]


def test_an_async_step_that_was_given_up_in_a_thread_never_delays_the_end_of_the_program():
    program = """
        import asyncio, threading
        from dotflow import DotFlow, action

        @action(timeout=0.05)
        async def stuck():
            await asyncio.to_thread(threading.Event().wait, 600)

        workflow = DotFlow()
        workflow.task.add(stuck)
        print(workflow.start().tasks[0].result)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("timeout\n", 0)


def test_threads_of_async_steps_do_their_work_as_usual():
    @action
    async def many():
        numbers = await asyncio.gather(*(asyncio.to_thread(pow, number, 2) for number in range(200)))
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return sum(numbers)

    workflow = DotFlow()
    workflow.task.add(many)
    before = set(threading.enumerate())
    assert workflow.start().status == "Completed"
    assert workflow.result_storage() == [sum(number**2 for number in range(200))]
    assert set(threading.enumerate()) <= before
