"""What `each` names is looked for among the parents, also among those that the mode implies."""

from __future__ import annotations

import pytest

from dotflow import DotFlow, action
from dotflow.errors import StepSignatureError


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
