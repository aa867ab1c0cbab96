"""A program with a known load, for a Prometheus to scrape. Its metrics can be foreseen to the last count.

It serves `/metrics`, and goes on to its next phase with every line on its standard input:

1. `declared`: the workflows know their tasks, and nothing has run;
2. `loaded`: everything has run, and one run is still going on, which is held;
3. `released`: that run has ended, too.

Reaching a phase it prints a line of JSON with `phase` and what cannot be foreseen, for instance the ids of the runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.abc.notify import Notify
from dotflow.abc.server import Server
from dotflow.providers import (
    LogStructlog,
    MetricsPrometheus,
    SchedulerInterval,
    StorageFile,
    TracerOpenTelemetry,
)

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass

WAYS: dict[str, dict[str, Any]] = {
    "sequential": {"mode": "sequential"},
    "groups": {"mode": "sequential", "max_workers": 2},
    "parallel": {"mode": "parallel", "max_workers": 2},
    "thread": {"mode": "parallel", "executor": "thread", "max_workers": 2},
}
IN_WORKERS = ("groups", "parallel")  # where a step can be killed without its program

SICK_RUNS, HEALTHY_RUNS = 2, 1
TIMEOUT, DELAY = 0.2, 0.01  # seconds
TICKS, INTERVAL = 3, 0.05
RECORDED = 1200


# --- the load: in two runs its steps fail as they are meant to, in a third none does


@action(name="good")
def good():
    dotflow.record("rows_loaded", RECORDED)


@action(name="flaky", retry=3, retry_delay=DELAY)
def flaky(initial_context):
    marks = Path(initial_context.storage)
    attempt = len(list(marks.glob("flaky-*"))) + 1
    (marks / f"flaky-{attempt}").touch()
    if is_sick(marks) and attempt % 3:
        raise ConnectionError("not yet")


@action(name="bad", retry=2)
def bad(initial_context):
    if is_sick(initial_context.storage):
        raise ValueError("no good")


@action(name="slow", timeout=TIMEOUT)
def slow(initial_context):
    if is_sick(initial_context.storage):
        threading.Event().wait(LIMIT)


@action(name="killed", retry=2)
def killed(initial_context):
    if is_sick(initial_context.storage):
        os.kill(os.getpid(), signal.SIGKILL)


def is_sick(marks) -> bool:
    return not Path(marks, "healthy").exists()


class Program:
    """The workflows, one endpoint for all of them, and what is to be told of them."""

    def __init__(self, directory: Path, otlp: str) -> None:
        self.directory = directory
        self.metrics = MetricsPrometheus(port=0)
        self.facts: dict[str, Any] = {"url": self.metrics.url, "runs": {}}
        self._common = {
            "metrics": self.metrics,
            "tracer": TracerOpenTelemetry("known-load", endpoint=otlp),
            "log": LogStructlog(format="json", output=directory / "log.jsonl"),
        }
        self._open = ExitStack()

    def workflow(self, name: str, workflow_id: str | None = None, **providers: Any) -> DotFlow:
        config = Config(**{**self._common, **providers})
        return self._open.enter_context(DotFlow(config, name=name, workflow_id=workflow_id))

    def main(self) -> None:
        with self._open:
            loads = {way: self._load(way) for way in WAYS}
            others = [self._resumed(), self._unheard(), self._lost(), scheduled := self._scheduled()]
            held, gate = self._held()
            self._reach("declared")
            for way, workflow in loads.items():
                self._run_load(way, workflow)
            for run in others:
                run()
            self.facts["skipped"] = scheduled.skipped
            run = held.start("background")
            assert gate.wait_until_held(LIMIT)
            self._reach("loaded")
            gate.open()
            run.wait(LIMIT)
            self._reach("released")

    def _reach(self, phase: str) -> None:
        sys.stdout.write(json.dumps({**self.facts, "phase": phase, "time": time.time()}) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()

    def _load(self, way: str) -> DotFlow:
        marks = self.directory / way
        marks.mkdir()
        workflow = self.workflow(way)
        steps = [good, flaky, bad, slow, *([killed] if way in IN_WORKERS else [])]
        for number, step in enumerate(steps):
            group = f"group-{number % 2}" if way == "groups" else "default"
            workflow.task.add(step, initial_context=str(marks), group_name=group)
        return workflow

    def _run_load(self, way: str, workflow: DotFlow) -> None:
        runs = []
        for number in range(SICK_RUNS + HEALTHY_RUNS):
            if number == SICK_RUNS:
                (self.directory / way / "healthy").touch()
            runs.append(workflow.start(keep_going=True, **WAYS[way]))
        self.facts["runs"][way] = [run.run_id for run in runs]

    def _resumed(self):
        """One run fails at its second task; the next one takes the first from the storage."""
        marks = self.directory / "resumed"
        marks.mkdir()
        workflow = self.workflow("resumed", workflow_id="resumed", storage=StorageFile(self.directory / "storage"))
        workflow.task.add([good, bad], initial_context=str(marks))

        def run() -> None:
            workflow.start()
            (marks / "healthy").touch()
            workflow.start(resume=True)

        return run

    def _unheard(self):
        """Every call of its notifier fails."""
        workflow = self.workflow("unheard", notify=Failing())
        workflow.task.add(good)
        return workflow.start

    def _lost(self):
        """Nobody listens where its spans go."""
        tracer = TracerOpenTelemetry(endpoint=f"http://127.0.0.1:{unused_port()}", shutdown_timeout=0.5)
        workflow = self.workflow("lost", tracer=tracer)
        workflow.task.add(good)
        return workflow.start

    def _scheduled(self) -> Scheduled:
        scheduler = SchedulerInterval(INTERVAL)
        workflow = self.workflow("scheduled", scheduler=scheduler)
        return Scheduled(workflow, scheduler)

    def _held(self) -> tuple[DotFlow, Gate]:
        """Its task, and the calls of its server, wait at a gate."""
        gate = Gate()
        workflow = self.workflow("held", server=Gated(gate))

        @action(name="hold")
        def hold():
            gate.pass_through("step")

        workflow.task.add(hold)
        return workflow, gate


class Scheduled:
    """A workflow that ticks `TICKS` times; its first run is so long that a tick is skipped."""

    def __init__(self, workflow: DotFlow, scheduler: SchedulerInterval) -> None:
        self._workflow = workflow
        self._scheduler = scheduler
        self._ticks = 0

        @action(name="tick")
        def tick():
            self._tick()

        workflow.task.add(tick)

    def __call__(self) -> None:
        self._workflow.schedule()

    @property
    def skipped(self) -> dict[str, int]:
        return self._scheduler.skipped

    def _tick(self) -> None:
        self._ticks += 1
        deadline = time.monotonic() + LIMIT
        while self._ticks == 1 and not self.skipped["overlap"] and time.monotonic() < deadline:
            time.sleep(INTERVAL / 10)  # polled until a tick has been skipped, or the deadline
        if self._ticks == TICKS:
            self._scheduler.stop()


class Gate:
    """Holds a step and a server until it is opened."""

    def __init__(self) -> None:
        self._held = {who: threading.Event() for who in ("step", "server")}
        self._opened = threading.Event()

    def pass_through(self, who: str) -> None:
        self._held[who].set()
        assert self._opened.wait(LIMIT)

    def wait_until_held(self, timeout: float) -> bool:
        return all(held.wait(timeout) for held in self._held.values())

    def open(self) -> None:
        self._opened.set()


class Gated(Server):
    """A server whose first call waits at the gate; `QUEUED` of its calls wait behind it until then."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def create_workflow(self, workflow) -> None:
        self._gate.pass_through("server")

    def create_task(self, task) -> None:
        """Of the one task of `held`."""

    def update_workflow(self, workflow, status="") -> None:
        """When the run starts."""

    def update_task(self, task) -> None:
        """When the task starts."""


