"""`workflow.check()`: what `start` would do, as a text; it runs nothing."""

from __future__ import annotations

import pytest

from dotflow import DotFlow, action
from dotflow.errors import StepSignatureError

ran = []


@action
def files(folder) -> list:
    ran.append("files")
    return [folder]


@action
def rates():
    ran.append("rates")


@action(retry=3)
def convert(file, rates, table="events"):
    ran.append("convert")


@action
def load(converted: dict):
    ran.append("load")


@action
def clean_up():
    ran.append("clean_up")


@pytest.fixture(autouse=True)
def nothing_has_run():
    yield
    assert ran == []


def graph():
    workflow = DotFlow(name="monthly")
    workflow.task.add(files, params={"folder": "in"})
    for region in ("eu", "us"):
        workflow.task.add(rates, key=region, after=[])
    workflow.task.add(convert, after={"file": "files", "rates": "rates"}, each="file")
    workflow.task.add(load, after=convert)
    workflow.task.add(clean_up, when="always")
    return workflow


def test_it_says_of_each_task_what_it_comes_after_how_often_it_could_run_and_what_fills_its_parameters():
    assert graph().check(mode="parallel", params={"table": "users"}).splitlines() == [
        "workflow monthly, parallel: 6 tasks",
        "files      at the start, once",
        "  files.folder ← params",
        "rates[eu]  at the start, once",
        "rates[us]  at the start, once",
        "convert    after files, rates[eu], rates[us], once for each item of files, up to 3 attempts each",
        "  convert.file ← each item of files",
        "  convert.rates ← rates[*]",
        "  convert.table ← start(params=)",
        "load       after convert, once",
        "  load.converted ← convert",
        "clean_up   after files, rates[eu], rates[us], convert, load (implied by when='always'), when always, once",
    ]


def test_it_says_which_parents_the_mode_implies_and_which_defaults_stand():
    workflow = DotFlow(name="list")
    workflow.task.add(rates).add(convert, params={"file": "a.csv"})
    assert workflow.check().splitlines()[1:] == [
        "rates    at the start, once",
        "convert  after rates (implied by sequential), up to 3 attempts",
        "  convert.file ← params",
        "  convert.rates ← rates",
        "  convert.table ← its default",
    ]


def test_it_warns_of_two_classes_that_cannot_fit():
    workflow = DotFlow(name="list")
    workflow.task.add(files, params={"folder": "in"}).add(load)
    assert workflow.check().splitlines()[-1] == "warning: load.converted is a dict, but files returns a list"


def test_a_list_in_parallel_has_no_parents_and_the_error_says_why():
    workflow = DotFlow(name="list")
    workflow.task.add(files, params={"folder": "in"}).add(load)
    with pytest.raises(StepSignatureError) as caught:
        workflow.check(mode="parallel")
    assert str(caught.value).startswith(
        "nothing fills 'converted' of task 'load' (it names no parent, and in a list the mode 'parallel' implies none): name "
        "a parent for it, after={'converted': …}"
    )


def test_all_that_is_wrong_is_told_at_once():
    workflow = DotFlow(name="list")
    workflow.task.add(files).add(convert)
    with pytest.raises(StepSignatureError) as caught:
        workflow.check(params={"colour": "red"})
    told = str(caught.value).splitlines()
    assert [line.partition(" of task")[0].partition("}")[0] for line in told] == [
        "nothing fills 'folder'",
        "nothing fills 'file', 'rates'",
        "start(params={'colour': …",
    ]
