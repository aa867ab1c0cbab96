"""Attempts on a Dask cluster: a real one of two worker processes on this machine, which are killed, kept busy and left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass

import pytest

from dotflow import DotFlow, action, events
from dotflow.config import Config
from dotflow.errors import InvalidOption
from dotflow.executors.attempt import Attempt
from dotflow.executors.dask import run_once
from dotflow.executors.payload import Packer, pickle_sides, read_report
from dotflow.model.context import Context

distributed = pytest.importorskip("distributed", reason="SKIPPED: install dotflow-sdk[dask] to test Dask clusters")

pytestmark = pytest.mark.shares  # a cluster, which replaces the workers that it loses

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass


def local_cluster(**more):
    wanted = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0", **more}
    return distributed.LocalCluster(host="127.0.0.1", **wanted)


@pytest.fixture(scope="module")
def cluster():
    with local_cluster() as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """A client of its own for every test, with all workers there."""
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=LIMIT)
        yield client


async def wait_until_no_marks(dask_scheduler):
    known = dask_scheduler.extensions["events"]._events  # nothing public lists them

    async def gone():
        while any(name.startswith("dotflow-") for name in known):  # noqa: ASYNC110 - nobody tells when one is cleared
            await asyncio.sleep(0.01)

    await asyncio.wait_for(gone(), LIMIT)


class Signals:
    """What the test and the steps tell each other, wherever they run."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def __getattr__(self, what):
        return distributed.Event(f"{self.name}-{what}", client=self.client)


@pytest.fixture(autouse=True)
def signals(cluster, request):
    """Names for steps, events for the test. In the end steps at the gate are let go, and no mark is left anywhere."""
    with distributed.Client(cluster, set_as_default=False) as another:  # also when the test has closed its own
        signals = Signals(another, request.node.name)
        yield signals
        signals.gate.set()
        another.run_on_scheduler(wait_until_no_marks)


def wait_at_the_gate(name):
    """In a step: tell the test that it has begun, and wait until the test lets it go."""
    distributed.Event(f"{name}-begun").set()
    assert distributed.Event(f"{name}-gate").wait(LIMIT)


def workflow_of(*steps, context=None, listen=None):
    workflow = DotFlow(Config(listeners=[listen] if listen else []), name="w")
    workflow.task.add(step=list(steps), initial_context=context)
    return workflow


def errors_of(task):
    return [(error.attempt, error.exception) for error in task.errors]


def count_lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def leave_line(path):
    with path.open("a") as file:
        file.write("x\n")


# --- the same as elsewhere


class Told:
    """What listeners are told, by task."""

    def __init__(self):
        self.by_task = defaultdict(list)

    def __call__(self, event):
        task = getattr(event, "task", None)
        seen = (type(event).__name__,)
        if task is not None:
            seen += (task.attempt, str(task.status), str(task.result), task.error and task.error.exception)
        self.by_task[task and task.task_id].append(seen)


@action(name="good")
def good(initial_context):
    return str(initial_context.storage)


@action(name="flaky", retry=3)
def flaky(initial_context):
    path = initial_context.storage / "flaky"
    leave_line(path)
    if count_lines(path) < 2:
        raise ConnectionError("not yet")


@action(name="broken", retry=2)
def broken():
    raise ValueError("bad row 17")


@action(name="late", timeout=0.3)
def late():
    time.sleep(2.5)


@action(name="killed", retry=2)
def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@action(name="exits")
async def exits():
    os._exit(3)


def test_the_events_are_those_of_worker_processes(client, tmp_path):
    seen = []
    for where, executor in (("there", client.get_executor()), ("here", "process")):
        told = Told()
        (tmp_path / where).mkdir()
        context = tmp_path / where
        steps = (good, flaky, broken, late, killed, exits)
        # One at a time: a worker that is killed takes results with it that have not been fetched yet.
        workflow_of(*steps, context=context, listen=told).start(executor=executor, keep_going=True, max_workers=1)
        seen.append(dict(told.by_task))
    there, here = seen
    assert there["flaky"] == here["flaky"] != []
    assert there["good"][-1][:4] == ("TaskEnded", 1, "Completed", "success")
    assert [each[-1] for each in (there["late"][-1], there["exits"][-1])] == ["AttemptTimeout", "WorkerDied"]
    assert there == here


