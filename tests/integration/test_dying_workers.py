"""Worker processes that are killed, and steps that end them: a run goes on, an attempt fails, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import threading
from contextlib import suppress

import pytest

from dotflow import action
from dotflow.events import (
    AttemptStarted,
    TaskEnded,
    TaskRetrying,
)
from support.watched import (
    BIG,
    LIMIT,
    Ledger,
    ends_of,
    good,
    is_alive,
    kill,
    sockets,
    unread,
    until,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.usefixtures("mine"),
]

# --- a worker dies

DEATHS = {
    "was killed by SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "was killed by SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "exited with status 0": lambda: os._exit(0),
    "exited with status 3": lambda: os._exit(3),
    "by SIGKILL during": lambda: os.execv("/bin/sleep", ["sleep", "600"]),  # ended with the line
}


@pytest.mark.parametrize("retry", [1, 2])
@pytest.mark.parametrize("how", DEATHS)
def test_in_the_middle_of_a_step_only_its_own_attempt_fails(watch, ledger, how, retry):
    die = DEATHS[how]

    @action(retry=retry)
    def victim():
        ledger.await_pid("beside")
        if ledger.note("victim") == 1:
            die()
        return "survived"

    @action
    def beside():
        ledger.note("beside")
        until(lambda: not is_alive(ledger.await_pid("victim")))

    @action
    def other():
        ledger.note("other")

    run = watch(victim, beside, *[other] * 6).run(max_workers=2)
    assert ends_of(run) == [["WorkerDied"], *["ok"] * 7]
    assert how in run.tasks[0].errors[0].message
    assert run.tasks[0].status == ("Failed" if retry == 1 else "Completed")
    assert run.tasks[0].current_context.storage == (None if retry == 1 else "survived")
    assert [len(ledger.pids(word)) for word in ("victim", "beside", "other")] == [retry, 1, 6]
    assert run.tasks[0].outcome.pid == ledger.pids("victim")[-1]


def test_during_the_wait_for_the_retry_of_its_task(watch, ledger):
    @action(retry=2, retry_delay=0.01)
    def step():
        if ledger.note("step") == 1:
            raise ConnectionError

    def listen(event):
        if isinstance(event, TaskRetrying):
            kill(ledger.await_pid("step"))

    run = watch(step, listen=listen).run()
    assert ends_of(run) == [["ConnectionError"]]
    assert run.status == "Completed"
    assert len(set(ledger.pids("step"))) == 2


def test_while_it_is_idle_and_the_run_goes_on(watch, ledger):
    @action
    def first():
        ledger.note("first")

    @action
    def long():
        until(lambda: ledger.pids("third"))

    @action
    def third():
        ledger.note("third")

    def listen(event):
        if isinstance(event, TaskEnded) and event.task.task_id == "first":
            kill(ledger.await_pid("first"))

    assert ends_of(watch(first, long, third, listen=listen).run(max_workers=2)) == ["ok"] * 3
    assert ledger.pids("first") != ledger.pids("third")


def test_while_it_waits_for_the_next_run(watch, mine):
    watched = watch(good, good)
    watched.run()
    before = mine()
    kill(before.copy().pop())
    assert ends_of(watched.run()) == ["ok", "ok"]
    assert len(mine() & before) == 1


@pytest.mark.parametrize("timeout", [0, LIMIT])
def test_with_an_attempt_that_it_has_not_read_yet(watch, mine, timeout):
    step = action(timeout=timeout)(os.getpid)
    watched = watch(step)
    watched.run()
    (worker,) = mine()
    os.kill(worker, signal.SIGSTOP)

    def kill_when_it_was_sent():
        until(lambda: unread(termios.TIOCOUTQ) > 0)
        kill(worker)

    killing = threading.Thread(target=kill_when_it_was_sent)
    killing.start()
    run = watched.run()
    killing.join()
    assert ends_of(run) == ["ok"]
    assert run.tasks[0].current_context.storage not in (worker, None)


def test_that_dies_of_what_it_is_sent_is_given_it_twice_and_no_more(watch, mine, ledger):
    """Each worker is killed before it has read what it got, as one is that runs out of memory while it reads."""

    def serve():
        while not done.is_set():
            for worker in mine():
                with suppress(ProcessLookupError):  # the engine has been faster
                    kill(worker)
                    ledger.note("killed", worker)

    done = threading.Event()
    killing = threading.Thread(target=serve)
    killing.start()
    watched = watch(good, initial=bytes(BIG))
    run = watched.run()
    done.set()
    killing.join()
    assert ends_of(run) == [["WorkerDied"]]
    assert len(set(ledger.pids("killed"))) == 2


class Deadly:
    """Kills the worker that takes it apart, or the one that makes it again: once."""

    def __init__(self, moment: str, ledger: Ledger, coordinator: int) -> None:
        self.moment, self.ledger, self.coordinator = moment, ledger, coordinator

    def __getstate__(self):
        self._at("sent")
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._at("received")

    def _at(self, moment: str) -> None:
        if moment == self.moment and os.getpid() != self.coordinator and self.ledger.note(moment) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("retry", [1, 2])
@pytest.mark.parametrize("moment", ["sent", "received"])
def test_while_a_value_is_taken_apart_or_made_again_in_it(watch, ledger, moment, retry):
    deadly = Deadly(moment, ledger, os.getpid())

    @action(retry=retry)
    def step(initial_context):
        return initial_context.storage

    run = watch(step, initial=[bytes(BIG), deadly]).run()
    assert ends_of(run) == [["WorkerDied"]]
    assert run.status == ("Failed" if retry == 1 else "Completed")
    assert len(set(ledger.pids(moment))) == retry  # one that travels by value is taken apart twice


def test_while_a_large_result_is_on_its_way(watch, ledger):
    @action
    def first():
        return None

    @action(retry=2)
    def sender():
        ledger.note("sender")
        ledger.await_pid("first-ended")
        return bytes(BIG)

    def listen(event):
        if isinstance(event, TaskEnded) and event.task.task_id == "first":
            ledger.note("first-ended")
            until(lambda: unread(termios.FIONREAD) > 10_000)
            kill(ledger.await_pid("sender"))

    run = watch(first, sender, listen=listen).run(max_workers=2)
    assert ends_of(run) == ["ok", ["WorkerDied"]]
    assert run.tasks[1].current_context.storage == bytes(BIG)


def test_while_a_large_context_is_on_its_way(watch, mine):
    @action
    def step(initial_context):
        return len(initial_context.storage)

    def listen(event):
        if isinstance(event, AttemptStarted) and event.task.task_id == "step-2":
            (pid,) = mine()
            kill(pid)

    run = watch(step, step, initial=bytes(BIG), listen=listen).run(max_workers=2)
    assert ends_of(run) == ["ok", "ok"]
    assert [task.current_context.storage for task in run.tasks] == [BIG, BIG]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_when_it_is_to_end_in_order(watch, mine, number):
    watched = watch(good)
    watched.run()
    (pid,) = mine()
    os.kill(pid, number)
    watched.workflow.close()
    assert not is_alive(pid)


# --- a step ends the program, or spoils what the worker needs

LEAVES = {
    "SystemExit": sys.exit,
    "SystemExit(3)": lambda: sys.exit(3),
    "KeyboardInterrupt": lambda: signal.default_int_handler(signal.SIGINT, None),
    "SIGINT": lambda: signal.raise_signal(signal.SIGINT),
}


@pytest.mark.parametrize("executor", ["process", "thread"])
@pytest.mark.parametrize("how", LEAVES)
def test_what_ends_a_program_only_fails_the_attempt(watch, ledger, how, executor):
    if (how, executor) == ("SIGINT", "thread"):
        pytest.skip("SKIPPED: it goes to the main thread, which is the coordinator's")
    leave = LEAVES[how]

    @action(retry=2)
    def step():
        if ledger.note("step") == 1:
            leave()

    run = watch(step, good).run(executor=executor)
    assert ends_of(run) == [["KeyboardInterrupt" if how == "SIGINT" else how.partition("(")[0]], "ok"]
    assert run.status == "Completed"


def test_in_line_it_ends_the_run(watch):
    watched = watch(action(name="leaves")(sys.exit), good)
    with pytest.raises(SystemExit):
        watched.run(executor="inline")
    assert [task.status for task in watched.workflow.task.latest.tasks] == ["Failed", "Not started"]


SPOILS = {
    "closes all files": lambda: os.closerange(3, 256),
    "writes to its line": lambda: [os.write(line, b"Done.") for line in sockets() * 10],
    "closes the standard streams": lambda: [os.close(number) or setattr(sys, "stdout", None) for number in range(3)],
}


@pytest.mark.parametrize("how", SPOILS)
def test_a_step_that_spoils_what_its_worker_needs_harms_no_other(watch, how):
    spoil = SPOILS[how]

    @action(retry=2)
    def step():
        spoil()

    run = watch(step, good, good, good).run(max_workers=2)
    assert ends_of(run) == ["ok" if "streams" in how else ["WorkerDied"] * 2, "ok", "ok", "ok"]


@pytest.mark.parametrize("executable", ["/no/such/python", "", None, "/bin/false"])
def test_where_no_worker_can_be_started_every_attempt_says_so(watch, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    run = watch(action(retry=2)(lambda: None), good).run()
    assert ends_of(run) == [["WorkerDied"] * 2, ["WorkerDied"]]
    expected = "exited with status 1" if executable == "/bin/false" else "no worker process could be started: "
    assert all(expected in error.message for task in run.tasks for error in task.errors)


# --- the coordinator dies

_COORDINATOR = """
import os, re, threading, time
from dotflow import DotFlow, action

