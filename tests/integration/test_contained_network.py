"""Notify and Server behind their queue: one that hangs, one that floods, and what the others still get."""

from __future__ import annotations

import functools
import threading
from collections import Counter

import pytest

from dotflow import Config, DotFlow, action
from dotflow.abc.provider import Dropped
from dotflow.engine.background_queue import BackgroundQueue
from dotflow.engine.containment import Containment
from dotflow.providers import MetricsDefault
from dotflow.testing import (
    Calls,
    RecordingLog,
    RecordingMetrics,
    RecordingNotify,
    RecordingServer,
    RecordingTracer,
)
from support.threads import in_time

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
CAPACITY = 10_000


@action
def good():
    return 1


@pytest.fixture
def gate():
    """Set at the end, so that whatever hangs at it comes back."""
    gate = threading.Event()
    yield gate
    gate.set()


class HungNotify(RecordingNotify):
    """Hangs at the first call of each task of the given name, until the gate opens."""

    def __init__(self, gate, calls=None, at="good"):
        super().__init__(calls)
        self.gate, self.at = gate, at
        self.begun = threading.Event()
        self.back = threading.Event()

    def hook_status_task(self, task):
        if task.task_id == self.at:
            self.begun.set()
            assert self.gate.wait(LIMIT)
            self.back.set()
        super().hook_status_task(task)


class CountingMetrics(RecordingMetrics):
    """Notes what it hears of lost telemetry, and how many calls wait."""

    def __init__(self):
        super().__init__()
        self.lost = Counter()
        self.waiting = [0]
        self._lock = threading.Lock()

    def background_queued(self, change):
        with self._lock:
            self.waiting.append(self.waiting[-1] + change)

    def telemetry_dropped(self, signal, count):
        self.lost[signal] += count


def workflow_of(tasks, **config) -> DotFlow:
    workflow = DotFlow(Config(drain_timeout=0.2, **config), name="w")
    workflow.task.add(step=[good] * tasks)
    return workflow


# --- a provider that hangs


@pytest.mark.contained
def test_a_notifier_that_hangs_holds_up_neither_the_run_nor_the_server(contained, gate):
    calls, metrics = Calls(), CountingMetrics()
    workflow = workflow_of(3, notify=HungNotify(gate), server=RecordingServer(calls), metrics=metrics)
    run = in_time(workflow.start)
    assert run.status == "Completed"
    assert calls.names() == [
        *("server.create_workflow", *["server.create_task"] * 3, "server.update_workflow"),
        *["server.update_task"] * 6,
        "server.update_workflow",
    ]
    assert run.dropped == metrics.lost == {"notify": 6}  # the one that hangs, and five that came after it
    assert [line.split(" lost")[0] for line in contained] == ["notify: 1"]
    assert run.provider_errors == {}


@pytest.mark.contained
def test_a_notifier_that_comes_back_is_called_again(gate):
    notify = HungNotify(gate)
    workflow = workflow_of(2, notify=notify)
    first = in_time(workflow.start)
    second = in_time(workflow.start)
    assert first.dropped == {"notify": 4}
    assert second.dropped == {"notify": 4}
    gate.set()
    assert notify.back.wait(LIMIT)
    # It is believed to be back once its thread has told so, which is after the call: until then, calls may be lost.
    third = in_time(workflow.start)
    for _ in range(1000):
        if not third.dropped:
            break
        third = in_time(workflow.start)
    assert third.dropped == {}
    assert len(notify.calls.named("notify.hook_status_task")) >= 4


@pytest.mark.contained
def test_a_notifier_that_hangs_after_the_end_of_the_run_has_begun(contained, gate):
    """The call that hangs begins while the run is already draining: it gets its time, the server gets the rest."""
    calls, ended = Calls(), threading.Event()

    class Late(RecordingNotify):
        def hook_status_task(self, task):
            assert ended.wait(LIMIT)
            if task.status == "Completed":
                assert gate.wait(LIMIT)

    workflow = workflow_of(1, notify=Late(), server=RecordingServer(calls))
    run = in_time(lambda: workflow.start(on_success=lambda tasks: ended.set()))
    assert run.status == "Completed"
    assert len(calls) == 6
    assert run.dropped == {"notify": 1}
    (line,) = contained
    assert line.startswith(f"notify: 1 lost in run {run.run_id}, the call has not come back;")


