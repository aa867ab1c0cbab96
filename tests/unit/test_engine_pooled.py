"""What all executors have in common that run attempts beside the coordinator: which one is reported next."""

from __future__ import annotations

import time

import pytest

from dotflow import DotFlow, action
from dotflow.executors.attempt import Attempt, blank_outcome
from dotflow.executors.pooled import Out, PooledExecutor
from dotflow.model.clock import SystemClock
from dotflow.model.context import Context

CLOCK = SystemClock()


class Crowd(PooledExecutor):
    """Whatever is handed out comes back at once, but for what is held; of that it is known that it has begun."""

    slots = 8

    def __init__(self) -> None:
        super().__init__(CLOCK)
        self.arriving: list[Attempt] = []
        self.given_up: list[Attempt] = []

    def wake(self) -> None: ...

    def close(self) -> None: ...

    def _hand_out(self, attempt):
        out = Out(attempt, None, CLOCK)
        out.began = time.monotonic()
        return out

    def _receive(self, seconds):
        return (self.arriving.pop(0), blank_outcome(CLOCK)) if self.arriving else None

    def _give_up(self, out):
        self.given_up.append(out.attempt)


@pytest.fixture
def crowd():
    return Crowd()


def attempt(timeout=0.0) -> Attempt:
    @action(timeout=timeout)
    def step():
        """Never called."""

    workflow = DotFlow(name="w")
    workflow.task.add(step)
    (task,) = workflow.result_task()
    return Attempt(task.spec, Context(), Context())


def taken(executor, count) -> list[Attempt]:
    return [executor.next(20)[0] for _ in range(count)]


def test_one_that_is_late_does_not_wait_until_nothing_else_arrives(crowd):
    late, others = attempt(timeout=1e-9), [attempt() for _ in range(3)]
    for each in (late, *others):
        crowd.submit(each)
    crowd.arriving = list(others)
    found, outcome = crowd.next(20)
    assert (found, outcome.error.exception) == (late, "AttemptTimeout")
    assert crowd.given_up == [late]
    assert taken(crowd, 3) == others


def test_one_that_has_come_back_in_time_is_not_late_because_others_are_before_it(crowd):
    done, others = attempt(timeout=1e-9), [attempt() for _ in range(3)]
    for each in (done, *others):
        crowd.submit(each)
    crowd.arriving = [*others, done]
    assert taken(crowd, 4) == [*others, done]
    assert crowd.given_up == []
    assert crowd.next(0) is None


def test_what_has_arrived_before_a_cancellation_is_not_cancelled(crowd):
    late, done = attempt(timeout=1e-9), attempt()
    for each in (late, done):
        crowd.submit(each)
    crowd.arriving = [done]
    assert crowd.next(20)[0] is late
    still_out = attempt()
    crowd.submit(still_out)
    crowd.cancel()
    assert crowd.next(20)[0] is done
    assert crowd.next(20)[0] is still_out