QUEUED = 3


class Failing(Notify):
    """A notifier that cannot."""

    def hook_status_task(self, task) -> None:
        raise OSError("no such channel")


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


# --- the other side: the program as the test holds it


@dataclass(frozen=True)
class Phase:
    """What the program said when it reached a phase: its name, the Unix time, and facts that cannot be foreseen."""

    name: str
    time: float
    facts: dict[str, Any]


class KnownLoad:
    """The program, running from `with` on in the phase `declared`; ended if it has not ended itself."""

    def __init__(self, directory: Path, otlp: str) -> None:
        self._command = [sys.executable, "-u", __file__, str(directory), otlp]
        self._err = directory / "stderr"  # a file: a pipe that nobody reads would hold the program up

    def __enter__(self) -> KnownLoad:
        with self._err.open("w") as err:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True
            )
        self._watchdog = threading.Timer(3 * LIMIT, self._process.kill)
        self._watchdog.start()
        self.phase = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        """Of its `/metrics`."""
        return self.phase.facts["url"]

    def go_on(self) -> Phase:
        """Let it go on, and wait until it is in its next phase."""
        self._send()
        self.phase = self._read()
        return self.phase

    def end(self) -> tuple[int, str]:
        """Let it end; its exit status, and what it wrote to standard error."""
        self._process.communicate("\n", timeout=LIMIT)
        return self._process.returncode, self._err.read_text()

    def _send(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _read(self) -> Phase:
        line = self._process.stdout.readline()
        assert line, f"the program ended: {self._err.read_text()}"
        facts = json.loads(line)
        return Phase(facts.pop("phase"), facts.pop("time"), facts)


if __name__ == "__main__":
    Program(Path(sys.argv[1]), sys.argv[2]).main()
