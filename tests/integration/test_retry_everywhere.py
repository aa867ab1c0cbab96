"""What is retried, and with which error a task fails, is the same wherever its attempts run; also of exceptions that do not pickle."""

from __future__ import annotations

import pytest

from dotflow import DotFlow, GiveUp, RetryAfter, action
from support.everywhere import EXECUTORS


class Refused(Exception):
    def __init__(self, status):
        super().__init__(f"HTTP {status}")
        self.status = status

    def __reduce__(self):
        raise TypeError("it holds a connection")


class Panic(BaseException):
    """As of native code."""


def steps():
    options = {"retry": 3, "retry_on": lambda error: error.status >= 500}

    @action(**options)
    def busy():
        raise Refused(503)

    @action(**options)
    def forbidden():
        raise Refused(403)

    @action(retry=3, retry_on=Refused, give_up_on=(KeyError,))
    async def typed():
        raise Refused(403)

    @action(retry=3, retry_on=(Refused, KeyError), give_up_on=LookupError)
    def given_up():
        raise KeyError("gone")

    @action(retry=2, give_up_on=Refused)
    def later():
        try:
            raise Refused(429)
        except Refused as error:
            raise RetryAfter(0.01) from error

    @action(retry=3)
    def hopeless():
        raise GiveUp("the table is gone") from Refused(410)

    @action(retry=2)
    def panics():
        raise Panic("native code")

    @action(retry=3, retry_on=lambda error: error.code > 500)
    def asks_wrongly():
        raise Refused(503)

    return [busy, forbidden, typed, given_up, later, hopeless, panics, asks_wrongly]


EXPECTED = {
    "busy": (3, "Refused", "HTTP 503"),
    "forbidden": (1, "Refused", "HTTP 403"),
    "typed": (3, "Refused", "HTTP 403"),
    "given_up": (1, "KeyError", "'gone'"),
    "later": (2, "Refused", "HTTP 429"),
    "hopeless": (1, "GiveUp", "the table is gone"),
    "panics": (2, "Panic", "native code"),
    "asks_wrongly": (
        *(1, "Refused"),
        "HTTP 503 (not tried again: retry_on raised AttributeError: 'Refused' object has no attribute 'code')",
    ),
}


@pytest.mark.parametrize(("mode", "where", "make"), EXECUTORS)
def test_the_same_everywhere(mode, where, make):
    with make() as given, DotFlow() as workflow:
        for step in steps():
            workflow.task.add(step, group_name=step.__name__)
        executor = given or (where if where in ("inline", "thread", "process") else None)
        run = workflow.start(mode, executor=executor, keep_going=True).wait()
    assert {task.name: (task.attempt, task.error.exception, task.error.message) for task in run.tasks} == EXPECTED
    assert all(len(task.errors) == task.attempt == task.retry_count + 1 for task in run.tasks)
    assert {str(task.result) for task in run.tasks} == {"failure"}
