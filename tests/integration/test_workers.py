"""Worker processes that are killed, forked, filled up and left behind: no run hangs, nothing is lost, nothing stays."""

from __future__ import annotations

import array
import fcntl
import functools
import gc
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry import trace

from dotflow import Config, DotFlow, action
from dotflow.engine import workers
from dotflow.events import (
    AttemptEnded,
    AttemptStarted,
    TaskEnded,
    TaskQueued,
    TaskRetrying,
    TaskStarted,
    WorkflowEnded,
    WorkflowStarted,
)
from dotflow.providers import TracerOpenTelemetry
from dotflow.testing import Calls, RecordingMetrics, RecordingTracer
from support.otlp import OtlpEndpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
BIG = 50 << 20
LETTERS = dict(
    zip((TaskQueued, TaskStarted, AttemptStarted, AttemptEnded, TaskRetrying, TaskEnded), "qsaert", strict=True)
)


def until(condition):
    """Wait for what another process or thread is about to do."""
    deadline = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.005)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
    until(lambda: not is_alive(pid))


def unread(direction: int) -> int:
    """How many bytes of the coordinator's lines nobody has read yet: of workers (`FIONREAD`) or to them (`TIOCOUTQ`)."""
    sizes = [array.array("i", [0]) for _ in workers._lines]
    for line, size in zip(workers._lines, sizes, strict=True):
        fcntl.ioctl(line, direction, size)
    return sum(size[0] for size in sizes)


def processes(mark: bytes) -> set[int]:
    """Those that were started by this test, however indirectly, or that are children of this process."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() or mark in (folder / "environ").read_bytes():
                found.add(int(folder.name))
    return found


class Ledger:
    """A file that is only ever appended to: what was done, and by which process."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def note(self, word: str, pid: int = 0) -> int:
        """Write it down; returns how often it is there now."""
        with open(self.path, "a") as file:  # noqa: PTH123
            file.write(f"{word} {pid or os.getpid()}\n")
        return len(self.pids(word))

    def pids(self, word: str) -> list[int]:
        try:
            lines = Path(self.path).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [int(pid) for found, pid in map(str.split, lines) if found == word]

    def await_pid(self, word: str) -> int:
        return until(lambda: self.pids(word))[0]


class Watched:
    """A workflow whose events are kept, and held against what is promised of them after every run."""

    def __init__(self, steps, *, initial=None, listen=None, **config) -> None:
        self.events, self.calls = [], Calls()
        tracer, metrics = RecordingTracer(self.calls), RecordingMetrics(self.calls)
        listeners = [self.events.append, *([listen] if listen else [])]
        config = Config(**{"tracer": tracer, "metrics": metrics, **config}, listeners=listeners)
        self.workflow = DotFlow(config, name="w")
        for step in steps:
            self.workflow.task.add(step=step, initial_context=initial)

    def run(self, mode="parallel", **start):
        run = self.workflow.start(mode, keep_going=True, **start).wait(LIMIT)
        self.check(run)
        return run

    def start_apart(self):
        """Start it in another thread; returns the run."""
        start = functools.partial(self.workflow.start, "parallel", keep_going=True, max_workers=8)
        threading.Thread(target=start, name="apart").start()
        return until(lambda: self.events)[0].run

    def check(self, run) -> None:
        events = [event for event in self.events if event.run is run]
        assert [type(events[0]), type(events[-1])] == [WorkflowStarted, WorkflowEnded]
        assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
        letters = dict.fromkeys((task.task_id for task in run.tasks), "")
        for event in events[1:-1]:
            letters[event.task.task_id] += LETTERS[type(event)]
        for task in run.tasks:
            order = "q?" if task.status == "Not started" else "qs(aer)*aet"
            assert re.fullmatch(order, letters[task.task_id]), (task, letters[task.task_id])
            assert letters[task.task_id].count("a") == task.attempt == len(task.errors) + (task.status == "Completed")
        ended = sum(isinstance(event, TaskEnded) for event in self.events)
        counts = Counter(self.calls.names())
        assert counts["metrics.task_completed"] + counts["metrics.task_failed"] == ended
        if isinstance(self.workflow.config.tracer, RecordingTracer):
            assert counts["tracer.start_task"] == counts["tracer.end_task"] == ended


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    """What the test has started, as process ids. All of it is gone when the workflows are closed, and so are threads."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("MARK_OF_THE_TEST", mark)
    threads, before = set(threading.enumerate()), processes(mark.encode())

    def find() -> set[int]:
        return processes(mark.encode()) - before

    yield find
    until(lambda: not find())
    until(lambda: set(threading.enumerate()) <= threads)
    assert not [line for line in workers._lines if line.fileno() >= 0]


@pytest.fixture
def watch(mine):
    made = []

    def make(*steps, **options) -> Watched:
        made.append(Watched(steps, **options))
        return made[-1]

    yield make
    for watched in made:
        watched.workflow.close()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


@action(name="good")
def good():
    return os.getpid()


def ends_of(run) -> list:
    return [[error.exception for error in task.errors] or "ok" for task in run.tasks]


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
    assert len(ledger.pids(moment)) == retry


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


def sockets() -> list[int]:
    """The descriptors of this process that are sockets: in a worker, its line."""
    links = {int(entry.name): str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}
    return [number for number, target in links.items() if target.startswith("socket:")]


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


def test_ten_thousand_tasks(watch):
    @action
    def step():
        return 1

    watched = watch(*[step] * 10_000)
    run = watched.run(max_workers=2)
    assert run.status == "Completed"
    assert len(watched.events) == 5 * 10_000 + 2


def test_workers_killed_at_random_moments(watch, mine):
    chance, killed = random.Random(2026), []

    @action(retry=21)
    def step():
        return sum(range(chance.randrange(20_000)))

    def listen(event):
        if isinstance(event, AttemptStarted | AttemptEnded) and len(killed) < 20 and chance.random() < 0.1:
            killed.append(chance.choice(sorted(mine()) or [0]))
            if killed[-1]:
                os.kill(killed[-1], signal.SIGKILL)

    run = watch(*[step] * 300, listen=listen).run(max_workers=4)
    assert run.status == "Completed"
    errors = [error for task in run.tasks for error in task.errors]
    assert {error.exception for error in errors} == {"WorkerDied"}
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
