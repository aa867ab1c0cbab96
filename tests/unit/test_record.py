"""`dotflow.record`: what a step measures itself."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from decimal import Decimal
from fractions import Fraction

import pytest

from dotflow import DotFlow, DotflowError, TypeStatus, action, record
from dotflow.testing import RecordingMetrics


def run_of(step, **how):
    workflow = DotFlow(name="measured")
    workflow.task.add(step=step)
    return workflow.start(**how)


def test_what_a_step_records_stands_on_its_task_and_in_the_result():
    @action
    def load():
        record("rows_loaded", 1200)
        record("seconds.parsing", 0.25)
        return "done"

    workflow = DotFlow()
    workflow.task.add(step=load)
    (task,) = workflow.start().tasks
    assert task.recorded == {"rows_loaded": 1200, "seconds.parsing": 0.25}
    assert workflow.result()["tasks"][0]["recorded"] == {"rows_loaded": 1200, "seconds.parsing": 0.25}
    assert type(task.recorded["rows_loaded"]) is int


def test_the_tree_of_a_run_shows_what_was_recorded():
    @action
    def load():
        record("rows_loaded", 1_234_567)
        record("ratio", 0.1)

    assert run_of(load).tree().splitlines()[1].endswith("  rows_loaded=1,234,567  ratio=0.1")


def test_nothing_recorded_is_an_empty_mapping_before_during_and_after():
    seen = []

    @action
    def load():
        seen.append(workflow.task.latest.tasks[0].recorded)

    workflow = DotFlow()
    workflow.task.add(step=load)
    (task,) = workflow.start().tasks
    assert seen == [{}]
    assert task.recorded == {}


def test_the_last_value_of_a_name_counts():
    @action
    def load():
        for batch in (1, 2, 3):
            record("batch", batch)

    assert run_of(load).tasks[0].recorded == {"batch": 3}


def test_every_attempt_has_its_own_and_the_task_has_the_last():
    seen = []

    @action(retry=3)
    def load():
        attempt = len(seen) + 1
        record("attempt", attempt)
        if attempt == 1:
            record("only_once", 1)
        if attempt < 3:
            raise ValueError("not yet")

    class Metrics(RecordingMetrics):
        def task_retried(self, task):
            seen.append(dict(task.recorded))

    from dotflow import Config

    workflow = DotFlow(Config(metrics=Metrics()))
    workflow.task.add(step=load)
    (task,) = workflow.start().tasks
    assert seen == [{"attempt": 1, "only_once": 1}, {"attempt": 2}]
    assert task.recorded == {"attempt": 3}


def test_a_failing_step_keeps_what_it_recorded():
    @action
    def load():
        record("rows", 7)
        raise ValueError("then it broke")

    (task,) = run_of(load).tasks
    assert task.status is TypeStatus.FAILED
    assert task.recorded == {"rows": 7}


def test_methods_of_a_class_record_for_one_task():
    @action
    class Load:
        @action
        def first(self):
            record("first", 1)

        @action
        def second(self):
            record("second", 2)

    assert run_of(Load).tasks[0].recorded == {"first": 1, "second": 2}


def test_async_steps_and_their_tasks_record():
    @action
    async def load():
        async def part(number):
            await asyncio.sleep(0)
            record(f"part_{number}", number)

        await asyncio.gather(part(1), asyncio.create_task(part(2)), asyncio.to_thread(record, "part_3", 3))

    assert run_of(load).tasks[0].recorded == {"part_1": 1, "part_2": 2, "part_3": 3}


def test_a_thread_that_was_given_the_steps_context_records():
    @action
    def load():
        thread = threading.Thread(target=contextvars.copy_context().run, args=(record, "rows", 5))
        thread.start()
        thread.join()

    assert run_of(load).tasks[0].recorded == {"rows": 5}


def test_a_run_inside_a_step_records_for_itself():
    @action
    def inner():
        record("inner", 1)

    tasks = []

    @action
    def outer():
        record("before", 1)
        tasks.extend(run_of(inner).tasks)
        record("after", 1)

    (task,) = run_of(outer).tasks
    assert task.recorded == {"before": 1, "after": 1}
    assert tasks[0].recorded == {"inner": 1}


@pytest.mark.parametrize(
    "how", [{}, {"executor": "thread"}, {"mode": "parallel", "max_workers": 1}, {"mode": "background"}]
)
def test_it_travels_from_everywhere(how):
    @action
    def load():
        record("rows", 3)

    with DotFlow() as workflow:
        workflow.task.add(step=load)
        assert workflow.start(**how).wait(60).tasks[0].recorded == {"rows": 3}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (True, 1.0),
        (2**53, 2**53),
        (2**60, float(2**60)),
        (-3, -3),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
        (0.1, 0.1),
    ],
)
def test_numbers_of_every_kind(given, kept):
    @action
    def load():
        record("n", given)

    value = run_of(load).tasks[0].recorded["n"]
    assert value == kept
    assert type(value) is type(kept)


class Sly:
    def __float__(self):
        raise RuntimeError("secret")


BAD = [
    ("", 1, "record('', …): a name is 1 to 100 letters"),
    ("9lives", 1, "record('9lives', …): a name is"),
    ("with space", 1, "a name is 1 to 100"),
    ("a\n", 1, "a name is 1 to 100"),
    ("é", 1, "a name is 1 to 100"),
    ("x" * 101, 1, "a name is 1 to 100"),
    (("rows",), 1, "record(tuple, …): a name is"),
    (object(), 1, "record(object, …): a name is"),
    ("n", "12", "record('n', …): '12' is not a finite number"),
    ("n", float("nan"), "record('n', …): nan is not a finite number"),
    ("n", float("-inf"), "-inf is not a finite number"),
    ("n", 10**400, "record('n', …): a number beyond 1.8e308"),
    ("n", b"12", "bytes is not a finite number"),
    ("n", None, "NoneType is not a number"),
    ("n", 1j, "complex is not a number"),
    ("n", Sly(), "Sly is not a number"),
]


@pytest.mark.contained
@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_what_is_no_measurement_is_told_and_counted_and_fails_nothing(name, value, said, contained, caplog):
    @action
    def load():
        record(name, value)
        record("good", 1)
        record(name, value)
        return "done"

    run = run_of(load)
    assert run.tasks[0].status is TypeStatus.COMPLETED
    assert run.tasks[0].recorded == {"good": 1}
    assert run.provider_errors == {("step", "record"): 2}
    (line,) = [r for r in caplog.records if r.name == "dotflow"]
    assert "step.record raised InvalidOption; the run goes on without it" in line.getMessage()
    assert said in str(line.exc_info[1])


@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_outside_of_a_run_it_only_checks(name, value, said):
    assert record("rows", 1) is None
    with pytest.raises(DotflowError) as raised:
        record(name, value)
    assert said in str(raised.value)
    assert isinstance(raised.value, ValueError)


@pytest.mark.contained
def test_more_names_than_anyone_can_read_are_not_kept(contained):
    @action
    def load():
        for number in range(150):
            record(f"row_{number}", number)
        record("row_0", -1)

    run = run_of(load)
    assert len(run.tasks[0].recorded) == 100
    assert run.tasks[0].recorded["row_0"] == -1
    assert run.provider_errors == {("step", "record"): 50}
