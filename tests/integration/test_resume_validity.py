"""A resumed run takes over what still holds, and nothing else: each way in which a result can be outdated, with its reason."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from dotflow import Config, Context, DotFlow, Skip, action
from dotflow.abc.storage import run_key
from dotflow.errors import InvalidOption, StorageUnavailable
from dotflow.model.fingerprint import fingerprint_of
from dotflow.providers import StorageFile
from dotflow.providers.defaults import StorageDefault
from dotflow.testing import RecordingStorage

INPUT, PARENT, ASKED = (f"runs again: {why}" for why in ("its input changed", "a parent ran again", "asked for"))


class Pipeline:
    """A workflow that is built anew for each run, as by another process; `ran` are the tasks of the latest run."""

    def __init__(self, storage, build) -> None:
        self.storage, self.build = storage, build
        self.ran: list[str] = []

    def run(self, *built, **start):
        self.ran.clear()
        workflow = DotFlow(Config(storage=self.storage), name="w", workflow_id="w-1")
        self.build(workflow, self.ran, *built)
        run = workflow.start(**start)
        tasks = [each for task in run.tasks for each in (task, *(task.items or ()))]
        return {task.task_id: task.reason or str(task.result) for task in tasks if not task.items}


@pytest.fixture(params=["file", "bare"])
def storage(request, tmp_path):
    return StorageFile(tmp_path / "kept") if request.param == "file" else RecordingStorage()


@pytest.fixture
def file(tmp_path):
    return StorageFile(tmp_path / "kept")


def three(workflow, ran, first=1, **options):
    @action
    def extract():
        ran.append("extract")
        return first

    @action
    def double(value):
        ran.append("double")
        return value * 2

    @action
    def load(value):
        ran.append("load")
        return value

    workflow.task.add([extract, double, load], **options)


def test_nothing_runs_again_for_nothing(storage):
    pipeline = Pipeline(storage, three)
    pipeline.run()
    assert pipeline.run(resume=True) == dict.fromkeys(("extract", "double", "load"), "restored")
    assert pipeline.ran == []


class Forgetful(StorageDefault):
    """Keeps only what a storage must: not what a result was made of."""

    persistent = True

    def post(self, key, context):
        super().post(key, Context(context.storage, task_id=context.task_id, workflow_id=context.workflow_id))


def test_where_it_is_not_kept_what_a_result_was_made_of_it_holds_unless_a_parent_ran_again():
    ran, storage, fails = [], Forgetful(), [True]

    @action
    def numbers():
        ran.append("numbers")
        return [1, 2]

    @action
    def both(numbers):
        ran.append("both")
        return numbers

    @action
    def each_one(number):
        ran.append(number)
        if number == 2 and fails:
            raise ValueError(number)
        return number

    @action
    def total(each_one, both):
        ran.append("total")

    workflow = DotFlow(Config(storage=storage), name="w", workflow_id="w-1")
    workflow.task.add(numbers).add(both, after=numbers).add(each_one, after=both, each=True)
    workflow.task.add(total, after=[each_one, both])
    workflow.start(keep_going=True)
    assert ran == ["numbers", "both", 1, 2]
    fails.clear()
    workflow.start(resume=True).raise_for_status()
    assert ran[4:] == [2, "total"]
    workflow.start(resume=True).raise_for_status()
    assert ran[6:] == []
    storage.delete(storage.key(workflow.result_task()[1]))
    workflow.start(resume=True).raise_for_status()
    assert ran[6:] == ["both", 1, 2, "total"]


def test_a_workflow_without_a_storage_is_resumed_in_its_own_process():
    ran: list[str] = []
    workflow = DotFlow(name="w")
    three(workflow, ran)
    workflow.start()
    assert [str(task.result) for task in workflow.start(resume=True).tasks] == ["restored"] * 3
    assert ran == ["extract", "double", "load"]


def test_what_comes_after_a_result_that_is_gone_runs_again(file):
    pipeline = Pipeline(file, three)
    pipeline.run(1)
    file.delete("w-1:extract")
    assert pipeline.run(50, resume=True) == {"extract": "success", "double": PARENT, "load": PARENT}
    assert file.get("w-1:load").storage == 100


def test_a_changed_input_runs_its_task_again_and_all_behind_it(file):
    pipeline = Pipeline(file, lambda workflow, ran, day: three(workflow, ran, initial_context={"day": day}))
    pipeline.run("monday")
    assert pipeline.run("tuesday", resume=True) == dict.fromkeys(("extract", "double", "load"), INPUT) | {
        "double": PARENT,
        "load": PARENT,
    }
    assert set(pipeline.run("tuesday", resume=True).values()) == {"restored"}


def test_changed_params_count_only_where_they_are_taken(file):
    def build(workflow, ran):
        del ran
        workflow.task.add(action(lambda: 1), name="one")
        workflow.task.add(action(lambda table: table), name="two")
        workflow.task.add(action(lambda value: value), name="three")

    pipeline = Pipeline(file, build)
    pipeline.run(params={"table": "a"})
    assert pipeline.run(resume=True, params={"table": "b"}) == {"one": "restored", "two": INPUT, "three": PARENT}


def test_another_parent_for_a_parameter_is_another_input(file):
    def build(workflow, ran, first, second):
        del ran
        workflow.task.add(action(lambda: 1), name="one", after=[])
        workflow.task.add(action(lambda: 2), name="two", after=[])
        workflow.task.add(action(lambda a, b: (a, b)), name="both", after={"a": first, "b": second})

    pipeline = Pipeline(file, build)
    pipeline.run("one", "two")
    assert pipeline.run("one", "two", resume=True)["both"] == "restored"
    assert pipeline.run("two", "one", resume=True) == {"one": "restored", "two": "restored", "both": INPUT}
    assert file.get("w-1:both").storage == (2, 1)


def mapped(workflow, ran, files, key=str):
    @action
    def found():
        return list(files)

    @action
    def convert(name):
        ran.append(name)
        if name == "broken":
            raise ConnectionError(name)
        return name.upper()

    @action
    def polish(text):
        ran.append(text)
        return f"{text}!"

    workflow.task.add(found, after=[])
    workflow.task.add(convert, after=found, each=True, key=key)
    workflow.task.add(polish, after=convert, each=True)


def test_items_are_known_by_what_they_are_not_by_where_they_stand(file):
    pipeline = Pipeline(file, mapped)
    pipeline.run(["a", "b", "c"])
    pipeline.run(["new", "c", "a"], resume=True, rerun=["found"])
    assert pipeline.ran == ["new", "NEW"]
    assert [file.get(f"w-1:polish[{key}]").storage for key in ("new", "c", "a")] == ["NEW!", "C!", "A!"]


def test_items_without_a_key_run_again_where_another_stands_in_their_place(file):
    pipeline = Pipeline(file, lambda workflow, ran, files: mapped(workflow, ran, files, key=None))
    pipeline.run(["a", "b"])
    pipeline.run(["new", "b"], resume=True, rerun=["found"])
    assert pipeline.ran == ["new", "NEW"]


def test_an_item_that_gets_all_others_too_runs_again_when_one_of_them_has(file):
    def build(workflow, ran):
        mapped(workflow, ran, ["a", "b"])

        @action
        def share(one, whole):
            ran.append(f"share {one}")
            return len(whole)

        workflow.task.add(share, after={"one": "convert", "whole": "convert"}, each="one")

    pipeline = Pipeline(file, build)
    pipeline.run()
    pipeline.run(resume=True)
    assert pipeline.ran == []
    pipeline.run(rerun=["convert[b]"])
    assert sorted(pipeline.ran) == ["B", "b", "share A", "share B"]


def test_what_all_items_have_alike_is_looked_at_once(file):
    looked_at = []

    def fingerprint(value):
        looked_at.append(value)
        return fingerprint_of(value)

    def build(workflow, ran):
        del ran
        workflow.task.add(action(lambda: [1, 2, 3]), name="source", after=[])
        workflow.task.add(
            action(lambda n, table: (n, table)), name="item", after="source", each=True, params={"table": "t"}
        )

    Pipeline(file, build).run(fingerprint=fingerprint)
    assert [value for value in looked_at if value == "t"] == ["t"]


def test_a_record_that_cannot_be_written_at_the_end_is_told_and_the_run_is_what_it_is(tmp_path, caplog):
    class Full(StorageFile):
        def post_run(self, workflow_id, context):
            if "result" in context.storage:
                raise panic
            super().post_run(workflow_id, context)

    class Panic(BaseException):
        pass

    panic: BaseException = Panic("disk full")
    pipeline = Pipeline(Full(tmp_path / "kept"), three)
    assert set(pipeline.run().values()) == {"success"}
    assert "does not say how it ended: disk full" in caplog.text
    panic = SystemExit(3)
    with pytest.raises(SystemExit):
        pipeline.run()


def test_only_the_items_that_are_missing_run(file):
    pipeline = Pipeline(file, mapped)
    pipeline.run(["a", "broken", "c"], keep_going=True)
    assert pipeline.ran == ["a", "broken", "c", "A", "C"]
    pipeline.run(["a", "broken", "c"], keep_going=True, resume=True)
    assert pipeline.ran == ["broken"]


@pytest.mark.parametrize(
    ("rerun", "ran"),
    [
        (["load"], ["load"]),
        (["double"], ["double", "load"]),
        (("extract", "load"), ["extract", "double", "load"]),
    ],
)
def test_what_is_asked_for_runs_again_and_all_behind_it(storage, rerun, ran):
    pipeline = Pipeline(storage, three)
    pipeline.run()
    assert pipeline.run(rerun=rerun)[rerun[0]] == ASKED
    assert pipeline.ran == ran


def test_a_run_that_takes_over_results_says_so(file):
    def trigger(**start):
        workflow = DotFlow(Config(storage=file), name="w", workflow_id="w-1")
        three(workflow, [])
        return workflow.start(**start).trigger

    assert [trigger(), trigger(resume=True), trigger(rerun=["load"])] == ["manual", "resume", "resume"]


def test_an_item_and_a_whole_mapped_task_can_be_asked_for(file):
    pipeline = Pipeline(file, mapped)
    pipeline.run(["a", "b"])
    pipeline.run(["a", "b"], rerun=["convert[b]"])
    assert pipeline.ran == ["b", "B"]
    pipeline.run(["a", "b"], rerun=["polish"])
    assert pipeline.ran == ["A", "B"]


@pytest.mark.parametrize("name", ["lod", "load[1]", ""])
def test_a_name_that_fits_nothing_is_refused(file, name):
    pipeline = Pipeline(file, three)
    pipeline.run()
    with pytest.raises(InvalidOption, match=f"rerun='{name}'".replace("[", r"\[")):
        pipeline.run(rerun=[name])
    assert pipeline.ran == []


def test_what_is_never_kept_runs_every_time_and_does_not_count(file):
    def build(workflow, ran):
        @action(keep=False)
        def connect():
            ran.append("connect")
            return "a connection"

        @action
        def load(connection):
            ran.append("load")
            return 1

        workflow.task.add([connect, load])

    pipeline = Pipeline(file, build)
    pipeline.run()
    assert pipeline.run(resume=True) == {"connect": "success", "load": "restored"}
    assert pipeline.ran == ["connect"]
    assert file.get("w-1:connect").is_empty


def test_a_skip_is_not_kept(file):
    there_is_data = []

    def build(workflow, ran):
        @action
        def gate():
            ran.append("gate")
            if not there_is_data:
                raise Skip("no data")

        workflow.task.add([gate, action(lambda: ran.append("load"))])

    pipeline = Pipeline(file, build)
    pipeline.run()
    there_is_data.append(1)
    pipeline.run(resume=True)
    assert pipeline.ran == ["gate", "load"]


def test_what_ran_after_a_failure_runs_again_after_the_next_attempt(file):
    broken = [1]

    def build(workflow, ran):
        @action
        def extract():
            ran.append("extract")
            if broken:
                raise ConnectionError("no answer")
            return 1

        @action
        def report(extract=None):
            ran.append("report")
            return extract

        workflow.task.add(extract, after=[])
        workflow.task.add(report, after=extract, when="always")

    pipeline = Pipeline(file, build)
    pipeline.run()
    broken.clear()
    assert pipeline.run(resume=True) == {"extract": "success", "report": PARENT}
    assert file.get("w-1:report").storage == 1


def test_results_are_reused_all_the_same_with_a_warning(file, caplog):
    pipeline = Pipeline(file, lambda workflow, ran, day: three(workflow, ran, initial_context=day))
    pipeline.run("monday")
    caplog.clear()
    assert set(pipeline.run("tuesday", resume=True, on_input_change="reuse").values()) == {"restored"}
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 3
    assert all("although its input has changed (on_input_change='reuse')" in text for text in told)


def test_a_record_that_is_torn_is_told_and_the_run_starts_afresh(file, caplog):
    pipeline = Pipeline(file, three)
    pipeline.run()
    record = file.file(run_key("w-1"))
    record.write_bytes(record.read_bytes()[:-3])
    pipeline.run(resume=True)
    assert pipeline.ran == ["extract", "double", "load"]
    assert "starts afresh, the record of the run before cannot be used" in caplog.text


def test_a_storage_that_does_not_answer_is_no_torn_record(file):
    class Silent(StorageFile):
        def get_run(self, workflow_id):
            raise StorageUnavailable("no answer")

    pipeline = Pipeline(file, three)
    pipeline.run()
    pipeline.storage = Silent(file.path)
    with pytest.raises(StorageUnavailable):
        pipeline.run(resume=True)
    assert pipeline.ran == []


def test_a_pickle_of_an_older_version_has_no_provenance():
    context = Context.__new__(Context)
    context.__setstate__((1, "a", "w", None, None))
    assert context == Context(1, task_id="a", workflow_id="w")
    assert context.provenance is None


# --- fingerprints

VALUES = """
    import datetime, decimal, enum, pathlib, uuid
    from dataclasses import dataclass

    @dataclass
    class Order:
        number: int
        tags: set

    class Colour(enum.Enum):
        RED = 1

    VALUES = [
        {"b": 1, "a": {"x", "y", "z"}}, frozenset({("a", 1), ("b", 2)}), {1: "a", "1": "b"}, [1.5, float("nan"), -0.0, 10**30],
        Order(1, {"new", "large", "eu"}), Colour.RED, datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc),
        decimal.Decimal("1.10"), uuid.UUID(int=7), pathlib.PurePosixPath("a/b"), b"bytes", bytearray(b"bytes"), "text", None, True,
    ]
