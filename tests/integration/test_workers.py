"""Worker processes that are forked, filled up and left behind: no run hangs, nothing is lost, nothing stays."""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from opentelemetry import trace

from dotflow import Config, DotFlow, action
from dotflow.events import (
    AttemptEnded,
    AttemptStarted,
)
from dotflow.providers import TracerOpenTelemetry
from support.otlp import OtlpEndpoint
from support.watched import (
    LIMIT,
    Watched,
    ends_of,
    good,
    is_alive,
    kill,
    sockets,
    until,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.usefixtures("mine"),
]

# --- what a step starts


def forked(child) -> int:
    """The exit status of a child that does this."""
    pid = os.fork()
    if pid == 0:
        child()
        return -1
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _raise():
    raise ValueError("in the child")


CHILDREN = {
    "_exit": (lambda: os._exit(7), 7),
    "return": (bool, 0),
    "raise": (_raise, 1),
    "exit": (lambda: sys.exit(3), 3),
}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("executor", ["process", "thread", "inline"])
@pytest.mark.parametrize("how", CHILDREN)
def test_the_child_of_a_step_that_forks_reports_nothing(watch, ledger, how, executor):
    child, status = CHILDREN[how]

    @action
    def step():
        ledger.note("before")
        code = forked(child)
        ledger.note("after")
        return code

    @action
    def later():
        ledger.note("later")

    run = watch(step, step, later, later).run(executor=executor, max_workers=1)
    assert ends_of(run) == ["ok"] * 4
    assert [task.current_context.storage for task in run.tasks[:2]] == [status, status]
    words = {word: len(ledger.pids(word)) for word in ("before", "after", "later")}
    assert words == {"before": 2, "after": 4 if how == "return" else 2, "later": 2}


def fork_a_child(note):
    if os.fork() == 0:
        stay(note)


def start_a_program(note):
    note(subprocess.Popen(["/bin/sleep", "600"]).pid)


def start_a_shell(note):
    note(int(subprocess.check_output("/bin/sleep 600 >&2 & echo $!", shell=True)))


def start_with_multiprocessing(note):
    multiprocessing.get_context("fork").Process(target=stay, args=(note,)).start()


def fork_a_child_that_leaves(note):
    if os.fork() == 0:
        os.setsid()
        stay(note)


def start_a_program_that_keeps_the_line(note):
    note(subprocess.Popen(["/bin/sleep", "600"], pass_fds=sockets(), start_new_session=True).pid)


def stay(note):
    note(os.getpid())
    while True:
        signal.pause()


STAYING = [fork_a_child, start_a_program, start_a_shell, start_with_multiprocessing]
LEAVING = [fork_a_child_that_leaves, start_a_program_that_keeps_the_line]  # a session of their own is nobody's to end


@pytest.mark.parametrize("how", ["dies", "is late", "is cancelled", "has ended"])
def test_what_steps_have_started_ends_with_their_workers(watch, mine, ledger, how):
    starts = STAYING if how == "is late" else STAYING + LEAVING

    def make(start):
        @action(name=start.__name__, timeout=0.5 if how == "is late" else 0)
        def step():
            start(functools.partial(ledger.note, start.__name__))
            ledger.await_pid(start.__name__)
            if how == "dies":
                os._exit(3)
            elif how != "has ended":
                signal.pause()

        return step

    watched = watch(*map(make, starts), good)
    run = watched.start_apart()
    if how == "is cancelled":
        for start in starts:
            ledger.await_pid(start.__name__)
        run.cancel()
    watched.check(run.wait(LIMIT))
    ended = {"dies": ["WorkerDied"], "is late": ["AttemptTimeout"], "is cancelled": ["AttemptCancelled"]}
    assert ends_of(run)[:-1] == [ended.get(how, "ok")] * len(starts)
    gone = [ledger.await_pid(start.__name__) for start in LEAVING if start in starts]
    if how == "has ended":
        assert all(map(is_alive, [ledger.await_pid(start.__name__) for start in STAYING]))
        watched.workflow.close()
    until(lambda: mine() <= {*gone, run.tasks[-1].current_context.storage})
    for pid in gone:
        kill(pid)


