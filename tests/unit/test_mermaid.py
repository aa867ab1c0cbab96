"""The text of a drawing: nodes, arrows, and what a mode implies."""

from __future__ import annotations

import re

import pytest

from dotflow import Config, DotFlow, action
from dotflow.errors import InvalidChoice, Skip, StepSignatureError
from dotflow.testing import FakeClock


@action
def files():
    return [1, 2, 3]


@action
def convert(name):
    return name


@action
def load(table, rows=None):
    return rows


@action
def broken():
    raise OSError("down")


@action
def skips():
    raise Skip


def test_a_workflow_is_drawn_with_the_arrows_of_its_mode():
    workflow = DotFlow()
    workflow.task.add(files).add(load, name="a").add(load, name="b", group_name="other").add(files, name="c")
    assert workflow.mermaid() == (
        'flowchart TD\n    t0["files"]\n    t1["a"]\n    t2["b"]\n    t3["c"]\n    t0 --> t1\n    t1 --> t3\n'
    )
    assert "-->" not in workflow.mermaid(mode="parallel")


def test_drawing_asks_for_no_values_and_leaves_nothing_behind():
    workflow = DotFlow()
    workflow.task.add(load, after=[]).add(convert, after="load", each=True)
    assert workflow.mermaid().count("-->") == 1
    assert all(task.parents == () for task in workflow.task)
    assert workflow.task.latest is None


def test_tasks_that_do_not_fit_together_are_an_error():
    workflow = DotFlow()
    workflow.task.add(files).add(files, name="b").add(files, name="c", after="b")
    with pytest.raises(StepSignatureError, match="'b' does not say what it comes after"):
        workflow.mermaid()
    with pytest.raises(InvalidChoice, match="paralel"):
        workflow.mermaid(mode="paralel")


def test_a_run_is_drawn_in_the_colours_of_how_it_went():
    workflow = DotFlow(Config(clock=FakeClock()))
    workflow.task.add(files).add(convert, after="files", each=True).add(broken, after=[]).add(
        files, name="behind", after=broken
    )
    workflow.task.add(skips, after=[])
    text = workflow.start(keep_going=True).mermaid()
    assert text.splitlines()[1:6] == [
        '    t0["files<br/>0 µs"]:::completed',
        '    t1[["convert ×3<br/>3 ✓<br/>0 µs"]]:::completed',
        '    t2["broken<br/>0 µs"]:::failed',
        '    t3["behind<br/>not started"]:::not_run',
        '    t4["skips<br/>0 µs"]:::skipped',
    ]
    assert set(re.findall(r"classDef (\w+)", text)) == {"completed", "failed", "not_run", "skipped"}


def test_a_resumed_run_shows_what_was_restored(tmp_path):
    from dotflow.providers import StorageFile

    workflow = DotFlow(Config(storage=StorageFile(path=str(tmp_path))), workflow_id="w")
    workflow.task.add(files).add(broken)
    workflow.start()
    assert ":::restored" in workflow.start(resume=True).mermaid()


def test_a_drawing_that_mermaid_will_not_draw_says_so():
    workflow = DotFlow()
    workflow.task.add(files)
    for number in range(501):
        workflow.task.add(files, name=f"t{number}", after="files")
    assert workflow.mermaid().startswith("%% 501 arrows: Mermaid draws 500 unless its option maxEdges is higher\n")


def test_no_name_leaves_its_label():
    workflow = DotFlow()
    workflow.task.add(files, name='"]\n  click t0 "javascript:alert(1)" %% <b>')
    (node,) = workflow.mermaid().splitlines()[1:]
    label = re.fullmatch(r'    t0\["(.*)"\]', node)[1]
    assert not set('"<>&%`\\') & set(label)