"""


def test_a_fingerprint_is_the_same_in_every_process():
    program = textwrap.dedent(VALUES) + "\nfrom dotflow.model.fingerprint import fingerprint_of\n"
    program += "print(*map(fingerprint_of, VALUES))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(seen) == 1
    assert len(set(seen.pop().split())) == 15


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ([1, 2], (1, 2)),
        ({"a": 1}, {"a": 2}),
        ({"a": {"b"}}, {"a": {"c"}}),
        (1, "1"),
        (1, True),
        (0.1, 0.1 + 1e-17 + 1e-16),
        ([["a"], "b"], ["a", ["b"]]),
        (b"a", "a"),
    ],
)
def test_other_values_have_other_fingerprints(one, other):
    assert fingerprint_of(one) != fingerprint_of(other)


def test_what_contains_itself_and_what_cannot_be_pickled_has_one():
    loop: list = []
    loop.append(loop)
    assert fingerprint_of(loop) == fingerprint_of(loop)
    assert fingerprint_of([lambda: 1]) == fingerprint_of([lambda: 2])


# --- schedules


DAY = """
    import sys
    from dotflow import Config, DotFlow, action
    from dotflow.providers import SchedulerInterval, StorageFile

    folder, day, breaks = sys.argv[1:]
    scheduler = SchedulerInterval(3600)

    @action
    def extract():
        return day

    @action
    def load(value):
        if breaks == "breaks":
            raise ConnectionError("no answer")
        return value

    def after(tasks):
        print(*(f"{task.result}:{task.current_context.storage}" for task in tasks))
        scheduler.stop()

    workflow = DotFlow(Config(scheduler=scheduler, storage=StorageFile(folder)), workflow_id="nightly")
    workflow.task.add([extract, load])
    workflow.schedule(resume=True, on_success=after, on_failure=after)
"""


def test_a_schedule_that_starts_again_does_the_work_of_its_first_tick(tmp_path):
    """It continues a run that failed, and none that ended well: else a night's work is missing, and reported as a success."""
    (tmp_path / "day.py").write_text(textwrap.dedent(DAY))

    def tick(day: str, breaks: str = "") -> str:
        command = [sys.executable, str(tmp_path / "day.py"), str(tmp_path / "kept"), day, breaks]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert tick("monday") == "success:monday success:monday"
    assert tick("tuesday") == "success:tuesday success:tuesday"
    assert tick("wednesday", "breaks") == "success:wednesday failure:None"
    assert tick("thursday") == "restored:wednesday success:wednesday"
    assert tick("friday") == "success:friday success:friday"