@pytest.mark.parametrize("daemon", [True, False])
def test_threads_that_a_step_leaves_behind_hold_nothing_up(watch, daemon):
    @action
    def step():
        threading.Thread(target=threading.Event().wait, daemon=daemon).start()
        return os.getpid()

    watched = watch(step)
    first, second = watched.run(), watched.run()
    assert ends_of(first) == ends_of(second) == ["ok"]
    assert first.tasks[0].current_context.storage == second.tasks[0].current_context.storage


# --- much, and much at once


def test_large_contexts_and_results(watch):
    value = os.urandom(1 << 20) * 50

    @action
    def step(initial_context):
        return initial_context.storage[::-1]

    run = watch(*[step] * 3, initial=value).run(max_workers=2)
    assert all(task.current_context.storage == value[::-1] for task in run.tasks)


@pytest.mark.long
def test_ten_thousand_tasks(watch):
    @action
    def step():
        return 1

    watched = watch(*[step] * 10_000)
    run = watched.run(max_workers=2)
    assert run.status == "Completed"
    assert len(watched.events) == 5 * 10_000 + 2


@pytest.mark.long
def test_workers_killed_at_random_moments(watch, mine):
    chance, killed = random.Random(2026), []

    @action(retry=21)
    def step():
        return sum(range(chance.randrange(200_000)))

    def listen(event):
        if isinstance(event, AttemptStarted | AttemptEnded) and len(killed) < 20 and chance.random() < 0.1:
            killed.append(chance.choice(sorted(mine()) or [0]))
            if killed[-1]:
                os.kill(killed[-1], signal.SIGKILL)

    run = watch(*[step] * 300, listen=listen).run(max_workers=4)
    assert run.status == "Completed"
    errors = [error for task in run.tasks for error in task.errors]
    # A worker that was idle, or had not read its attempt yet, fails none: how many were in the middle of one is chance.
    assert {error.exception for error in errors} <= {"WorkerDied"}
    assert len(errors) <= len(killed) == 20


def test_a_workflow_that_is_closed_in_the_middle_of_a_run(watch, mine, ledger):
    @action
    def step():
        ledger.note("step")
        ledger.await_pid("closed")

    watched = watch(step, step)
    run = watched.start_apart()
    ledger.await_pid("step")
    watched.workflow.close()
    ledger.note("closed")
    assert ends_of(run.wait(LIMIT)) == ["ok", "ok"]
    until(lambda: not mine())


def test_runs_of_one_workflow_at_the_same_time(watch, ledger):
    @action
    def step():
        ledger.note("step")
        until(lambda: len(set(ledger.pids("step"))) == 4)  # those of both runs are there together
        return os.getpid()

    watched = watch(*[step] * 20)
    runs = []
    threads = [
        threading.Thread(target=lambda: runs.append(watched.workflow.start("parallel", max_workers=2))) for _ in "12"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ends_of(run) for run in runs] == [["ok"] * 20] * 2
    one, other = ({task.current_context.storage for task in run.tasks} for run in runs)
    assert (len(one), len(other), one & other) == (2, 2, set())
    assert len(ledger.pids("step")) == 40
    for run in runs:
        watched.check(run)


def test_a_timeout_ends_only_its_own_worker(watch, ledger):
    @action(timeout=0.2, retry=2)
    def late():
        ledger.note("late")
        signal.pause()

    @action(timeout=LIMIT)
    def beside():
        ledger.note("beside")
        until(lambda: len(ledger.pids("late")) == 2 and not any(map(is_alive, ledger.pids("late"))))

    run = watch(late, beside).run(max_workers=2)
    assert ends_of(run) == [["AttemptTimeout"] * 2, "ok"]
    assert len(ledger.pids("beside")) == 1


# --- workers that wait for the next run


def test_they_are_used_again(watch, mine):
    watched = watch(good, good, good)
    used = [{task.current_context.storage for task in watched.run(max_workers=2).tasks} for _ in range(3)]
    assert used[0] | used[1] | used[2] == mine()
    assert len(mine()) == 2


