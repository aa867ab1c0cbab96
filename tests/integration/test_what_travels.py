"""What goes to a worker and comes back: steps and values of every kind, and a clear word on those that cannot."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from dotflow import DotFlow, TypeStatus, action

LIMIT = 60


def start(*added, **how):
    """Run `(step, initial context)` pairs in worker processes; the run and the results."""
    with DotFlow(name="travel") as workflow:
        for step, initial in added:
            workflow.task.add(step=step, initial_context=initial)
        run = workflow.start(**{"mode": "parallel", "max_workers": 2, "keep_going": True, **how})
        return run, workflow.result_storage()


@action
def echo(initial_context):
    return initial_context.storage


@action(name="returns a lock", retry=3)
def returns_a_lock():
    return threading.Lock()


def refers_to_a_lock():
    lock = threading.Lock()

    @action(name="refers to a lock", retry=3)
    def step():
        return lock.locked()

    return step


class CannotBeRead:
    """Pickles, and cannot be made again where it arrives in `where`."""

    def __init__(self, home: int, *, at_home: bool) -> None:
        self.home, self.at_home = home, at_home

    def __reduce__(self):
        return _make_again, (self.home, self.at_home)


def _make_again(home, at_home):
    if (os.getpid() == home) == at_home:
        raise LookupError("no such thing here")
    return CannotBeRead(home, at_home=at_home)


@pytest.mark.parametrize(
    ("step", "initial", "said"),
    [
        (refers_to_a_lock(), None, ["step 'refers to a lock' cannot be sent to a worker", "lock"]),
        (returns_a_lock, None, ["the result of step 'returns a lock' (of type lock) cannot be sent back"]),
        (echo, threading.Lock(), ["the initial context of 'echo' (of type lock) cannot be sent to a worker"]),
        (echo, (n for n in ()), ["the initial context of 'echo' (of type generator)", "generator"]),
        (echo, CannotBeRead(os.getpid(), at_home=False), ["step 'echo' or its context cannot be loaded in the worker"]),
        (echo, CannotBeRead(os.getpid(), at_home=True), ["the result of step 'echo' cannot be read where the run was"]),
    ],
    ids=["step", "result", "lock", "generator", "not to be read there", "not to be read here"],
)
def test_what_cannot_travel_fails_its_own_task_once_and_says_what_and_why(step, initial, said):
    run, results = start((step, initial), (echo, "fine"))
    task, other = run.tasks
    assert [error.exception for error in task.errors] == ["NotPicklable"]  # a retry could not go better
    for words in said:
        assert words in task.error.message
    assert "executor='thread'" in task.error.message
    assert (other.status, results[1]) == (TypeStatus.COMPLETED, "fine")


def test_a_previous_context_that_cannot_travel():
    @action(name="makes")
    def makes():
        return CannotBeRead(home, at_home=False)

    @action(name="takes")
    def takes(previous_context):
        return previous_context.storage

    home = os.getpid()
    run, _ = start((makes, None), (takes, None), mode="sequential_group")
    assert run.tasks[0].error is None
    assert "step 'takes' or its context cannot be loaded in the worker" in run.tasks[1].error.message


def test_steps_of_every_kind():
    here = "a closure"

    class Local:
        def __init__(self, value):
            self.value = value

    @action(name="closure")
    def closure():
        return Local(here)

    @action
    class Steps:
        @action
        async def one(self):
            return 1

        @action
        def two(self, previous_context):
            return previous_context.storage + 1

    def scaled(factor, initial_context):
        return factor * initial_context.storage

    steps = [
        (closure, None),
        (action(lambda initial_context: initial_context.storage + 1, name="lambda"), 1),
        (Steps, None),
        (action(functools.partial(scaled, 3), name="partial"), 2),
    ]
    run, results = start(*steps)
    run.raise_for_status()
    assert isinstance(results[0], Local)
    assert results[0].value == "a closure"
    assert results[1] == 2
    assert [context.storage for context in results[2]] == [1, 2]
    assert results[3] == 6


def test_a_module_that_no_worker_could_import_by_its_name(tmp_path):
    file = tmp_path / "flow.py"
    file.write_text(
        "from dotflow import action\nFACTOR = 7\ndef times(n): return FACTOR * n\n@action\ndef step(initial_context): return times(initial_context.storage)\n"
    )
    spec = importlib.util.spec_from_file_location("a_name_that_is_nowhere", file)
    module = sys.modules["a_name_that_is_nowhere"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        run, results = start((module.step, 6))
    finally:
        del sys.modules["a_name_that_is_nowhere"]
    run.raise_for_status()
    assert results == [42]


SCRIPT = """
from dataclasses import dataclass
from dotflow import DotFlow, action