def test_values_travel_both_ways_also_of_classes_that_no_worker_can_import(client):
    @dataclass
    class Point:
        x: int

    @action
    def double(initial_context):
        return Point(initial_context.storage.x * 2)

    @action
    class Report:
        @action
        def lines(self, initial_context):
            return [initial_context.storage]

    workflow = workflow_of(double, Report, context=Point(4))
    workflow.start("parallel", executor=client.get_executor()).raise_for_status()
    doubled, report = workflow.result_storage()
    assert doubled == Point(8)
    assert [context.storage for context in report] == [[Point(4)]]


def test_where_and_when_an_attempt_ran_is_where_its_worker_is(client):
    pids = set(client.run(os.getpid).values())
    task = workflow_of(action(os.getpid)).start(executor=client.get_executor()).tasks[0]
    assert task.outcome.value in pids
    assert task.outcome.pid == task.outcome.value
    assert task.queued_at <= task.started_at <= task.finished_at


def test_the_same_step_with_the_same_context_runs_as_often_as_it_is_asked_for(client, tmp_path):
    @action
    def step(initial_context):
        leave_line(initial_context.storage)

    context = tmp_path / "lines"
    for _ in range(2):
        workflow_of(step, step, context=context).start("parallel", executor=client.get_executor()).raise_for_status()
    assert count_lines(tmp_path / "lines") == 4


def test_what_cannot_be_pickled_fails_its_own_task_without_a_retry(client):
    @action(retry=3)
    def unreadable():
        return threading.Lock()

    @action(retry=3)
    def unwritable(initial_context):
        return initial_context

    workflow = workflow_of(unreadable)
    workflow.task.add(step=unwritable, initial_context=threading.Lock())
    workflow.task.add(step=good, initial_context="fine")
    run = workflow.start("parallel", executor=client.get_executor(), keep_going=True)
    assert [errors_of(task) for task in run.tasks] == [[(1, "NotPicklable")], [(1, "NotPicklable")], []]
    assert "'unreadable' (of type lock)" in run.tasks[0].error.message


def test_much_data_travels_without_a_word(client):
    workflow = workflow_of(action(lambda initial_context: initial_context.storage * 2), context=b"x" * 12_000_000)
    workflow.start(executor=client.get_executor()).raise_for_status()  # a warning would be an error here
    assert len(workflow.result_storage()[0]) == 24_000_000


# --- workers that are lost


def test_a_lost_worker_is_a_failed_attempt_that_is_retried_and_the_other_worker_goes_on(client, signals, tmp_path):
    path, name = tmp_path / "lines", signals.name

    @action(retry=2, name="unlucky")
    def unlucky():
        leave_line(path)
        assert distributed.Event(f"{name}-begun").wait(LIMIT)
        if count_lines(path) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "well"

    def open_the_gate(event):
        if isinstance(event, events.TaskRetrying):
            signals.gate.set()

    steady = action(name="steady")(lambda: wait_at_the_gate(name))
    run = workflow_of(unlucky, steady, listen=open_the_gate).start("parallel", executor=client.get_executor())
    assert run.status == "Completed"
    assert [errors_of(task) for task in run.tasks] == [[(1, "WorkerDied")], []]
    assert "Dask worker" in run.tasks[0].errors[0].message
    assert count_lines(path) == 2


def test_a_step_whose_worker_is_lost_is_not_run_again_by_dask(client, tmp_path):
    @action
    def step(initial_context):
        leave_line(initial_context.storage)
        os.kill(os.getpid(), signal.SIGKILL)

    task = workflow_of(step, context=tmp_path / "lines").start(executor=client.get_executor()).tasks[0]
    assert (task.status, errors_of(task)) == ("Failed", [(1, "WorkerDied")])
    assert count_lines(tmp_path / "lines") == 1


def test_a_worker_that_dask_gives_up_for_is_a_failed_attempt_too(tmp_path):
    @action(retry=2)
    def step(initial_context):
        leave_line(initial_context.storage)
        os.kill(os.getpid(), signal.SIGKILL)

    impatient = local_cluster(n_workers=1, scheduler_kwargs={"allowed_failures": 0})
    with impatient, distributed.Client(impatient, set_as_default=False) as client:
        task = workflow_of(step, context=tmp_path / "lines").start(executor=client.get_executor()).tasks[0]
    assert errors_of(task) == [(1, "WorkerDied"), (2, "WorkerDied")]
    assert "KilledWorker" in task.errors[0].message
    assert count_lines(tmp_path / "lines") == 2