CHANGES = {
    "environment": lambda patch, path: patch.setenv("CHANGED", "1"),
    "directory": lambda patch, path: patch.chdir(path),
    "path": lambda patch, path: patch.syspath_prepend(path),
    "arguments": lambda patch, path: patch.setattr(sys, "argv", ["changed"]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_under_other_surroundings_others_are_started(watch, mine, monkeypatch, tmp_path, what):
    @action
    def step():
        return os.getpid(), (dict(os.environ), Path.cwd(), sys.path, sys.argv)

    watched = watch(step)
    before, _ = watched.run().tasks[0].current_context.storage
    CHANGES[what](monkeypatch, tmp_path)
    after, surroundings = watched.run().tasks[0].current_context.storage
    assert before != after
    assert mine() == {after}
    assert os.environ.items() <= surroundings[0].items()
    assert surroundings[1:] == (Path.cwd(), sys.path, sys.argv)


def test_in_a_directory_that_was_removed(watch, monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert ends_of(watch(good).run()) == ["ok"]


def test_a_workflow_that_is_collected_ends_them(mine):
    watched = Watched([good, good])
    watched.run()
    assert mine()
    del watched
    gc.collect()
    assert not mine()


def test_what_a_step_says_appears_and_it_has_nothing_to_read(watch, capfd, ledger):
    @action(name="says")
    def step():
        sys.stdout.write("out\n")
        sys.stderr.write("error\n")
        assert sys.stdin.read() == ""
        os.kill(os.getpid(), signal.SIGKILL)

    assert ends_of(watch(step).run()) == [["WorkerDied"]]
    out, err = capfd.readouterr()
    assert out == "out\n"
    assert err.startswith("error\n")


# --- spans


def test_ids_stay_unique_where_steps_seed_the_random_numbers(watch):
    @action
    def step():
        random.seed(0)
        with trace.get_tracer("step").start_as_current_span("own"):
            random.seed(0)

    random.seed(0)
    with OtlpEndpoint() as endpoint:
        watched = watch(*[step] * 20, tracer=TracerOpenTelemetry(endpoint=endpoint.url))
        runs = [watched.run(max_workers=2) for _ in range(2)]
        watched.workflow.close()
    assert len({run.run_id for run in runs}) == 2
    assert len({span.span_id for span in endpoint.spans}) == len(endpoint.spans) == 2 * (1 + 20 + 20)
    assert {span.trace_id for span in endpoint.spans} == {run.run_id for run in runs}
    tasks = {span.span_id for span in endpoint.named("task step")}
    assert {span.parent_id for span in endpoint.named("own")} == tasks


def test_a_step_that_starts_a_parallel_run_itself(watch):
    @action(retry=2)
    def outer(initial_context):
        config = Config(tracer=TracerOpenTelemetry(endpoint=initial_context.storage))
        with DotFlow(config, name="inner") as workflow:
            workflow.task.add(step=[good, good])
            run = workflow.start("parallel", max_workers=2).raise_for_status()
        return run.run_id, [os.getpid(), *workflow.result_storage()]

    with OtlpEndpoint() as endpoint:
        watched = watch(outer, tracer=TracerOpenTelemetry(endpoint=endpoint.url), initial=endpoint.url)
        run = watched.run().raise_for_status()
        watched.workflow.close()
    _, pids = run.tasks[0].current_context.storage
    assert os.getpid() not in pids
    assert pids[0] not in pids[1:]
    attempt, inner = endpoint.one("attempt"), endpoint.one("workflow inner")
    assert (inner.parent_id, inner.trace_id) == (attempt.span_id, run.run_id)
    assert len(endpoint.children(inner)) == 2


def test_a_value_that_takes_too_long_to_load_is_late(watch):
    class Slow:
        def __reduce__(self):
            return time.sleep, (LIMIT,)

    @action(timeout=0.3)
    def takes(initial_context):
        return initial_context.storage

    run = watch(takes, initial=Slow()).run()
    assert ends_of(run) == [["AttemptTimeout"]]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_that_a_pool_imports_again_starts_no_second_run(tmp_path, method):
    """It is not guarded, as multiprocessing asks it to be; ours needs no guard."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from dotflow import Config, DotFlow, action

@action
def step():
    return 1

def tell(event):
    os.write(1, (type(event).__name__ + "\\n").encode())

pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r}))
workflow = DotFlow(Config(listeners=[tell]), name="w")
workflow.task.add(step)
print(workflow.start("parallel", executor=pool).tasks[0].errors[0].exception, flush=True)
pool.shutdown()
""")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.stdout.split().count("WorkflowStarted") == 1
    assert done.stdout.split()[-1] == "WorkerDied"
    assert "if __name__ == '__main__'" in done.stderr
