"""A workflow that is watched by the tests about its worker processes, and what they look at."""

from __future__ import annotations

import array
import fcntl
import functools
import os
import re
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from dotflow import Config, DotFlow, action
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
from dotflow.executors import workers
from dotflow.testing import Calls, RecordingMetrics, RecordingTracer

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


def sockets() -> list[int]:
    """The descriptors of this process that are sockets: in a worker, its line."""
    links = {int(entry.name): str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}
    return [number for number, target in links.items() if target.startswith("socket:")]


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


@action(name="good")
def good():
    return os.getpid()


def ends_of(run) -> list:
    return [[error.exception for error in task.errors] or "ok" for task in run.tasks]