def test_a_step_whose_result_is_lost_is_not_run_again_by_dask(client, tmp_path):
    workflow = workflow_of(action(lambda initial_context: leave_line(initial_context.storage)))
    attempt = Attempt(next(iter(workflow.task)).spec, Context(tmp_path / "lines"), Context())
    payload = Packer(pickle_sides({})).pack(attempt)
    # What Dask does when a worker is lost between the end of a step and the fetching of its result.
    first, again = (client.submit(run_once, "dotflow-mark", payload, key=f"step-{n}").result(LIMIT) for n in range(2))
    assert read_report(first, "step").outcome.error is None
    assert again is None
    assert count_lines(tmp_path / "lines") == 1
    distributed.Event("dotflow-mark", client=client).clear()


# --- attempts that are given up


@pytest.mark.parametrize("most_watched", [200, 0])
def test_a_timeout_gives_the_attempt_up_and_the_run_goes_on_beside_it(client, signals, monkeypatch, most_watched):
    monkeypatch.setattr("dotflow.executors.dask._MOST_WATCHED", most_watched)
    name = signals.name
    stuck = action(timeout=0.3, name="stuck")(lambda: wait_at_the_gate(name))
    after = [action(timeout=LIMIT / 2, name=f"after-{n}")(lambda: "after") for n in range(4)]
    # As long as the step is stuck, one attempt at a time is handed out: so none waits behind it.
    run = workflow_of(stuck, *after).start("parallel", executor=client.get_executor(), keep_going=True)
    assert [str(task.result) for task in run.tasks] == ["timeout"] + ["success"] * 4
    assert not signals.gate.is_set()


def test_the_time_of_an_attempt_counts_from_its_begin_not_from_its_wait_for_a_worker(client, signals):
    name = signals.name
    stuck = action(timeout=2.5)(lambda: wait_at_the_gate(name))
    patient = action(timeout=2, name="patient")(lambda: "at last")

    def open_the_gate(event):
        if isinstance(event, events.TaskEnded):
            signals.gate.set()

    workflow = workflow_of(stuck, stuck, patient, listen=open_the_gate)  # two workers, all three handed out at once
    run = workflow.start("parallel", executor=client.get_executor(), max_workers=3, keep_going=True)
    results = [str(task.result) for task in run.tasks]
    assert "timeout" in results[:2]
    assert results[2] == "success"


def test_an_attempt_that_is_given_up_before_it_began_never_begins(client, signals, tmp_path):
    name, path = signals.name, tmp_path / "lines"

    def keep_busy(worker):
        distributed.Event(f"{name}-{worker}").set()
        distributed.Event(f"{name}-gate").wait(LIMIT)

    workers = list(client.nthreads())
    busy = [client.submit(keep_busy, worker, workers=[worker]) for worker in workers]
    assert all(getattr(signals, worker).wait(LIMIT) for worker in workers)
    handed_out = threading.Event()
    late_to_begin = action(timeout=LIMIT)(lambda: leave_line(path))

    def note(event):
        if isinstance(event, events.AttemptStarted):
            handed_out.set()

    workflow = workflow_of(late_to_begin, listen=note)
    run = workflow.start("background", executor=client.get_executor())
    assert handed_out.wait(LIMIT)
    run.cancel()
    assert str(run.wait(LIMIT).tasks[0].result) == "cancellation"
    signals.gate.set()
    client.gather(busy)
    client.run_on_scheduler(wait_until_no_marks)  # until it has had its turn
    assert count_lines(path) == 0


def test_a_cancelled_run_leaves_its_attempts_behind(client, signals):
    name = signals.name
    run = workflow_of(action(lambda: wait_at_the_gate(name)), good, context="").start(
        "background", executor=client.get_executor()
    )
    assert signals.begun.wait(LIMIT)
    run.cancel()
    run.wait(LIMIT)
    assert (str(run.result), [str(task.status) for task in run.tasks]) == ("cancellation", ["Failed", "Not started"])


# --- clients, clusters and their sizes


class Width:
    """How many attempts are handed out at a time."""

    def __init__(self):
        self.now = self.most = 0

    def __call__(self, event):
        self.now += isinstance(event, events.AttemptStarted) - isinstance(event, events.AttemptEnded)
        self.most = max(self.most, self.now)