@action
def holds_the_lock():
    print(os.getpid(), flush=True)
    re.match("(a+)+$", "a" * 40 + "b")  # for years, without letting go of the interpreter's lock

@action
def waits():
    print(os.getpid(), flush=True)
    time.sleep(600)

def fork_a_child_that_lives_on():
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    print(child, flush=True)

workflow = DotFlow(name="w")
workflow.task.add({step})
run = threading.Thread(target=workflow.start, kwargs=dict(executor="process"))
run.start()
{then}
run.join()
"""


@pytest.mark.parametrize("step", ["waits", "holds_the_lock"])
def test_a_worker_ends_with_its_coordinator_whatever_its_step_does(step):
    program = _COORDINATOR.format(step=step, then="")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as coordinator:
        worker = int(coordinator.stdout.readline())
        assert is_alive(worker)
        coordinator.kill()
        until(lambda: not is_alive(worker))


def test_also_when_a_forked_child_of_the_coordinator_lives_on():
    """The child has a copy of every line, which would look to the worker as if its coordinator were still there."""
    program = _COORDINATOR.format(step="waits", then="input(); fork_a_child_that_lives_on()")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], **pipes) as coordinator:
        worker = int(coordinator.stdout.readline())
        print(file=coordinator.stdin, flush=True)
        child = int(coordinator.stdout.readline())
        coordinator.kill()
        until(lambda: not is_alive(worker))
        assert is_alive(child)
        os.kill(child, signal.SIGKILL)