@pytest.mark.contained
def test_both_hang_and_the_run_ends_all_the_same(contained, gate):
    class HungServer(RecordingServer):
        def update_workflow(self, workflow, status=""):
            assert gate.wait(LIMIT)

    workflow = workflow_of(2, notify=HungNotify(gate), server=HungServer())
    run = in_time(workflow.start)
    assert run.status == "Completed"
    assert run.dropped == {"notify": 4, "server": 6}
    assert len(contained) == 2


def test_a_run_that_drains_neither_waits_for_the_calls_of_another_nor_drops_them(gate):
    background_queue = BackgroundQueue(Containment(MetricsDefault()))
    first, second = workflow_of(0).start(), workflow_of(0).start()
    begun, delivered = threading.Event(), []
    background_queue.open(first)
    background_queue.open(second)
    background_queue.put(second, "server", "update", lambda: begun.set() or gate.wait(LIMIT))
    assert begun.wait(LIMIT)
    background_queue.put(second, "server", "update", lambda: delivered.append("second"))
    in_time(lambda: background_queue.close(first, 2 * LIMIT))
    gate.set()
    background_queue.close(second, LIMIT)
    assert delivered == ["second"]
    assert first.dropped == second.dropped == {}


# --- a flood


@pytest.mark.contained
def test_a_flood_is_bounded_counted_and_told_once(contained, gate, monkeypatch):
    patient = functools.partial(BackgroundQueue, patience=LIMIT)  # the flood may take a slow machine longer than 5 s
    monkeypatch.setattr("dotflow.workflow.BackgroundQueue", patient)
    notify, metrics = HungNotify(gate), CountingMetrics()
    workflow = DotFlow(Config(notify=notify, metrics=metrics, drain_timeout=LIMIT), name="w")
    tasks = 6_000
    workflow.task.add(step=[good] * tasks)
    run = in_time(lambda: workflow.start(on_success=lambda tasks: gate.set()))
    delivered = len(notify.calls)
    assert run.status == "Completed"
    assert run.dropped["notify"] == metrics.lost["notify"] == 2 * tasks - delivered
    assert CAPACITY <= delivered <= CAPACITY + 1
    assert len(contained) == 1
    assert contained[0].startswith("notify: 1 lost")
    assert f"the queue of {CAPACITY} is full" in contained[0]
    order = [call.task.task_id for call in notify.calls]
    assert order == sorted(order, key=lambda name: int(name.partition("-")[2] or 1))


@pytest.mark.contained
def test_a_full_queue_behind_a_call_that_hangs_does_not_starve_the_others(contained, gate):
    containment = Containment(MetricsDefault())
    background_queue = BackgroundQueue(containment, patience=0, capacity=4)
    run = workflow_of(0).start()
    begun, delivered = threading.Event(), []
    background_queue.open(run)
    background_queue.put(run, "notify", "hang", lambda: begun.set() or gate.wait(LIMIT))
    assert begun.wait(LIMIT)
    for number in range(2):
        background_queue.put(run, "notify", "hook", lambda: delivered.append("notify"))
        background_queue.put(run, "server", "update", lambda number=number: delivered.append(number))
    background_queue.put(run, "server", "update", lambda: delivered.append("one too many"))
    background_queue.close(run, LIMIT)
    assert delivered == [0, 1, "one too many"]
    assert run.dropped == {"notify": 3}
    assert background_queue.is_hung("notify")
    assert not background_queue.is_hung("server")


# --- how many wait


def test_how_many_calls_wait_is_told_and_comes_back_to_none(gate):
    metrics, notify = CountingMetrics(), HungNotify(gate)
    workflow = DotFlow(Config(notify=notify, server=RecordingServer(), metrics=metrics, drain_timeout=LIMIT), name="w")
    workflow.task.add(step=[good] * 10)

    def listen(tasks):
        assert notify.begun.wait(LIMIT)
        seen.append(metrics.waiting[-1])
        gate.set()

    seen: list[int] = []
    run = in_time(lambda: workflow.start(on_success=listen))
    assert not run.dropped
    assert len(notify.calls) == 20
    # Of 10 `create_task`, 20 `update_task`, 3 calls for the workflow and 20 of the notifier: those after the one that hangs.
    assert seen == [53 - 10 - 2 - 1]
    assert metrics.waiting[-1] == 0
    assert min(metrics.waiting) == 0


