"""What `each` names is looked for among the parents, also among those that the mode implies."""

from __future__ import annotations

import pytest

from dotflow import DotFlow, action
from dotflow.errors import InvalidOption, StepSignatureError


@action
def files():
    return ["a", "b"]


@action
def convert(name):
    return name


def test_a_name_that_no_implied_parent_has_is_an_error_that_says_so():
    workflow = DotFlow()
    workflow.task.add(files).add(convert, each="rows")
    with pytest.raises(StepSignatureError, match="each='rows' has no such parent; its parents: files"):
        workflow.start()


def test_a_key_over_an_implied_parent_that_is_mapped_is_refused_too():
    workflow = DotFlow()
    workflow.task.add([files]).add(convert, each=True).add(convert, name="again", each=True, key=str)
    for look in (workflow.start, workflow.check):
        with pytest.raises(
            StepSignatureError, match="key= of task 'again': it goes item by item over the mapped task 'conv"
        ):
            look()


def test_items_and_members_of_a_family_never_have_one_id():
    workflow = DotFlow()
    workflow.task.add(files, after=[]).add(convert, name="load", after=files, each=True)
    workflow.task.add(convert, name="load", after=files, each=True)
    with pytest.raises(InvalidOption, match=r"key='0': the items of task 'load' have ids such as 'load\[0\]'"):
        workflow.task.add(files, name="load", key="0", after=[])
    with pytest.raises(InvalidOption, match=r"the items of task 'load-2'"):
        workflow.task.add(files, name="load-2", key="0", after=[])
    workflow.task.add(files, name="region", key="eu", after=[])
    with pytest.raises(InvalidOption, match=r"each= of task 'region': its items would have ids such as 'region\[eu\]'"):
        workflow.task.add(convert, name="region", after="files", each=True)
    assert [task.task_id for task in workflow.task] == ["files", "load", "load-2", "region[eu]"]


def test_a_family_may_grow_until_a_task_that_was_added_has_named_it():
    workflow = DotFlow()
    workflow.task.add(files, name="region", key="eu", after=[])
    with pytest.raises(StepSignatureError, match="params='nonsense'"):
        workflow.task.add(convert, after="region", params={"nonsense": 1})
    workflow.task.add(files, name="region", key="us", after=[]).add(convert, after="region")
    with pytest.raises(InvalidOption, match="task 'convert' has named the family 'region'"):
        workflow.task.add(files, name="region", key="asia", after=[])
