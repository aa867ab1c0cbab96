"""Notices on their way: in order, together when the receiver asks for fewer, and counted when they are lost."""

from __future__ import annotations

import threading

import pytest

from dotflow import Task, action
from dotflow.abc.provider import Dropped
from dotflow.digest import Digest, NotYet
from dotflow.errors import StorageError
from dotflow.notice import Notice, TraceUrl

LIMIT = 20  # seconds after which something that hangs fails a test; none waits that long to pass
LONG = 3000.0  # seconds of a pause that no test waits for


@action
def step():
    return 1


def notice(number) -> Notice:
    return Notice.of(Task(step, task_id=str(number), run_id="ab"), TraceUrl(None))


class Receiver:
    """Notes the task ids of every message; raises what stands in `script` first, one for each message."""

    def __init__(self, *script):
        self.messages = []
        self.script = list(script)
        self.came = threading.Condition()

    def __call__(self, notices):
        answer = self.script.pop(0) if self.script else None
        if answer is not None:
            raise answer
        with self.came:
            self.messages.append([n.task_id for n in notices])
            self.came.notify_all()

    def wait_for(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.messages) >= count, LIMIT)


def post(digest, *numbers):
    for number in numbers:
        digest.post(notice(number))


def test_each_notice_is_a_message():
    receiver = Receiver()
    digest = Digest(receiver)
    post(digest, 1, 2, 3)
    assert receiver.messages == [["1"], ["2"], ["3"]]
    digest.flush(LIMIT)
    assert receiver.messages == [["1"], ["2"], ["3"]]
    assert digest.take_dropped() == []


def test_what_comes_in_a_pause_goes_together_when_it_is_over():
    receiver = Receiver(None, NotYet(0.1))
    digest = Digest(receiver)
    post(digest, 1, 2, 3, 4)
    assert receiver.messages == [["1"]]
    receiver.wait_for(2)
    assert receiver.messages == [["1"], ["2", "3", "4"]]
    digest.close(LIMIT)


def test_the_end_of_a_run_waits_for_the_end_of_a_pause():
    receiver = Receiver(NotYet(0.1), NotYet(0.1))
    digest = Digest(receiver, batch=2)
    post(digest, 1, 2, 3)
    digest.flush(LIMIT)
    assert receiver.messages == [["1", "2"], ["3"]]
    digest.close(LIMIT)
    assert digest.take_dropped() == []


def test_a_pause_longer_than_the_deadline_is_not_waited_for():
    receiver = Receiver(NotYet(LONG))
    digest = Digest(receiver)
    post(digest, 1, 2)
    digest.flush(LIMIT)
    (dropped,) = digest.take_dropped()
    assert dropped[:2] == ("notify", 2)
    assert "the receiver asks for 3000 s more" in dropped.why
    assert digest.take_dropped() == []
    post(digest, 3)  # the pause is still on
    assert receiver.messages == []
    digest.close(0)
    assert [d.items for d in digest.take_dropped()] == [1]


def test_a_pause_is_bounded():
    assert NotYet(float("inf")).wait == 3600
    assert NotYet(-5).wait == NotYet(0).wait == 1


def test_a_gap_is_kept_while_a_run_goes_on_but_not_at_its_end():
    receiver = Receiver()
    digest = Digest(receiver, gap=LONG)
    post(digest, 1, 2, 3)
    assert receiver.messages == [["1"]]
    digest.close(LIMIT)
    assert receiver.messages == [["1"], ["2", "3"]]


def test_a_slow_receiver_gets_what_came_meanwhile_in_one_message(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dotflow.digest._now", lambda: now[0])
    receiver = Receiver()

    def slow(notices):
        now[0] += 2.0
        receiver(notices)

    digest = Digest(slow)
    post(digest, 1, 2, 3)
    now[0] += 2.1
    post(digest, 4)
    assert receiver.messages == [["1"], ["2", "3", "4"]]
    digest.close(LIMIT)


def test_no_more_than_a_batch_goes_in_a_message_and_no_more_than_a_capacity_waits():
    receiver = Receiver(NotYet(LONG))
    digest = Digest(receiver, batch=2, capacity=5)
    post(digest, *range(7))
    assert digest.take_dropped() == [Dropped("notify", 2, "5 notices wait already")]
    digest._not_before = 0.0
    digest.close(LIMIT)
    assert receiver.messages == [["0", "1"], ["2", "3"], ["4"]]


# --- what cannot be sent


def test_an_error_is_raised_and_its_notice_lost_and_the_next_one_is_sent():
    receiver = Receiver(StorageError("closed"))
    digest = Digest(receiver)
    with pytest.raises(StorageError, match="closed"):
        post(digest, 1)
    post(digest, 2)
    assert receiver.messages == [["2"]]
    assert digest.take_dropped() == []


def test_of_several_that_fail_together_each_is_counted_once():
    receiver = Receiver(NotYet(0.01), StorageError("closed"))
    digest = Digest(receiver, batch=2)
    digest._wake_in = lambda wait: None
    post(digest, 1, 2, 3)
    with pytest.raises(StorageError):
        digest.flush(LIMIT)
    # One is the error that was raised; the second of its message, and the third notice, are counted here.
    assert digest.take_dropped() == [Dropped("notify", 2, "closed")]
    assert receiver.messages == []


def test_an_error_that_nobody_hears_of_is_counted():
    told = threading.Event()

    class Failing(Receiver):
        def __call__(self, notices):
            try:
                super().__call__(notices)
            finally:
                if not self.script:
                    told.set()

    digest = Digest(Failing(NotYet(0.01), KeyError("s3cret")))
    post(digest, 1)
    timer = digest._timer
    assert told.wait(LIMIT)
    timer.join(LIMIT)
    assert digest.take_dropped() == [Dropped("notify", 1, "KeyError")]


def test_a_message_that_takes_too_long_at_the_end_is_told_and_what_waits_behind_it_counted():
    begun, gate, sent = threading.Event(), threading.Event(), []

    def send(notices):
        begun.set()
        assert gate.wait(LIMIT)
        sent.append([n.task_id for n in notices])

    digest = Digest(send)
    first = threading.Thread(target=post, args=(digest, 1))
    first.start()
    assert begun.wait(LIMIT)
    digest._kept.append(notice(2))  # what a second thread would do before it waits for the first
    with pytest.raises(TimeoutError, match="still on its way"):
        digest.flush(0.01)
    assert digest.take_dropped() == [Dropped("notify", 1, "the message before them took too long")]
    gate.set()
    first.join(LIMIT)
    assert sent == [["1"]]
    digest.flush(0.01)


def test_a_second_thread_keeps_the_order():
    begun, gate, sent = threading.Event(), threading.Event(), []

    def send(notices):
        begun.set()
        assert gate.wait(LIMIT)
        sent.extend(n.task_id for n in notices)

    digest = Digest(send)
    first = threading.Thread(target=post, args=(digest, 1))
    first.start()
    assert begun.wait(LIMIT)
    second = threading.Thread(target=post, args=(digest, 2))
    second.start()
    gate.set()
    first.join(LIMIT)
    second.join(LIMIT)
    assert sent == ["1", "2"]
