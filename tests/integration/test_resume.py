"""A run that continues an earlier one: in the same process, in another, and after a kill."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from dotflow import Config, DotFlow, action
from dotflow.errors import InputChanged, InvalidChoice, StorageNotPersistent, StorageUnavailable
from dotflow.events import TaskEnded, TaskRestored, TaskStarted
from dotflow.names import spans as names
from dotflow.providers import LogStructlog, MetricsPrometheus, StorageFile, TracerOpenTelemetry
from dotflow.testing import Calls, FakeClock, RecordingNotify, RecordingServer, RecordingStorage
from support.otlp import OtlpEndpoint

_NOON = 1_800_000_000 * 10**9
_HOUR = 3600 * 10**9


class Pipeline:
    """Three steps in a row, of which the second fails as long as `broken` is set. Each `start` is as in a new process."""

    def __init__(self, storage, **config) -> None:
        self.storage = storage
        self.config = config
        self.ran: list[str] = []
        self.broken = True

    def workflow(self, day: str = "monday", **config) -> DotFlow:
        @action
        def extract(initial_context):
            self.ran.append("extract")
            return {"day": initial_context.storage, "rows": (1, 2)}

        @action
        def transform(previous_context):
            self.ran.append("transform")
            if self.broken:
                raise ValueError("not today")
            return [*previous_context.storage["rows"], 3]

        @action
        def load(previous_context):
            self.ran.append("load")
            return len(previous_context.storage)

        workflow = DotFlow(Config(storage=self.storage, **self.config, **config), name="etl", workflow_id="w-1")
        workflow.task.add(extract, initial_context=day).add(step=[transform, load])
        return workflow

    def start(self, day: str = "monday", clock=None, **options):
        self.ran.clear()
        return self.workflow(day, **{"clock": clock} if clock else {}).start(**options)


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(StorageFile(tmp_path / "kept"))


def statuses(run) -> list[str]:
    return [f"{task.status}/{task.result}" if task.result else str(task.status) for task in run.tasks]


def test_finished_tasks_are_taken_from_the_storage_and_the_others_run(pipeline):
    first = pipeline.start()
    assert statuses(first) == ["Completed/success", "Failed/failure", "Not started/upstream_failed"]
    pipeline.broken = False
    second = pipeline.start(resume=True)
    assert pipeline.ran == ["transform", "load"]
    assert statuses(second) == ["Completed/restored", "Completed/success", "Completed/success"]
    assert [task.current_context.storage for task in second.tasks] == [{"day": "monday", "rows": (1, 2)}, [1, 2, 3], 3]
    assert (second.trigger, first.trigger) == ("resume", "manual")
    assert "restored" in second.tree()


def test_a_run_that_was_complete_runs_nothing_again(pipeline):
    pipeline.broken = False
    pipeline.start()
    again = pipeline.start(resume=True)
    assert pipeline.ran == []
    assert (again.status, again.result) == ("Completed", "success")
    assert again.tasks[2].current_context.storage == 3


def test_a_plain_start_runs_everything(pipeline):
    pipeline.start()
    pipeline.start()
    assert pipeline.ran == ["extract", "transform"]


def test_checkpoints_of_an_older_run_are_not_taken_for_those_of_the_latest(pipeline):
    pipeline.broken = False
    pipeline.start()
    pipeline.broken = True
    pipeline.start("tuesday")
    pipeline.broken = False
    run = pipeline.start("tuesday", resume=True)
    assert pipeline.ran == ["transform", "load"]
    assert run.tasks[0].current_context.storage["day"] == "tuesday"


def test_an_older_run_is_told_by_its_id_and_not_by_clocks(pipeline):
    pipeline.broken = False
    pipeline.start(clock=FakeClock(_NOON + _HOUR))  # on a machine whose clock is fast
    pipeline.broken = True
    pipeline.start("tuesday", clock=FakeClock(_NOON))
    pipeline.broken = False
    run = pipeline.start("tuesday", resume=True, clock=FakeClock(_NOON))
    assert pipeline.ran == ["transform", "load"]
    assert run.tasks[0].current_context.storage["day"] == "tuesday"


def test_what_was_finished_where_the_clock_is_slow_is_finished(pipeline):
    pipeline.start(clock=FakeClock(_NOON))
    pipeline.broken = False
    pipeline.start(resume=True, clock=FakeClock(_NOON - _HOUR))
    again = pipeline.start(resume=True, clock=FakeClock(_NOON))
    assert pipeline.ran == []
    assert statuses(again) == ["Completed/restored"] * 3


def test_a_result_of_another_workflow_under_the_same_key_is_not_taken(tmp_path):
    def run(workflow_id, name, **options):
        workflow = DotFlow(Config(storage=StorageFile(tmp_path)), name="w", workflow_id=workflow_id)
        workflow.task.add(action(lambda: workflow_id), name=name)
        workflow.start(**options).raise_for_status()
        return workflow.result_storage()

    assert run("a", "b:t") == ["a"]
    assert run("a:b", "t", resume=True) == ["a:b"]


def test_a_storage_that_forgets_whose_a_result_is_leaves_the_clocks(tmp_path):
    class Forgetful(StorageFile):
        def get(self, key):
            found = super().get(key)
            found.origin = None
            return found

    pipeline = Pipeline(Forgetful(tmp_path))
    pipeline.broken = False
    pipeline.start(clock=FakeClock(_NOON - _HOUR))
    pipeline.broken = True
    pipeline.start("tuesday", clock=FakeClock(_NOON))
    pipeline.broken = False
    pipeline.start("tuesday", resume=True, clock=FakeClock(_NOON + _HOUR))
    assert pipeline.ran == ["transform", "load"]


def test_a_resume_can_be_resumed(pipeline):
    pipeline.start()
    pipeline.start(resume=True)
    assert pipeline.ran == ["transform"]
    pipeline.broken = False
    pipeline.start(resume=True)
    assert pipeline.ran == ["transform", "load"]


def test_with_nothing_to_continue_everything_runs(pipeline):
    pipeline.broken = False
    assert pipeline.start(resume=True).status == "Completed"
    assert pipeline.ran == ["extract", "transform", "load"]


def test_an_input_that_changed_is_reused_reset_or_raised(pipeline, caplog):
    pipeline.start("monday")
    pipeline.broken = False
    caplog.clear()
    with pytest.raises(InputChanged, match=r"initial context of extract differs from that of run [0-9a-f]{32}"):
        pipeline.start("tuesday", resume=True, on_input_change="raise")
    assert pipeline.ran == []
    assert not caplog.records
    reused = pipeline.start("tuesday", resume=True, on_input_change="reuse")
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "dotflow"]
    assert re.match(r"task extract keeps its result of run [0-9a-f]{32} although its input has changed", warning)
    assert pipeline.ran == ["transform", "load"]
    assert reused.tasks[0].current_context.storage["day"] == "monday"
    rerun = pipeline.start("thursday", resume=True)
    assert pipeline.ran == ["extract", "transform", "load"]
    assert [task.reason for task in rerun.tasks] == [
        "runs again: its input changed",
        *["runs again: a parent ran again"] * 2,
    ]
    reset = pipeline.start("wednesday", resume=True, on_input_change="reset")
    assert pipeline.ran == ["extract", "transform", "load"]
    assert reset.tasks[0].current_context.storage["day"] == "wednesday"


def test_an_input_that_did_not_change_is_neither_reset_nor_raised(pipeline):
    pipeline.start()
    for on_input_change in ("reset", "raise"):
        pipeline.start(resume=True, on_input_change=on_input_change)
        assert pipeline.ran == ["transform"]


def test_a_fingerprint_of_the_users_decides_what_a_change_is(pipeline):
    pipeline.start("monday", fingerprint=lambda value: "same")
    pipeline.start("tuesday", resume=True, on_input_change="raise", fingerprint=lambda value: "same")
    assert pipeline.ran == ["transform"]


def test_bad_input_is_refused_before_anything_runs(pipeline):
    with pytest.raises(
        InvalidChoice, match="on_input_change='ask' is not known: use one of 'rerun', 'reset', 'raise', 'reuse'"
    ):
        pipeline.start(resume=True, on_input_change="ask")
    with pytest.raises(StorageNotPersistent, match=r"StorageDefault has nothing.*StorageFile"):
        Pipeline(None).start(resume=True)
    assert pipeline.ran == []


def test_in_the_same_process_memory_is_enough():
    pipeline = Pipeline(None)
    workflow = pipeline.workflow()
    workflow.start()
    pipeline.broken = False
    workflow.start(resume=True)
    assert pipeline.ran == ["extract", "transform", "transform", "load"]


def test_a_storage_of_the_bare_contract_is_enough():
    pipeline = Pipeline(RecordingStorage())
    pipeline.start()
    pipeline.broken = False
    pipeline.start(resume=True)
    assert pipeline.ran == ["transform", "load"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda data: b"", lambda data: data.replace(b"monday", b"sunday")]
)
def test_a_damaged_checkpoint_is_told_and_its_task_runs_again(pipeline, caplog, damage):
    pipeline.start()
    file = pipeline.storage.file("w-1:extract")
    file.write_bytes(damage(file.read_bytes()))
    pipeline.broken = False
    assert pipeline.start(resume=True).status == "Completed"
    assert pipeline.ran == ["extract", "transform", "load"]
    assert "task extract runs again, its checkpoint cannot be used" in caplog.text


@pytest.mark.parametrize("error", [StorageUnavailable, ConnectionRefusedError, TimeoutError])
def test_a_storage_that_does_not_answer_fails_the_task_and_what_had_ended_well_does_not_run_again(tmp_path, error):
    class Unreliable(StorageFile):
        def get(self, key):
            if key == "w-1:extract":
                raise error("no answer")
            return super().get(key)

    events: list[str] = []
    pipeline = Pipeline(Unreliable(tmp_path), listeners=[lambda event: events.append(type(event).__name__)])
    pipeline.broken = False
    pipeline.start()
    events.clear()
    run = pipeline.start(resume=True)
    assert pipeline.ran == []
    assert statuses(run) == ["Failed/failure", "Not started/upstream_failed", "Not started/upstream_failed"]
    (told,) = run.tasks[0].errors
    assert (told.exception, told.message, told.attempt) == (error.__name__, "no answer", 1)
    of_task = ["TaskQueued", "TaskStarted", "AttemptStarted", "AttemptEnded", "TaskEnded"]
    assert events == ["WorkflowStarted", *of_task, "TaskSkipped", "TaskSkipped", "WorkflowEnded"]


def test_a_checkpoint_that_cannot_be_read_fails_its_task(pipeline):
    pipeline.broken = False
    pipeline.start()
    file = pipeline.storage.file("w-1:transform")
    file.unlink()
    file.mkdir()
    run = pipeline.start(resume=True)
    assert pipeline.ran == []
    assert statuses(run) == ["Completed/restored", "Failed/failure", "Not started/upstream_failed"]
    assert run.tasks[1].errors[0].exception == "StorageUnavailable"


def test_a_restored_task_is_restored_and_neither_started_nor_ended(tmp_path):
    calls, events, metrics = Calls(), [], MetricsPrometheus()
    pipeline = Pipeline(
        StorageFile(tmp_path),
        notify=RecordingNotify(calls),
        server=RecordingServer(calls),
        metrics=metrics,
        listeners=[events.append],
    )
    pipeline.start()
    calls.clear()
    events.clear()
    pipeline.broken = False
    pipeline.start(resume=True)
    of_extract = [type(event) for event in events if getattr(event, "task", None) and event.task.task_id == "extract"]
    assert TaskRestored in of_extract
    assert not {TaskStarted, TaskEnded} & set(of_extract)
    assert calls.names(of_task="extract") == ["server.create_task", "server.update_task"]

    def value(series: str, task: str) -> float | None:
        return metrics.registry.get_sample_value(series, {"workflow": "etl", "task": task})

    assert value("dotflow_task_restored_total", "extract") == 1
    assert value("dotflow_task_started_total", "extract") == 1
    assert value("dotflow_task_active", "extract") == 0


def test_the_resumed_run_is_a_trace_of_its_own_linked_to_the_earlier_one(tmp_path):
    with OtlpEndpoint() as endpoint:
        tracer = TracerOpenTelemetry(endpoint=endpoint.url)
        pipeline = Pipeline(StorageFile(tmp_path), tracer=tracer)
        first = pipeline.start()
        pipeline.broken = False
        second = pipeline.start(resume=True)
        tracer.close(5)
    earlier, later = endpoint.named("workflow etl")
    assert (earlier.trace_id, later.trace_id) == (first.run_id, second.run_id)
    assert (earlier.links, later.links) == ([], [(earlier.trace_id, earlier.span_id)])
    assert later.attributes[names.RUN_TRIGGER] == "resume"
    (restored,) = [span for span in endpoint.named("task extract") if span.trace_id == second.run_id]
    assert restored.attributes[names.RESULT] == "restored"
    assert restored.start_ns == restored.end_ns
    assert restored.parent_id == later.span_id


_PROGRAM = """
    import sys, time
    from pathlib import Path
    from dotflow import Config, DotFlow, action
    from dotflow.providers import StorageFile

    here = Path(sys.argv[1])

    def step(number):
        @action(name=f"step-{number}")
        def run(previous_context):
            with (here / "ran.txt").open("a") as ran:
                ran.write(f"{number}\\n")
            print(number, flush=True)
            time.sleep(0.005)
            return [*(previous_context.storage or []), (number, "x" * 2000)]
        return run

    workflow = DotFlow(Config(storage=StorageFile(here / "kept")), name="killed", workflow_id="w-1")
    workflow.task.add(step=[step(number) for number in range(12)])
    run = workflow.start(resume=True).raise_for_status()
    assert run.tasks[-1].current_context.storage == [(number, "x" * 2000) for number in range(12)]
    print("complete", flush=True)
