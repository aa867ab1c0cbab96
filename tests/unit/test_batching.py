"""Notifications on their way: in order, together when the receiver asks for fewer, and counted when they are lost."""

from __future__ import annotations

import threading

import pytest

from dotflow import Task, action
from dotflow.abc.provider import Dropped
from dotflow.errors import StorageError
from dotflow.toolkit.batching import Batcher, NotYet
from dotflow.toolkit.notification import Notification, TraceUrl

LIMIT = 60  # seconds after which something that hangs fails a test; none waits that long to pass
LONG = 3000.0  # seconds of a pause that no test waits for


@action
def step():
    return 1


def notification(number) -> Notification:
    return Notification.of(Task(step, task_id=str(number), run_id="ab"), TraceUrl(None))


class Receiver:
    """Notes the task ids of every message; raises what stands in `script` first, one for each message."""

    def __init__(self, *script):
        self.messages = []
        self.script = list(script)
        self.came = threading.Condition()

    def __call__(self, notifications):
        answer = self.script.pop(0) if self.script else None
        if answer is not None:
            raise answer
        with self.came:
            self.messages.append([n.task_id for n in notifications])
            self.came.notify_all()

    def wait_for(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.messages) >= count, LIMIT)


def post(batcher, *numbers):
    for number in numbers:
        batcher.post(notification(number))


def test_each_notification_is_a_message():
    receiver = Receiver()
    batcher = Batcher(receiver)
    post(batcher, 1, 2, 3)
    assert receiver.messages == [["1"], ["2"], ["3"]]
    batcher.flush(LIMIT)
    assert receiver.messages == [["1"], ["2"], ["3"]]
    assert batcher.take_dropped() == []


def test_what_comes_in_a_pause_goes_together_when_it_is_over():
    receiver = Receiver(None, NotYet(0.1))
    batcher = Batcher(receiver)
    post(batcher, 1, 2, 3, 4)
    assert receiver.messages == [["1"]]
    receiver.wait_for(2)
    assert receiver.messages == [["1"], ["2", "3", "4"]]
    batcher.close(LIMIT)


def test_the_end_of_a_run_waits_for_the_end_of_a_pause():
    receiver = Receiver(NotYet(0.1), NotYet(0.1))
    batcher = Batcher(receiver, batch=2)
    post(batcher, 1, 2, 3)
    batcher.flush(LIMIT)
    assert receiver.messages == [["1", "2"], ["3"]]
    batcher.close(LIMIT)
    assert batcher.take_dropped() == []


def test_a_pause_longer_than_the_deadline_is_not_waited_for():
    receiver = Receiver(NotYet(LONG))
    batcher = Batcher(receiver)
    post(batcher, 1, 2)
    batcher.flush(LIMIT)
    (dropped,) = batcher.take_dropped()
    assert dropped[:2] == ("notify", 2)
    assert "the receiver asks for 3000 s more" in dropped.why
    assert batcher.take_dropped() == []
    post(batcher, 3)  # the pause is still on
    assert receiver.messages == []
    batcher.close(0)
    assert [d.items for d in batcher.take_dropped()] == [1]


def test_a_pause_is_bounded():
    assert NotYet(float("inf")).wait == 3600
    assert NotYet(-5).wait == NotYet(0).wait == 1


def test_a_gap_is_kept_while_a_run_goes_on_but_not_at_its_end():
    receiver = Receiver()
    batcher = Batcher(receiver, gap=LONG)
    post(batcher, 1, 2, 3)
    assert receiver.messages == [["1"]]
    batcher.close(LIMIT)
    assert receiver.messages == [["1"], ["2", "3"]]


def test_a_slow_receiver_gets_what_came_meanwhile_in_one_message(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dotflow.toolkit.batching._now", lambda: now[0])
    receiver = Receiver()

    def slow(notifications):
        now[0] += 2.0
        receiver(notifications)

    batcher = Batcher(slow)
    post(batcher, 1, 2, 3)
    now[0] += 2.1
    post(batcher, 4)
    assert receiver.messages == [["1"], ["2", "3", "4"]]
    batcher.close(LIMIT)


def test_no_more_than_a_batch_goes_in_a_message_and_no_more_than_a_capacity_waits():
    receiver = Receiver(NotYet(LONG))
    batcher = Batcher(receiver, batch=2, capacity=5)
    post(batcher, *range(7))
    assert batcher.take_dropped() == [Dropped("notify", 2, "5 notifications wait already")]
    batcher._not_before = 0.0
    batcher.close(LIMIT)
    assert receiver.messages == [["0", "1"], ["2", "3"], ["4"]]


# --- what cannot be sent


def test_an_error_is_raised_and_its_notification_lost_and_the_next_one_is_sent():
    receiver = Receiver(StorageError("closed"))
    batcher = Batcher(receiver)
    with pytest.raises(StorageError, match="closed"):
        post(batcher, 1)
    post(batcher, 2)
    assert receiver.messages == [["2"]]
    assert batcher.take_dropped() == []


def test_of_several_that_fail_together_each_is_counted_once():
    receiver = Receiver(NotYet(0.01), StorageError("closed"))
    batcher = Batcher(receiver, batch=2)
    batcher._wake_in = lambda wait: None
    post(batcher, 1, 2, 3)
    with pytest.raises(StorageError):
        batcher.flush(LIMIT)
    # One is the error that was raised; the second of its message, and the third notification, are counted here.
    assert batcher.take_dropped() == [Dropped("notify", 2, "closed")]
    assert receiver.messages == []


def test_an_error_that_nobody_hears_of_is_counted():
    told = threading.Event()

    class Failing(Receiver):
        def __call__(self, notifications):
            try:
                super().__call__(notifications)
            finally:
                if not self.script:
                    told.set()

    batcher = Batcher(Failing(NotYet(0.01), KeyError("s3cret")))
    post(batcher, 1)
    timer = batcher._timer
    assert told.wait(LIMIT)
    timer.join(LIMIT)
    assert batcher.take_dropped() == [Dropped("notify", 1, "KeyError")]


def test_a_message_that_takes_too_long_at_the_end_is_told_and_what_waits_behind_it_counted():
    begun, gate, sent = threading.Event(), threading.Event(), []

    def send(notifications):
        begun.set()
        assert gate.wait(LIMIT)
        sent.append([n.task_id for n in notifications])

    batcher = Batcher(send)
    first = threading.Thread(target=post, args=(batcher, 1))
    first.start()
    assert begun.wait(LIMIT)
    batcher._kept.append(notification(2))  # what a second thread would do before it waits for the first
    with pytest.raises(TimeoutError, match="still on its way"):
        batcher.flush(0.01)
    assert batcher.take_dropped() == [Dropped("notify", 1, "the message before them took too long")]
    gate.set()
    first.join(LIMIT)
    assert sent == [["1"]]
    batcher.flush(0.01)


def test_a_second_thread_keeps_the_order():
    begun, gate, sent = threading.Event(), threading.Event(), []

    def send(notifications):
        begun.set()
        assert gate.wait(LIMIT)
        sent.extend(n.task_id for n in notifications)

    batcher = Batcher(send)
    first = threading.Thread(target=post, args=(batcher, 1))
    first.start()
    assert begun.wait(LIMIT)
    second = threading.Thread(target=post, args=(batcher, 2))
    second.start()
    gate.set()
    first.join(LIMIT)
    second.join(LIMIT)
    assert sent == ["1", "2"]
