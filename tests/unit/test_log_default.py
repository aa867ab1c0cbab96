"""The default log is asked before every line whether anybody listens: who turns it up in a run sees what follows."""

from __future__ import annotations

import logging

import pytest

from dotflow import DotFlow, action
from dotflow.names import logs

_logger = logging.getLogger(logs.LOGGER)


@pytest.fixture
def lines():
    """The texts that the logger `dotflow` has written, at the level that a test sets."""

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage().split(" ")[0])

    seen, handler, before = [], Handler(), _logger.level
    _logger.addHandler(handler)
    yield seen
    _logger.removeHandler(handler)
    _logger.setLevel(before)


def level_setter(level):
    @action(name=f"set {level}")
    def step():
        _logger.setLevel(level)

    return step


def test_a_level_set_in_the_middle_of_a_run_counts_from_there_on(lines):
    _logger.setLevel(logging.WARNING)
    workflow = DotFlow(name="levels")
    workflow.task.add([level_setter(logging.INFO), level_setter(logging.WARNING), level_setter(logging.INFO)])
    workflow.start().raise_for_status()
    assert lines == ["task.completed", "task.started", "task.completed", "workflow.completed"]


def test_nothing_is_written_while_nobody_listens(lines):
    _logger.setLevel(logging.WARNING)
    workflow = DotFlow(name="levels")
    workflow.task.add(level_setter(logging.WARNING))
    workflow.start().raise_for_status()
    assert lines == []
