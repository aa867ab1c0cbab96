"""A workflow for the tests of bad input, which must leave it as it is."""

from __future__ import annotations

import pytest

from dotflow import Config, DotFlow, action


@action(name="good")
def _good():
    return 1


@pytest.fixture
def ran():
    return []


@pytest.fixture
def workflow(ran):
    """A workflow of one task that tells when it runs; a test of bad input must leave it as it is."""
    workflow = DotFlow(Config(listeners=[ran.append]), name="w")
    workflow.task.add(step=_good)
    yield workflow
    assert workflow.task.count() == 1
    assert workflow.task.latest is None
    assert ran == []