@pytest.mark.contained
@pytest.mark.parametrize(("patience", "capacity"), [(60, 100), (0, 3)])
def test_calls_that_are_lost_wait_no_longer(contained, gate, patience, capacity):
    metrics = CountingMetrics()
    background_queue = BackgroundQueue(
        Containment(metrics), patience=patience, capacity=capacity, on_change=metrics.background_queued
    )
    run = workflow_of(0).start()
    begun = threading.Event()
    background_queue.open(run)
    background_queue.put(run, "notify", "hang", lambda: begun.set() or gate.wait(LIMIT))
    assert begun.wait(LIMIT)
    for _ in range(5):
        background_queue.put(run, "notify", "hook", lambda: None)
    assert 0 < metrics.waiting[-1] <= capacity
    in_time(lambda: background_queue.close(run, 0.01))
    assert metrics.lost["notify"] == 6
    assert metrics.waiting[-1] == 0
    assert min(metrics.waiting) == 0


@pytest.mark.contained
@pytest.mark.parametrize("raises", [True, False])
def test_who_is_told_how_many_wait_may_raise(contained, raises):
    class Metrics(RecordingMetrics):
        def background_queued(self, change):
            if raises:
                raise LookupError("no")

    notify = RecordingNotify()
    run = workflow_of(3, notify=notify, metrics=Metrics()).start()
    assert run.status == "Completed"
    assert len(notify.calls) == 6
    assert len(contained) == raises


# --- what is lost, in one line


@pytest.mark.contained
def test_the_one_line_on_what_was_lost_says_all_of_it(contained):
    class Losing(RecordingTracer):
        def take_dropped(self):
            return [
                Dropped("spans", 1, "the queue is full"),
                Dropped("spans", 7, "no answer"),
                Dropped("logs", 2, "no"),
            ]

    run = workflow_of(1, tracer=Losing()).start()
    assert run.dropped == {"spans": 8, "logs": 2}
    assert [line.partition("; more")[0] for line in contained] == [
        f"spans: 8 lost in run {run.run_id}, 7: no answer; 1: the queue is full",
        f"logs: 2 lost in run {run.run_id}, no",
    ]


# --- flush


class HungFlush:
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def flush(self, timeout):
        assert self.gate.wait(LIMIT)


def flushing(kind):
    class Flushing(kind):
        def flush(self, timeout):
            assert timeout >= 0
            self.calls.note("any", "flush")

    return Flushing()


@pytest.mark.contained
@pytest.mark.parametrize("hung", [RecordingTracer, RecordingMetrics, RecordingLog, RecordingNotify, RecordingServer])
def test_a_flush_that_hangs_starves_no_other(contained, gate, hung):
    kinds = {
        "tracer": RecordingTracer,
        "metrics": RecordingMetrics,
        "log": RecordingLog,
        "notify": RecordingNotify,
        "server": RecordingServer,
    }
    providers = {}
    for name, kind in kinds.items():
        if kind is hung:
            providers[name] = type("Hung", (HungFlush, kind), {})(gate)
            hung_name = name
        else:
            providers[name] = flushing(kind)
    run = in_time(workflow_of(1, **providers).start)
    assert run.status == "Completed"
    for name, provider in providers.items():
        assert len(provider.calls.named("any.flush")) == (name != hung_name)
    assert run.provider_errors == {(hung_name, "flush"): 1}
    assert [line.split(";")[0] for line in contained] == [f"{hung_name}.flush raised TimeoutError"]


def test_a_server_that_buffers_is_flushed_when_it_has_all_its_calls():
    class Buffering(RecordingServer):
        def __init__(self):
            super().__init__()
            self.sent = []

        def flush(self, timeout):
            self.sent += self.calls
            self.calls.clear()

    server = Buffering()
    run = DotFlow(Config(server=server), name="w")
    run.task.add(step=[good] * 200)
    run.start()
    assert len(server.sent) == 1 + 200 + 2 + 400
    assert server.calls == []


@pytest.mark.contained
def test_a_close_that_hangs_starves_no_other(contained, gate):
    class HungClose(RecordingTracer):
        def close(self, timeout):
            assert gate.wait(LIMIT)

    closed = []

    class Closing(RecordingServer):
        def close(self, timeout):
            closed.append(timeout)

    workflow = workflow_of(1, tracer=HungClose(), server=Closing())
    workflow.start()
    in_time(workflow.close)
    assert closed == [0.2]
    assert [line.split(";")[0] for line in contained] == ["tracer.close raised TimeoutError"]
