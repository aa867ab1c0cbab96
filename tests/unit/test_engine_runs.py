"""Runs beside, inside and behind each other, and waiting for them."""

from __future__ import annotations

import contextvars
import signal
import subprocess
import sys
import threading

import pytest

from dotflow import DotFlow, action
from dotflow.errors import RunTimeout
from support.workflows import good, statuses, workflow_of

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass


def test_a_step_may_start_a_workflow():
    inner = workflow_of(good, good)

    @action
    def outer():
        return inner.start().raise_for_status().run_id

    workflow = workflow_of(outer)
    run = workflow.start().raise_for_status()
    assert workflow.result_storage() == [inner.task.latest.run_id]
    assert inner.result_storage() == [1, 2]
    assert run.run_id != inner.task.latest.run_id


def test_a_step_may_start_its_own_workflow_again():
    depth = []

    @action
    def step():
        depth.append(1)
        return workflow.start().status if len(depth) < 3 else "deepest"

    workflow = workflow_of(step)
    assert workflow.start().tasks[0].current_context.storage == "Completed"
    assert len(depth) == 3


def test_two_runs_of_one_workflow_at_the_same_time_do_not_mix():
    meet = threading.Barrier(2, timeout=LIMIT)

    @action
    def first():
        meet.wait()
        return threading.current_thread().name

    @action
    def second(previous_context):
        meet.wait()
        return previous_context.storage, threading.current_thread().name

    workflow, runs = workflow_of(first, second), {}

    def work(name):
        runs[name] = workflow.start()

    threads = [threading.Thread(target=work, args=(name,), name=name) for name in ("x", "y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert {name: run.tasks[1].current_context.storage for name, run in runs.items()} == {
        "x": ("x", "x"),
        "y": ("y", "y"),
    }
    assert runs["x"].run_id != runs["y"].run_id


_variable: contextvars.ContextVar[str] = contextvars.ContextVar("_variable", default="unset")


@pytest.mark.parametrize("mode", ["sequential", "background"])
def test_what_an_attempt_sets_in_its_context_is_not_seen_by_the_next(mode):
    seen = []

    @action(retry=2)
    def step():
        seen.append(_variable.get())
        _variable.set("leaked")
        if len(seen) % 2:
            raise ValueError

    token = _variable.set("from the caller")
    try:
        workflow_of(step, step).start(mode=mode).wait(LIMIT)
        assert seen == ["from the caller"] * 4
        assert _variable.get() == "from the caller"
    finally:
        _variable.reset(token)


# --- waiting


def test_a_run_in_the_background_is_waited_for():
    gate = threading.Event()
    workflow = workflow_of(action(name="gate")(lambda: gate.wait(LIMIT)), good)
    run = workflow.start(mode="background")
    try:
        with pytest.raises(RunTimeout, match=f"run {run.run_id} is still going on after 0.05 s") as caught:
            run.wait(0.05)
        assert isinstance(caught.value, TimeoutError)
        assert run.status == "In progress"
    finally:
        gate.set()
    assert run.wait(LIMIT) is run
    assert statuses(run) == ["Completed", "Completed"]
    assert run.wait() is run


def test_the_end_of_the_program_waits_for_a_run_in_the_background():
    program = """
from dotflow import DotFlow, action

@action
def step(previous_context):
    return (previous_context.storage or 0) + 1

workflow = DotFlow(name="w")
workflow.task.add(step=[step] * 500)
workflow.start(mode="background", on_success=lambda tasks: print(tasks[-1].current_context.storage))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("500\n", "")


def test_a_run_leaves_the_handler_of_ctrl_c_as_it_found_it():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    @action
    def step():
        seen.append(signal.getsignal(signal.SIGINT))

    workflow = DotFlow()
    workflow.task.add(step)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        workflow.start()
        assert seen[0] is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