@pytest.mark.parametrize(("max_workers", "most"), [(None, 2), (1, 1), (4, 4)])
def test_as_many_attempts_are_out_as_the_cluster_has_threads_or_as_is_said(client, max_workers, most):
    width = Width()
    workflow = workflow_of(*[good] * 6, context="", listen=width)
    workflow.start("parallel", executor=client.get_executor(), max_workers=max_workers).raise_for_status()
    assert width.most == most


def test_workers_that_come_during_the_run_get_their_share():
    def meet(mine, others):
        distributed.Event(mine).set()
        assert distributed.Event(others).wait(LIMIT)

    both = [action(lambda: meet("one", "two")), action(lambda: meet("two", "one"))]
    with local_cluster(n_workers=1) as growing, distributed.Client(growing, set_as_default=False) as client:

        def grow(event):
            if isinstance(event, events.AttemptStarted):
                growing.scale(2)

        run = workflow_of(*both, listen=grow).start("parallel", executor=client.get_executor())
        assert run.status == "Completed"


def test_two_runs_at_once_share_the_cluster_and_nothing_else(client, signals):
    name = signals.name

    def meet(mine, others):
        distributed.Event(f"{name}-{mine}").set()
        assert distributed.Event(f"{name}-{others}").wait(LIMIT)
        return mine

    executor = client.get_executor()
    one, two = workflow_of(action(lambda: meet("one", "two"))), workflow_of(action(lambda: meet("two", "one")))
    runs = [workflow.start("background", executor=executor) for workflow in (one, two)]
    assert [run.wait(LIMIT).status for run in runs] == ["Completed", "Completed"]
    assert [one.result_storage(), two.result_storage()] == [["one"], ["two"]]


@pytest.mark.parametrize("retry", [1, 2])
def test_a_client_that_is_closed_in_the_middle_fails_what_is_out(client, signals, retry):
    name = signals.name
    step = action(retry=retry)(lambda: wait_at_the_gate(name))
    run = workflow_of(step).start("background", executor=client.get_executor())
    assert signals.begun.wait(LIMIT)
    client.close()
    task = run.wait(LIMIT).tasks[0]
    assert errors_of(task) == [(attempt + 1, "WorkerDied") for attempt in range(retry)]


def test_a_cluster_that_goes_away_fails_what_is_out():
    vanishing = local_cluster(n_workers=1)
    with vanishing, distributed.Client(vanishing, set_as_default=False, timeout=1) as client:
        run = workflow_of(action(lambda: wait_at_the_gate("vanishing"))).start(
            "background", executor=client.get_executor()
        )
        assert distributed.Event("vanishing-begun", client=client).wait(LIMIT)
        vanishing.close()
        assert errors_of(run.wait(LIMIT).tasks[0]) == [(1, "WorkerDied")]


def test_an_executor_that_has_been_shut_down_takes_nothing(client):
    executor = client.get_executor()
    executor.shutdown()
    task = workflow_of(good, context="").start(executor=executor).tasks[0]
    assert errors_of(task) == [(1, "WorkerDied")]
    assert "has been shut down" in task.error.message


def test_an_executor_that_is_shut_down_in_the_middle_fails_what_is_out(client, signals):
    name = signals.name
    executor = client.get_executor()
    run = workflow_of(action(lambda: wait_at_the_gate(name))).start("background", executor=executor)
    assert signals.begun.wait(LIMIT)
    executor.shutdown(wait=False)
    assert errors_of(run.wait(LIMIT).tasks[0]) == [(1, "WorkerDied")]


def test_an_asynchronous_client_needs_start_async(cluster):
    async def program():
        async with distributed.Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            workflow = workflow_of(good, context="abc")
            with pytest.raises(InvalidOption, match="start_async"):
                workflow.start(executor=client.get_executor())
            return (await workflow.start_async(executor=client.get_executor())).status

    assert asyncio.run(program()) == "Completed"


def test_dask_is_imported_by_those_who_use_it():
    program = """
import sys
import dotflow
from concurrent.futures import ProcessPoolExecutor
from dotflow.executors.futures import workers_of
assert workers_of(ProcessPoolExecutor(3)) == 3
assert not {"distributed", "dask", "dotflow.executors.dask"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LIMIT)
