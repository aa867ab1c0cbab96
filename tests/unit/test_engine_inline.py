"""The helper thread of the inline executor, which is made when it is first needed."""

from __future__ import annotations

import threading

from dotflow import Context, Task, action
from dotflow.executors.attempt import Attempt, Sides
from dotflow.executors.inline import InlineExecutor
from dotflow.model.clock import SystemClock


class Gate:
    open = False

    def check(self):
        """Nothing is held back."""


def attempt_of(step):
    return Attempt(Task(step).spec, Context(), Context())


def test_a_wake_that_comes_before_there_is_a_helper_is_not_lost():
    go_on = threading.Event()

    @action(timeout=60)
    def waits():
        return go_on.wait(30)

    executor = InlineExecutor(SystemClock(), Sides(), Gate())
    attempt = attempt_of(waits)
    executor.wake()  # as when the run is cancelled just before the attempt is handed over
    executor.submit(attempt)
    assert executor.next(None) is None
    go_on.set()
    found, outcome = executor.next(None)
    assert (found, outcome.value) == (attempt, True)
    executor.close()


def test_without_a_helper_nothing_is_to_be_cancelled_or_closed():
    @action
    def here():
        return threading.current_thread()

    executor = InlineExecutor(SystemClock(), Sides(), Gate())
    executor.cancel()
    executor.submit(attempt_of(here))
    _, outcome = executor.next(None)
    assert outcome.value is threading.current_thread()
    executor.close()