"""


@pytest.mark.parametrize("seed", range(6))
def test_after_a_kill_at_a_random_moment_another_process_continues(tmp_path, seed):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM))
    moments = random.Random(seed)
    command = [sys.executable, str(program), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line, _ in zip(process.stdout, range(moments.randint(1, 11)), strict=False):
            last_seen = int(line)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    storage = StorageFile(tmp_path / "kept")
    finished = [number for number in range(12) if not storage.get(f"w-1:step-{number}").is_empty]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    ran = [int(line) for line in (tmp_path / "ran.txt").read_text().split()]
    assert last_seen in ran
    # What was finished ran once; what was interrupted, once more; and nothing was skipped.
    assert sorted(set(ran)) == list(range(12))
    assert [number for number in finished if ran.count(number) != 1] == []
    assert len(ran) <= 13


def test_what_is_told_of_a_restored_task_names_the_trace_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    with OtlpEndpoint() as endpoint:
        config = {
            "tracer": TracerOpenTelemetry(endpoint=endpoint.url),
            "log": LogStructlog("INFO", "json", tmp_path / "log"),
        }
        pipeline = Pipeline(StorageFile(tmp_path / "kept"), **config)
        pipeline.start()
        run = pipeline.start(resume=True)
        config["log"].close(1.0)
        config["tracer"].close(5.0)
        root, restored = endpoint.named("workflow etl")[-1], endpoint.named("task extract")[-1]
    assert (run.trace_id, run.run_id == run.trace_id) == ("ab" * 16, False)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (line,) = [line for line in lines if line["event"] == "task.restored"]
    assert (line["trace_id"], line["span_id"]) == (run.trace_id, root.span_id)
    assert (restored.attributes[names.RESULT], restored.attributes[names.TASK_STATUS]) == ("restored", "Completed")


def test_another_process_continues_where_one_failed(tmp_path):
    program = textwrap.dedent(_PROGRAM).replace("time.sleep(0.005)", "assert number != 7 or len(sys.argv) > 2")
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "step-7: AssertionError" in failed.stderr
    done = subprocess.run([*command, "mended"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["7", "8", "9", "10", "11", "complete"], done.stderr
    assert (tmp_path / "ran.txt").read_text().split().count("7") == 2
