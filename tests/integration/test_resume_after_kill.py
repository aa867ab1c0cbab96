"""`kill -9` of the coordinator at random moments: each resume completes, and nothing that was finished runs twice.

The moments come from a seed that a failing test prints: `RESUME_SEED=... pytest ...` draws the same ones again.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from typing import NamedTuple

import pytest

from dotflow.errors import StorageError
from dotflow.names import spans as names
from dotflow.providers import StorageFile
from support.otlp import OtlpEndpoint

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
SEED = int(os.environ.get("RESUME_SEED") or secrets.randbits(32))
TASKS = [f"step-{number}" for number in range(8)]
GROUPS = {"sequential": 1, "parallel": 1, "sequential_group": 2}
KILLS = {  # 50 in all
    ("sequential", "json"): 9,
    ("sequential", "pickle"): 8,
    ("parallel", "json"): 9,
    ("parallel", "pickle"): 8,
    ("sequential_group", "json"): 8,
    ("sequential_group", "pickle"): 8,
}

_PROGRAM = """
    import json, os, sys, time, types
    from dotflow import Config, DotFlow, action
    from dotflow.events import TaskEnded, TaskRestored, WorkflowStarted
    from dotflow.providers import StorageFile, TracerOpenTelemetry

    options = json.loads(sys.argv[1])

    def note(word, what):
        descriptor = os.open(options["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{options['epoch']} {word} {what}\\n".encode())
        os.close(descriptor)

    def value_of(marks):
        fields = {"marks": marks, "ballast": "x" * 2000}
        return fields if options["serializer"] == "json" else types.SimpleNamespace(**fields)

    def marks_of(value):
        return value["marks"] if options["serializer"] == "json" else value.marks

    def step(number):
        @action(name=f"step-{number}")
        def run(initial_context, previous_context):
            note("begin", f"step-{number}")
            time.sleep(60 if number == options["blocks_at"] else 0.015)
            before = () if previous_context.is_empty else marks_of(previous_context.storage)
            note("end", f"step-{number}")
            return value_of((*before, (initial_context.storage, number)))
        return run

    def listen(event):
        if isinstance(event, WorkflowStarted):
            earlier = event.run.continues
            note("starts", event.run.run_id)
            note("continues", f"{earlier.trace_id}/{earlier.span_id}" if earlier else "nothing")
        elif isinstance(event, TaskRestored):
            note("restored", event.task.task_id)
        elif isinstance(event, TaskEnded):
            note("kept", event.task.task_id)

    config = Config(
        storage=StorageFile(options["storage"], serializer=options["serializer"]),
        tracer=TracerOpenTelemetry(endpoint=options["endpoint"]) if options["endpoint"] else None,
        listeners=[listen],
    )
    workflow = DotFlow(config, name="killed", workflow_id="w-1")
    for number in range(8):
        group = f"group-{number % options['groups']}"
        workflow.task.add(step(number), initial_context=options["generation"], group_name=group)
    run = workflow.start(mode=options["mode"], resume=options["resume"], max_workers=2)
    print(json.dumps([run.status, run.result, [marks_of(value) for value in workflow.result_storage()]]))
"""


class Line(NamedTuple):
    """What a process of this epoch has noted. Epochs count the coordinators; their workers note under the same one."""

    epoch: int
    word: str
    what: str


class Process:
    """A run of the program. Its workers hold its `stdout` too, which ends when the last of them is gone."""

    def __init__(self, command, epoch, stderr, holds) -> None:
        self.epoch, self.holds, self._stderr = epoch, holds, stderr
        self._out: bytes | None = None
        with stderr.open("wb") as file:
            self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file)

    def kill(self) -> bool:
        """Whether it was this that ended it. Its workers end by themselves: a moment later, which is waited for."""
        self._popen.send_signal(signal.SIGKILL)
        self.wait()
        return self._popen.returncode == -signal.SIGKILL

    def wait(self):
        """Until the last worker is gone too; what the program has printed, if it came to that."""
        if self._out is None:
            self._out, _ = self._popen.communicate(timeout=LIMIT)
        return json.loads(self._out) if self._out else None

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()


class Workflow:
    """A resumable workflow, the processes that ran it, and what they have left.

    Each plain start is a new `generation`, whose input and results differ from those of the one before.
    """

    def __init__(self, directory, mode, serializer, endpoint="") -> None:
        directory.mkdir()
        self.mode, self.endpoint = mode, endpoint
        self.storage = StorageFile(directory / "kept", serializer=serializer)
        self.generation = 0
        self.damaged: set[str] = set()
        self._directory = directory
        self._processes: list[Process] = []
        self._first_epoch = 0
        (directory / "program.py").write_text(textwrap.dedent(_PROGRAM))
        (directory / "ledger").touch()

    def __enter__(self) -> Workflow:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    # --- processes

    def begin(self, *, resume: bool, blocks_at: int = -1) -> Process:
        epoch = len(self._processes)
        if not resume:
            self.generation += 1
            self._first_epoch = epoch
        options = {
            "epoch": epoch,
            "generation": self.generation,
            "mode": self.mode,
            "groups": GROUPS[self.mode],
            "serializer": self.storage.serializer,
            "storage": str(self.storage.path),
            "ledger": str(self._directory / "ledger"),
            "endpoint": self.endpoint,
            "resume": resume,
            "blocks_at": blocks_at,
        }
        command = [sys.executable, str(self._directory / "program.py"), json.dumps(options)]
        process = Process(command, epoch, self._directory / f"stderr-{epoch}", self._what_holds(self.finished()))
        self._processes.append(process)
        return process

    def run_to_the_end(self) -> float:
        """A whole run; the seconds that it took, with the start of the interpreter."""
        began = time.monotonic()
        assert self.begin(resume=False).wait() == self._all_results()
        return time.monotonic() - began

    def is_killed_after(self, seconds: float, *, resume: bool) -> bool:
        """Start a process and kill it so many seconds later; whether it had not ended by itself."""
        process = self.begin(resume=resume)
        time.sleep(seconds)
        was_killed = process.kill()
        assert set(self.noted("kept", process.epoch)) <= self.finished()
        return was_killed

    def kill_at_the_last_task(self) -> None:
        """Start a process whose last task does not end, and kill it when all others have."""
        last = len(TASKS) - 1
        process = self.begin(resume=False, blocks_at=last)
        guard = time.monotonic() + LIMIT
        while len(self.noted("kept", process.epoch)) < last or TASKS[last] not in self.noted("begin", process.epoch):
            assert time.monotonic() < guard, process.stderr
            time.sleep(0.005)
        assert process.kill()
        assert self.finished() == set(TASKS[:last])

    def _what_holds(self, finished: set[str]) -> set[str]:
        """Of what was finished, what was made of results that are still there: none of them was made again since."""
        if self.mode == "parallel":
            return finished
        holds = set()
        for group in range(GROUPS[self.mode]):
            latest = None
            for task in TASKS[group :: GROUPS[self.mode]]:
                made = self.storage.get(f"w-1:{task}").time if task in finished else None
                if made is None or (latest is not None and made < latest):
                    break
                latest = made
                holds.add(task)
        return holds

    def resume_to_the_end(self) -> None:
        """Continue what was killed: it completes, and exactly what was not finished has run."""
        record = self.record()
        process = self.begin(resume=True)
        assert process.wait() == self._all_results(), process.stderr
        assert sorted(self.noted("restored", process.epoch)) == sorted(process.holds)
        assert sorted(self.noted("begin", process.epoch)) == sorted(set(TASKS) - process.holds)
        continued = f"{record['trace_id']}/{record['span_id']}" if record else "nothing"
        assert self.noted("continues", process.epoch) == [continued]
        reports = process.stderr.splitlines()
        assert [line for line in reports if "runs again, its checkpoint cannot be used" not in line] == []
        assert sorted(line.split()[1] for line in reports) == sorted(self.damaged)
        assert self.finished() == set(TASKS)
        assert not self.damaged
        self._check_all_processes()

    def _check_all_processes(self) -> None:
        for process in self._processes:
            process.wait()
            begun = self.noted("begin", process.epoch)
            assert len(begun) == len(set(begun))
            if process.epoch > self._first_epoch:
                assert not process.holds & set(begun), f"finished tasks ran again in epoch {process.epoch}"
        newest = 0
        for line in self._ledger():
            newest = max(newest, line.epoch if line.word == "starts" else 0)
            assert line.epoch == newest or line.word == "starts", f"{line} after epoch {newest} has begun"

    # --- what they have left

    def noted(self, word: str, epoch: int) -> list[str]:
        return [line.what for line in self._ledger() if (line.word, line.epoch) == (word, epoch)]

    def _ledger(self) -> list[Line]:
        found = (line.split() for line in (self._directory / "ledger").read_text().splitlines())
        return [Line(int(epoch), word, what) for epoch, word, what in found]

    def record(self):
        return self.storage.get_run("w-1").storage

    def has_begun(self) -> bool:
        """Whether a resume continues this generation: a record of it is there, or nothing at all of an older one."""
        record = self.record()
        if record is None:
            return True
        return any(record["run_id"] in self.noted("starts", p.epoch) for p in self._processes[self._first_epoch :])

    def finished(self) -> set[str]:
        """The tasks of this generation whose checkpoints are there; each one is whole and holds what it should."""
        return {task for task in TASKS if self._is_finished(task)}

    def _is_finished(self, task: str) -> bool:
        try:
            context = self.storage.get(f"w-1:{task}")
        except StorageError:
            assert task in self.damaged
            return False
        self.damaged.discard(task)
        if context.is_empty:
            return False
        value = context.storage
        marks = value["marks"] if self.storage.serializer == "json" else value.marks
        generation = marks[0][0]
        assert marks == self.marks_of(task, generation)
        return generation == self.generation

    def damage(self, task: str, kind: str, moments: random.Random) -> None:
        file = self.storage.file(f"w-1:{task}")
        file.write_bytes(DAMAGES[kind](file.read_bytes(), moments))
        self.damaged.add(task)

    def marks_of(self, task: str, generation: int) -> tuple[tuple[int, int], ...]:
        """What is in the result of a task: its own mark, behind those of the tasks before it in its group."""
        number, groups = TASKS.index(task), GROUPS[self.mode]
        before = () if self.mode == "parallel" else range(number % groups, number, groups)
        return tuple((generation, each) for each in (*before, number))

    def _all_results(self):
        marks = [self.marks_of(task, self.generation) for task in TASKS]
        return ["Completed", "success", json.loads(json.dumps(marks))]


def flip_a_bit(data: bytes, moments: random.Random) -> bytes:
    at = moments.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << moments.randrange(8)]) + data[at + 1 :]


DAMAGES = {
    "emptied": lambda data, moments: b"",
    "cut off": lambda data, moments: data[: moments.randrange(1, len(data))],
    "without its last byte": lambda data, moments: data[:-1],
    "a bit flipped": flip_a_bit,
    "zeros": lambda data, moments: bytes(len(data)),
    "written twice": lambda data, moments: data * 2,
}


@pytest.fixture
def moments(request):
    request.node.add_report_section("call", "seed", f"RESUME_SEED={SEED} draws the same again")
    return random.Random(f"{SEED} {request.node.name}")


def test_there_are_fifty_kills():
    assert sum(KILLS.values()) == 50


@pytest.mark.long
@pytest.mark.parametrize(("mode", "serializer"), KILLS)
def test_after_kills_at_random_moments_a_resume_completes(tmp_path, moments, mode, serializer):
    with Workflow(tmp_path / "measured", mode, serializer) as measured:
        length = measured.run_to_the_end()
    left = KILLS[mode, serializer]
    with Workflow(tmp_path / "killed", mode, serializer) as workflow:
        while left:
            left -= kill_in_a_row(workflow, min(moments.randint(1, 4), left), length, moments)
            if workflow.has_begun():
                workflow.resume_to_the_end()


def kill_in_a_row(workflow: Workflow, count: int, length: float, moments: random.Random) -> int:
    """Start it, and kill it and its resumes so many times, unless one is faster; how many were killed."""
    resume = False
    for number in range(count):
        if not workflow.is_killed_after(moments.uniform(0, length), resume=resume):
            return number
        resume = workflow.has_begun()
        finished = sorted(workflow.finished())
        if resume and finished and moments.random() < 0.4:
            workflow.damage(moments.choice(finished), moments.choice(sorted(DAMAGES)), moments)
    return count


@pytest.mark.parametrize("serializer", ["json", "pickle"])
@pytest.mark.parametrize("mode", GROUPS)
def test_what_is_damaged_after_a_kill_is_reported_and_runs_again(tmp_path, moments, mode, serializer):
    with Workflow(tmp_path / "damaged", mode, serializer) as workflow:
        workflow.kill_at_the_last_task()
        for task, kind in zip(moments.sample(TASKS[:-1], len(DAMAGES)), DAMAGES, strict=True):
            workflow.damage(task, kind, moments)
        assert len(workflow.finished()) == 1
        workflow.resume_to_the_end()


@pytest.mark.parametrize("mode", GROUPS)
def test_the_trace_of_the_resumed_run_is_linked_to_the_one_that_was_killed(tmp_path, mode):
    with OtlpEndpoint() as endpoint, Workflow(tmp_path / "traced", mode, "json", endpoint.url) as workflow:
        workflow.kill_at_the_last_task()
        killed = workflow.record()
        workflow.resume_to_the_end()
        resumed = workflow.record()
    root = endpoint.one("workflow killed")
    assert root.links == [(killed["trace_id"], killed["span_id"])]
    assert root.trace_id == resumed["run_id"] != killed["trace_id"] == killed["run_id"]
    results = {span.name: span.attributes[names.RESULT] for span in endpoint.children(root)}
    assert results == {f"task {task}": "restored" if task != TASKS[-1] else "success" for task in TASKS}