print("the script runs")

@dataclass
class Point:
    x: int

OFFSET = 10

@action
def shift(initial_context):
    return Point(initial_context.storage.x + OFFSET)

def main():
    with DotFlow() as workflow:
        for x in range(3):
            workflow.task.add(shift, initial_context=Point(x))
        workflow.start("parallel", max_workers=2).raise_for_status()
        assert workflow.result_storage() == [Point(10), Point(11), Point(12)]
        assert all(type(point) is Point for point in workflow.result_storage())
        print(workflow.name)

"""


def test_a_traceback_names_the_file_and_the_line_of_the_script(tmp_path):
    script = tmp_path / "pipeline.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        from dotflow import DotFlow, action

        @action
        def bad():
            rows = {}
            return rows["no such row"]

        def main():
            with DotFlow() as workflow:
                workflow.task.add(bad)
                for executor in ("inline", "process"):
                    print(workflow.start(executor=executor).tasks[0].error.traceback)

        main()
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout.count(f'File "{script}", line 8, in bad') == 2
    assert done.stdout.count('return rows["no such row"]') == 2


@pytest.mark.parametrize("end", ["main()", "if __name__ == '__main__':\n    main()"], ids=["unguarded", "guarded"])
def test_a_script_runs_once_whether_it_has_a_guard_or_not(tmp_path, end):
    (tmp_path / "points.py").write_text(SCRIPT + end)
    done = subprocess.run(
        [sys.executable, "points.py"], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.stdout.split("\n")[:2], done.stderr) == (["the script runs", "points"], "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_coordinator_and_so_does_what_their_steps_have_started(tmp_path, number):
    program = textwrap.dedent(
        """
        import os, signal, subprocess, sys
        from dotflow import DotFlow, action

        @action
        def step():
            child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
            os.write(1, f"{os.getpid()} {child.pid}\\n".encode())
            signal.pause()

        workflow = DotFlow()
        workflow.task.add([step, step])
        workflow.start("parallel", max_workers=2)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        pids = [int(pid) for _ in range(2) for pid in process.stdout.readline().split()]
        process.send_signal(number)
        # The pipe closes when the last process that has it is gone: this hangs as long as one of them lives.
        process.communicate(timeout=LIMIT)
    assert len(pids) == 4
    latest = time.monotonic() + LIMIT
    while any(_is_alive(pid) for pid in pids):  # a process closes its files a moment before it is gone
        assert time.monotonic() < latest
        time.sleep(0.01)


def _is_alive(pid):
    """Whether it is still there, and not only because nobody has asked how it ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Counted:
    """A value that counts how often this process takes it apart for another."""

    pickled = 0

    def __getstate__(self):
        type(self).pickled += 1
        return {"value": 1}


@pytest.mark.parametrize("how", ["consumers", "items"])
def test_a_value_with_several_consumers_is_pickled_once(how):
    Counted.pickled = 0
    workflow = DotFlow()
    workflow.task.add(action(lambda: [1, 2, 3]), name="source", after=[])
    if how == "items":
        value = Counted()
        workflow.task.add(
            action(lambda n, value: type(value).__name__),
            name="item",
            after="source",
            each=True,
            params={"value": value},
        )
    else:

        def make():
            return Counted()

        workflow.task.add(action(make), name="value", after=[])
        for number in range(3):
            workflow.task.add(action(lambda value: type(value).__name__), name=f"user-{number}", after="value")
    run = workflow.start("parallel", executor="process", max_workers=2)
    assert run.raise_for_status().status == "Completed"
    assert Counted.pickled == 1
