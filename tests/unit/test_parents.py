"""Which tasks a task waits for is known from the start of a run, whatever becomes of it."""

from __future__ import annotations

from collections import ChainMap
from types import MappingProxyType

import pytest

from dotflow import Config, DotFlow, action


@action
def files():
    return ["a", "b"]


@action
def broken():
    raise ValueError("no")


@action
def convert(name):
    return name


@action
def plain():
    return None


def parents_of(run):
    return {task.task_id: [parent.task_id for parent in task.parents] for task in run.tasks}


def test_a_task_that_was_never_reached_has_parents_too():
    workflow = DotFlow()
    workflow.task.add([broken, plain]).add(plain, name="behind")
    assert parents_of(workflow.start()) == {"broken": [], "plain": ["broken"], "behind": ["plain"]}


def test_the_first_event_of_a_run_finds_them():
    seen = []
    workflow = DotFlow(Config(listeners=[lambda event: seen.append(parents_of(event.run))]))
    workflow.task.add(files).add(convert, after=files, each=True).add(convert, after="convert", each=True, name="again")
    run = workflow.start()
    assert seen[0] == parents_of(run) == {"files": [], "convert": ["files"], "again": ["convert"]}
    assert [[parent.task_id for parent in item.parents] for item in run.tasks[2].items] == [
        ["convert[0]"],
        ["convert[1]"],
    ]


@pytest.mark.parametrize(("mode", "expected"), [("sequential", ["files"]), ("parallel", [])])
def test_the_mode_implies_them(mode, expected):
    workflow = DotFlow()
    workflow.task.add(files).add(plain)
    assert parents_of(workflow.start(mode, executor="inline"))["plain"] == expected


@action
def both(name, other):
    return name, other


def test_any_mapping_will_do_for_after_and_params():
    workflow = DotFlow()
    workflow.task.add(files).add(plain, after=MappingProxyType({}))
    workflow.task.add(both, after=MappingProxyType({"name": files}), params=ChainMap({"other": 1}))
    run = workflow.start()
    assert parents_of(run) == {"files": [], "plain": [], "both": ["files"]}
    assert run.tasks[-1].current_context.storage == (["a", "b"], 1)
    assert workflow.start(params=MappingProxyType({"other": 2})).tasks[-1].current_context.storage[1] == 2
