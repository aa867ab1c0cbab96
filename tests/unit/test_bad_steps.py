"""The contract's table of bad input, where it is about steps: refused at `add` or where they are written."""

from __future__ import annotations

import functools

import pytest

from dotflow import DotFlow, DotflowError, action, errors
from dotflow.abc import Storage
from support.raising import raises


@action(name="good")
def good():
    return 1


# --- a step without @action


def undecorated():
    return 1


@pytest.mark.parametrize("step", [undecorated, lambda: 1, functools.partial(undecorated), len, Storage])
def test_a_step_without_action(workflow, step):
    with raises(errors.MissingActionDecorator, TypeError, "put @action above its definition"):
        workflow.task.add(step=step)


@pytest.mark.parametrize("step", [5, None, object(), good()])
def test_a_step_that_was_called_in_place_of_being_passed(workflow, step):
    said = f"a step of type {type(step).__name__}: pass the function itself, not what it has returned"
    with raises(errors.MissingActionDecorator, TypeError, said):
        workflow.task.add(step=step)


def test_a_step_without_action_is_named(workflow):
    with raises(errors.MissingActionDecorator, TypeError, "'undecorated'", "action(undecorated)"):
        workflow.task.add(step=undecorated)


def test_of_a_list_of_which_one_is_wrong_none_is_added(workflow):
    for wrong in (undecorated, "no.such:step", action(lambda wanted, /: wanted)):
        with pytest.raises(DotflowError):
            workflow.task.add(step=[good, good, wrong, good])
    workflow.task.add(step=[])


def test_a_name_is_not_used_up_by_what_was_refused(workflow):
    with pytest.raises(DotflowError):
        workflow.task.add(step=[good, undecorated])
    added = workflow.task.add(step=good)
    assert [task.task_id for task in added] == ["good", "good-2"]
    added._tasks.pop()


@pytest.mark.parametrize(
    "wrong",
    [5, "text", staticmethod(undecorated), classmethod(undecorated)],
)
def test_what_cannot_be_called_cannot_be_decorated(wrong):
    with raises(errors.StepSignatureError, TypeError, "@action"):
        action(wrong)


# --- dotted paths


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("no_such_package.steps:load", ModuleNotFoundError),
        ("no_such_package.load", ModuleNotFoundError),
        ("dotflow.toolkit.codec:no_such_step", AttributeError),
        ("dotflow.toolkit.codec:encode.no_such", AttributeError),
        ("broken_on_import:step", ZeroDivisionError),
        ("dotflow..codec:encode", None),
        ("load", None),
        (":load", None),
        ("dotflow.toolkit.codec:", None),
        ("", None),
    ],
)
def test_a_dotted_path_that_leads_nowhere(workflow, path, cause, tmp_path, monkeypatch):
    (tmp_path / "broken_on_import.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with raises(errors.ImportModuleError, ImportError, repr(path)) as caught:
        workflow.task.add(step=path)
    if cause is None:
        assert path == "dotflow..codec:encode" or "package.module:step" in str(caught.value)
    else:
        assert type(caught.value.__cause__) is cause
        assert cause.__name__ in str(caught.value)


def test_a_dotted_path_to_something_that_is_no_step(workflow):
    with raises(errors.MissingActionDecorator, TypeError, "encode"):
        workflow.task.add(step="dotflow.toolkit.codec:encode")


def test_dotted_paths_in_both_forms(tmp_path, monkeypatch):
    (tmp_path / "my_steps.py").write_text(
        "from dotflow import action\n@action\ndef load(): return 1\nclass Inner:\n    load = load\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    workflow = DotFlow(name="w")
    workflow.task.add(step=["my_steps:load", "my_steps.load", "my_steps:Inner.load"])
    workflow.start().raise_for_status()
    assert workflow.result_storage() == [1, 1, 1]


# --- a signature


def takes_one(rows):
    return rows


def takes_more(initial_context, rows, *, limit, optional=1):
    return initial_context, rows, limit, optional


def by_position(initial_context, /):
    return initial_context


class Constructed:
    def __init__(self, database):
        self.database = database

    @action
    def method(self):
        return 1


class OddMethod:
    @action
    def method(self, previous_context, database):
        return previous_context, database


class Idle:
    def method(self):
        return 1


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        (by_position, ["'by_position' takes initial_context by position only"]),
        (OddMethod, ["method 'OddMethod.method' asks for database", "let __init__ take the others"]),
        (Idle, ["'Idle' has no method marked with @action"]),
    ],
)
def test_a_step_that_cannot_be_called_as_it_is(workflow, step, texts):
    with raises(errors.StepSignatureError, TypeError, *texts):
        workflow.task.add(step=action(step))


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        (takes_one, ["nothing fills 'rows' of task 'takes_one' (it has no parent)", "params={'rows': …}"]),
        (takes_more, ["nothing fills 'rows', 'limit' of task 'takes_more'"]),
        (Constructed, ["nothing fills 'database' of task 'Constructed'"]),
        (functools.partial(takes_more, limit=1), ["nothing fills 'rows' of task 'takes_more'"]),
    ],
)
def test_a_step_with_parameters_that_nothing_fills(step, texts):
    workflow = DotFlow(name="w")
    workflow.task.add(step=action(step))
    with raises(errors.StepSignatureError, TypeError, *texts):
        workflow.start()
