"""A workflow and its runs: order, failures, groups, callbacks, ids, and what can be asked before and after."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from dotflow import Config, Context, DotFlow, Task, action
from dotflow.errors import DotflowError, RunFailed
from dotflow.testing import FakeClock, RecordingTracer, SequentialIds
from support.workflows import good, statuses, workflow_of

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass


@action
def zero():
    return 0


@action
def bad():
    raise ValueError("no good")


# --- after a failure


def test_nothing_new_starts_after_a_failure():
    workflow = workflow_of(good, bad, good)
    run = workflow.start()
    assert statuses(run) == ["Completed", "Failed", "Not started"]
    assert (run.status, run.result, run.failed) == ("Failed", "failure", True)
    assert workflow.result_storage() == [1, None, None]
    assert run.tasks[2].started_at is run.tasks[2].finished_at is run.tasks[2].duration is None


def test_keep_going_goes_on_with_what_takes_nothing_of_the_task_that_failed():
    workflow = workflow_of(bad, zero, good, bad, good)
    run = workflow.start(keep_going=True)
    assert statuses(run) == ["Failed", "Completed", "Completed", "Failed", "Not started"]
    assert [str(task.result) for task in run.tasks] == ["failure", "success", "success", "failure", "upstream_failed"]
    assert workflow.result_storage() == [None, 0, 1, None, None]
    assert run.failed
    assert run.tasks[1].previous_context == Context()


def test_a_failure_is_written_down_as_text():
    (task,) = workflow_of(bad).start().tasks
    (error,) = task.errors
    assert (error.attempt, error.exception, error.message) == (1, "ValueError", "no good")
    assert 'raise ValueError("no good")' in error.traceback
    assert "dotflow/engine" not in error.traceback
    assert "dotflow/executors" not in error.traceback
    assert task.error is error


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("broken")


def test_an_exception_that_cannot_be_printed_is_only_a_failure():
    @action(name="mute")
    def mute():
        raise NoText

    (task,) = workflow_of(mute).start().tasks
    assert task.error.exception == "NoText"
    assert "RuntimeError in __str__" in task.error.message


def test_a_step_that_recurses_without_end_only_fails():
    @action
    def endless():
        return endless()

    run = workflow_of(endless, zero).start(keep_going=True)
    assert run.tasks[0].error.exception == "RecursionError"
    assert statuses(run) == ["Failed", "Completed"]


def test_raise_for_status_names_the_tasks_that_failed():
    good_run = workflow_of(good).start()
    assert good_run.raise_for_status() is good_run
    with pytest.raises(RunFailed, match=r"'w' failed \(failure\): bad: ValueError: no good$") as caught:
        workflow_of(good, bad).start().raise_for_status()
    assert isinstance(caught.value, (DotflowError, RuntimeError))


# --- retries


def test_every_failed_attempt_is_kept_and_retries_are_counted():
    left = [ValueError("one"), KeyError("two")]

    @action(retry=5, retry_delay=10, backoff=True)
    def flaky():
        if left:
            raise left.pop(0)
        return "ok"

    clock = FakeClock()
    (task,) = workflow_of(flaky, clock=clock).start().tasks
    assert (task.status, task.attempt, task.retry_count) == ("Completed", 3, 2)
    assert [(error.attempt, error.exception) for error in task.errors] == [(1, "ValueError"), (2, "KeyError")]
    assert clock.waits == [10, 20]
    assert task.duration == 30


@pytest.mark.parametrize("delay", [0, 1.5, 9e299])
def test_thousands_of_retries_with_a_doubling_delay_do_not_overflow(delay):
    @action(retry=1100, retry_delay=delay, backoff=True)
    def hopeless():
        raise ValueError

    (task,) = workflow_of(hopeless, clock=FakeClock()).start().tasks
    assert (task.status, task.attempt, len(task.errors)) == ("Failed", 1100, 1100)


# --- groups


def test_groups_go_side_by_side_and_a_failure_stops_its_own_group_only():
    seen = []

    def step(name, fails=False):
        @action(name=name)
        def run(previous_context):
            seen.append((name, previous_context.storage))
            if fails:
                raise ValueError
            return name

        return run

    workflow = DotFlow(name="w")
    workflow.task.add(step=[step("a1"), step("a2", fails=True), step("a3")], group_name="a")
    workflow.task.add(step=[step("b1"), step("b2"), step("b3")], group_name="b")
    run = workflow.start(executor="inline")
    assert [entry for entry in seen if entry[0][0] == "a"] == [("a1", None), ("a2", "a1")]
    assert [entry for entry in seen if entry[0][0] == "b"] == [("b1", None), ("b2", "b1"), ("b3", "b2")]
    assert statuses(run) == ["Completed", "Failed", "Not started", *["Completed"] * 3]


def test_while_one_group_waits_for_a_retry_the_others_work():
    order, failures = [], [ConnectionError()]

    @action(retry=2, retry_delay=60)
    def waits():
        order.append("waits")
        if failures:
            raise failures.pop()

    workflow = DotFlow(Config(clock=FakeClock()), name="w")
    workflow.task.add(step=waits, group_name="a")
    workflow.task.add(step=[action(name=name)(lambda name=name: order.append(name)) for name in "xyz"], group_name="b")
    workflow.start(executor="inline").raise_for_status()
    assert order == ["waits", "x", "y", "z", "waits"]


def test_a_retry_that_is_due_goes_before_what_has_not_begun():
    order, clock = [], FakeClock()

    def fails_once(name):
        @action(name=name, retry=2, retry_delay=5)
        def step():
            order.append(name)
            if order.count(name) == 1:
                raise ConnectionError

        return step

    def takes_three_seconds(name):
        @action(name=name)
        def step():
            order.append(name)
            clock.advance(3)

        return step

    workflow = workflow_of(*map(fails_once, "ab"), *map(takes_three_seconds, "wxyz"), clock=clock)
    workflow.start("parallel", executor="inline").raise_for_status()
    assert "".join(order) == "abwxabyz"


# --- callbacks


def test_callbacks_get_the_task_and_the_tasks():
    seen = []
    workflow = DotFlow(name="w")
    workflow.task.add(step=[good, bad], callback=lambda task: seen.append((task.task_id, str(task.status))))
    run = workflow.start(
        on_success=lambda tasks: seen.append(("success", tasks)),
        on_failure=lambda tasks: seen.append(("failure", tasks)),
    )
    assert seen == [("good", "Completed"), ("bad", "Failed"), ("failure", run.tasks)]
    seen.clear()
    workflow.task.clear().add(step=good)
    run = workflow.start(on_success=lambda tasks: seen.append(("success", tasks)), on_failure=seen.append)
    assert seen == [("success", run.tasks)]


def test_a_callback_may_read_the_result_of_its_own_run():
    workflow = workflow_of(good)
    seen = []
    workflow.start(on_success=lambda tasks: seen.append((workflow.result_storage(), workflow.task.latest.status)))
    assert seen == [([1], "Completed")]


# --- ids and names


def ids_of(*names):
    workflow = DotFlow(name="w")
    for name in names:
        workflow.task.add(step=good, name=name)
    return [task.task_id for task in workflow.task]


def test_task_ids_are_the_names_with_a_number_for_repeats():
    assert ids_of("a", "b", "a", "a") == ["a", "b", "a-2", "a-3"]
    assert ids_of("a", "a", "a-2", "a", "a-2") == ["a", "a-2", "a-2-2", "a-3", "a-2-3"]
    assert ids_of("a-2", "a", "a") == ["a-2", "a", "a-3"]
    assert ids_of(None, None) == ["good", "good-2"]


def test_turning_the_order_around_keeps_the_ids_and_clearing_begins_anew():
    workflow = workflow_of(good, good, bad)
    assert workflow.task.count() == len(workflow.task) == 3
    assert [task.task_id for task in workflow.task.reverse()] == ["bad", "good-2", "good"]
    assert statuses(workflow.start()) == ["Failed", "Not started", "Not started"]
    assert [task.task_id for task in workflow.task.clear().add(step=[good, good])] == ["good", "good-2"]


def test_the_id_of_a_workflow_is_given_or_from_the_environment_or_new(monkeypatch):
    given = uuid.uuid4()
    assert DotFlow(workflow_id=given).workflow_id == str(given)
    assert DotFlow(workflow_id="any text").workflow_id == "any text"
    monkeypatch.delenv("WORKFLOW_ID", raising=False)
    first, second = DotFlow().workflow_id, DotFlow().workflow_id
    assert uuid.UUID(first) != uuid.UUID(second)
    monkeypatch.setenv("WORKFLOW_ID", "from-outside")
    assert DotFlow().workflow_id == "from-outside"
    assert DotFlow(workflow_id="given").workflow_id == "given"


def test_the_name_of_a_workflow_is_by_default_that_of_the_program(tmp_path):
    program = tmp_path / "nightly_etl.py"
    program.write_text("from dotflow import DotFlow\nprint(DotFlow().name)")
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__main__.py").write_text("from dotflow import DotFlow\nprint(DotFlow().name)")
    for arguments, name in (
        (["nightly_etl.py"], "nightly_etl"),
        (["-m", "my_package"], "my_package"),
        (["-c", "from dotflow import DotFlow; print(DotFlow().name)"], "workflow"),
    ):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == name


def test_every_start_is_a_new_run_with_fresh_tasks():
    workflow = workflow_of(good, bad, ids=SequentialIds())
    first, second = workflow.start(), workflow.start()
    assert (first.run_id, second.run_id) == (f"{1:032x}", f"{2:032x}")
    assert not set(map(id, first.tasks)) & set(map(id, second.tasks))
    assert [task.run_id for task in first.tasks] == [first.run_id] * 2
    assert len(first.tasks[1].errors) == len(second.tasks[1].errors) == 1
    assert workflow.task.latest is second


# --- what can be asked


def test_before_a_run_results_are_empty():
    workflow = workflow_of(good, bad)
    assert workflow.result() == {}
    assert workflow.result_storage() == [None, None]
    assert workflow.result_context() == [Context(), Context()]
    assert [str(task.status) for task in workflow.result_task()] == ["Not started"] * 2
    assert all(isinstance(task, Task) for task in workflow.result_task())


def test_results_speak_of_the_latest_run():
    workflow = workflow_of(good, bad)
    run = workflow.start()
    result = workflow.result()
    assert (result["run_id"], result["status"], result["workflow_id"]) == (run.run_id, "Failed", "w-1")
    assert [entry["current_context"] for entry in result["tasks"]] == workflow.result_storage() == [1, None]
    assert result["tasks"][1]["errors"][0]["message"] == "no good"
    assert workflow.result_task() == run.tasks
    assert [context.task_id for context in workflow.result_context()] == ["good", None]
    workflow.task.clear()
    assert workflow.result() == result


def test_results_say_why_a_task_did_not_run_and_what_has_become_of_each_item():
    @action
    def numbers():
        return [1, 2]

    @action
    def odd_fails(number):
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number

    workflow = DotFlow(name="w")
    workflow.task.add(numbers).add(odd_fails, after=numbers, each=True).add(good, after=odd_fails)
    workflow.start(keep_going=True)
    first, mapped, last = workflow.result()["tasks"]
    assert "items" not in first
    assert [(item["task_id"], item["result"], item["current_context"]) for item in mapped["items"]] == [
        ("odd_fails[0]", "failure", None),
        ("odd_fails[1]", "success", 2),
    ]
    assert mapped["items"][0]["errors"][0]["message"] == "1 is odd"
    assert (last["status"], last["result"], last["reason"]) == (
        "Not started",
        "upstream_failed",
        "odd_fails did not end well",
    )


def test_the_schema_says_what_a_task_runs_over_and_its_key():
    @action
    def numbers():
        return [1, 2]

    @action
    def each_one(number, other=None):
        return number

    workflow = DotFlow(name="w")
    workflow.task.add(numbers, key="a").add(each_one, after=numbers, each=True)
    workflow.task.add(each_one, name="named", after={"number": "numbers", "other": each_one}, each="number")
    entries = workflow.task.schema()["tasks"]
    assert [(entry["key"], entry["after"], entry["each"]) for entry in entries] == [
        ("a", None, False),
        (None, ["numbers"], True),
        (None, ["number", "other"], ["number"]),
    ]


def test_an_empty_workflow_completes():
    run = DotFlow(name="w").start()
    assert (run.status, run.result, run.tasks) == ("Completed", "success", [])


def test_ten_thousand_tasks():
    workflow = workflow_of(*[good] * 10_000)
    run = workflow.start()
    assert run.status == "Completed"
    assert workflow.result_storage()[-1] == 10_000
    assert run.tasks[-1].task_id == "good-10000"


@pytest.mark.parametrize("every", [True, False])
def test_a_tracer_may_leave_out_the_attempts_of_tasks_that_have_only_one(every):
    calls: list[str] = []

    class Attempts(RecordingTracer):
        every_attempt = every

        def start_attempt(self, task):
            calls.append(f"start {task.task_id}")

        def end_attempt(self, task):
            calls.append(f"end {task.task_id}")

        def carrier(self, task):
            calls.append(f"carrier {task.task_id}")
            return {}

    @action
    def once():
        return 1

    @action(retry=2)
    def twice():
        return 1

    workflow = DotFlow(Config(tracer=Attempts()))
    workflow.task.add([once, twice])
    workflow.start().raise_for_status()
    of_once = ["carrier once", "start once", "carrier once", "end once"] if every else ["carrier once"]
    assert calls == [*of_once, "carrier twice", "start twice", "carrier twice", "end twice"]
