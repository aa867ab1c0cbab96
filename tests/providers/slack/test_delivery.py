"""A Slack that is down, slow, confused or busy: it changes nothing but a counter and one line."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from dotflow import Config, DotFlow, Task, action
from dotflow.testing import Calls, RecordingMetrics, RecordingServer
from dotflow_slack import NotifySlack, SlackError
from dotflow_slack.http import Endpoint
from support.http_receiver import LIMIT, Answer, receiver

SECRET = "hushhushhush"
HOOK = ("notify", "hook_status_task")


@action
def good():
    return 1


class CountingMetrics(RecordingMetrics):
    def __init__(self):
        super().__init__()
        self.failed, self.lost = Counter(), Counter()

    def provider_failed(self, provider, method):
        self.failed[provider, method] += 1

    def telemetry_dropped(self, signal, count):
        self.lost[signal] += count


def url_of(address):
    return f"http://{address}/services/T0/B0/{SECRET}"


def workflow_of(address, *steps, drain_timeout=LIMIT, timeout=LIMIT, **config) -> DotFlow:
    notify = NotifySlack(url_of(address), timeout=timeout)
    workflow = DotFlow(Config(notify=notify, drain_timeout=drain_timeout, **config), name="etl")
    workflow.task.add(step=list(steps))
    _opened.append(workflow)
    return workflow


_opened = []


@pytest.fixture(autouse=True)
def _closed():
    """The workflows of a test end with it: the pause that Slack asks for would outlive it."""
    yield
    while _opened:
        _opened.pop().close()


def told(messages):
    """The texts of all messages in order, whether they came alone or as lines of one."""
    for message in messages:
        if "notifications" in message["text"]:
            yield from (block["text"]["text"].partition(" ")[2] for block in message["blocks"][1:])
        else:
            yield message["text"]


def words(messages):
    return [text.partition(" (")[0] for text in told(messages)]


# --- down, confused


@contextmanager
def stopped():
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{nobody_listens.getsockname()[1]}"


FAILING = {
    "stopped": (None, "connection refused"),
    "closes": (Answer(raw=b""), "broke the connection off"),
    "closes in the middle of a header": (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-"), "it answered 200; is this"),
    "closes in the middle of the body": (
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
        "broke the connection off",
    ),
    "no HTTP": (Answer(raw=b"220 smtp ready\r\n\r\n"), "spoke no HTTP"),
    "a page": (Answer(200, f"<html>log in to /services/T0/B0/{SECRET}</html>"), "answered 200; is this the URL of a"),
    "a redirect": (Answer(302, "", {"Location": "/elsewhere"}), "answered 302; is this the URL of a Slack webhook?"),
    "no_service": (
        Answer(404, "no_service"),
        "404 no_service; the webhook was removed or is not valid: make a new one",
    ),
    "forbidden": (Answer(403, "invalid_token"), "403 invalid_token; the webhook was removed or is not valid"),
    "archived": (
        Answer(410, "channel_is_archived"),
        "410 channel_is_archived; the channel of this webhook is archived",
    ),
    "bad payload": (Answer(400, "invalid_payload"), "400 invalid_payload; Slack did not understand the message"),
    "not found": (Answer(404, SECRET), "answered 404; the webhook was removed"),
    "an endless header": (Answer(trickle=True), "did not answer in time"),
}


@pytest.mark.contained
@pytest.mark.parametrize("kind", FAILING)
def test_the_run_goes_on(kind, contained, caplog):
    answer, why = FAILING[kind]
    metrics = CountingMetrics()
    with receiver(usual=answer) if answer else stopped() as listening:
        address = listening if answer is None else listening.address
        workflow = workflow_of(
            address, good, good, metrics=metrics, timeout=0.2 if answer and answer.trickle else LIMIT
        )
        run = workflow.start()
        again = workflow.start()
    assert run.status == again.status == "Completed"
    assert run.provider_errors == again.provider_errors == {HOOK: 4}
    assert run.dropped == {}
    assert metrics.failed == {HOOK: 8}
    assert len(contained) == 1
    assert contained[0].startswith("notify.hook_status_task raised SlackError; the run goes on")
    assert why in caplog.text
    assert caplog.text.count("SlackError: Slack took no message") == 1
    assert SECRET not in caplog.text


@pytest.mark.contained
def test_a_receiver_that_stops_in_the_middle_of_a_run(contained):
    with receiver() as listening:

        @action
        def stop():
            listening.wait_for(3)  # what came before has arrived, so what follows is what is lost
            listening.stop()

        run = workflow_of(listening.address, good, stop, good).start()
        assert words(listening.jsons) == ["etl / good: In progress", "etl / good: Completed", "etl / stop: In progress"]
    assert run.status == "Completed"
    assert run.provider_errors == {HOOK: 3}
    assert len(contained) == 1


def test_a_server_error_is_tried_once_more():
    with receiver(Answer(500, "oops"), Answer(), Answer(503)) as listening:
        run = workflow_of(listening.address, good).start()
        assert words(listening.jsons) == [*["etl / good: In progress"] * 2, *["etl / good: Completed"] * 2]
    assert run.provider_errors == run.dropped == {}


@pytest.mark.contained
def test_a_second_server_error_is_an_error(caplog):
    with receiver(Answer(500), Answer(502)) as listening:
        run = workflow_of(listening.address, good).start()
        assert len(listening.requests) == 3
    assert run.provider_errors == {HOOK: 1}
    assert "it answered 502; it has a problem of its own" in caplog.text


def test_nothing_else_is_tried_again():
    with receiver(usual=Answer(404)) as listening:
        notify = NotifySlack(url_of(listening.address))
        with pytest.raises(SlackError):
            notify.hook_status_task(Task(good))
        assert len(listening.requests) == 1


def test_an_answer_in_the_words_of_another_receiver_of_this_format():
    with receiver(Answer(200, '{"success": true}'), Answer(200, '{"ok": true}'), Answer(200, " ok\n")) as listening:
        notify = NotifySlack(url_of(listening.address))
        for _ in range(3):
            notify.hook_status_task(Task(good))
        assert len(listening.requests) == 3


@pytest.mark.parametrize("text", ['{"ok": false}', "[1]", "null", "OK?", ""])
def test_an_answer_that_is_not_ok(text):
    with receiver(usual=Answer(200, text)) as listening, pytest.raises(SlackError, match="answered 200"):
        NotifySlack(url_of(listening.address)).hook_status_task(Task(good))


# --- busy


def test_a_pause_that_slack_asks_for_loses_nothing_and_keeps_the_order():
    busy = Answer(429, "rate_limited", {"Retry-After": "1"})
    with receiver(Answer(), busy) as listening:
        run = workflow_of(listening.address, good, good, good).start()
        messages = [listening.jsons[0], *listening.jsons[2:]]
        assert words(listening.jsons[1:2]) == ["etl / good: Completed"]
    assert words(messages) == [
        f"etl / {task}: {status}" for task in ("good", "good-2", "good-3") for status in ("In progress", "Completed")
    ]
    assert len(messages) < 6
    assert run.provider_errors == run.dropped == {}


@pytest.mark.contained
def test_a_pause_holds_up_no_other_provider():
    """While Slack asks for an hour, the server behind the same queue gets its calls at once."""
    calls = Calls()
    with receiver(usual=Answer(429, "", {"Retry-After": "3600"})) as listening:

        @action
        def wait_for_the_server():
            listening.wait_for(1)
            deadline = time.monotonic() + LIMIT
            while len(calls.named("server.update_task")) < 3:
                assert time.monotonic() < deadline, "the server waits for Slack"
                time.sleep(0.005)

        notify = NotifySlack(url_of(listening.address), "Completed")
        workflow = DotFlow(Config(notify=notify, server=RecordingServer(calls), drain_timeout=0.1), name="etl")
        workflow.task.add(step=[good, wait_for_the_server])
        with workflow:
            run = workflow.start()
    assert run.status == "Completed"
    assert run.dropped == {"notify": 2}


@pytest.mark.contained
@pytest.mark.parametrize(
    "pause",
    ["3600", "9" * 400, format_datetime(datetime.now(timezone.utc) + timedelta(days=2))],
    ids=["an hour", "for ever", "a date"],
)
def test_a_pause_that_is_too_long_is_not_waited_for(pause, contained):
    metrics = CountingMetrics()
    with receiver(usual=Answer(429, "", {"Retry-After": pause})) as listening:
        workflow = workflow_of(listening.address, good, good, metrics=metrics)
        run = workflow.start()  # which would take LIMIT seconds if it waited
        assert len(listening.requests) == 1
        second = workflow.start()
        assert len(listening.requests) == 1, "Slack was asked again in its pause"
    assert run.status == "Completed"
    assert run.dropped == second.dropped == {"notify": 4}
    assert metrics.lost == {"notify": 8}
    assert run.provider_errors == {}
    assert contained == [
        f"notify: 4 lost in run {run.run_id}, the receiver asks for 3600 s more; more of the same is only counted"
    ]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        (None, 1.0),
        ("", 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("1.5", 1.0),
        ("٣", 1.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", 0.0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 1.0),
    ],
)
def test_how_long_a_pause_is(header, seconds):
    headers = {} if header is None else {"Retry-After": header.encode().decode("latin-1")}
    with receiver(Answer(429, "", headers)) as listening:
        endpoint = Endpoint("http", "127.0.0.1", listening.port, "/")
        assert endpoint.post(b"{}", time.monotonic() + LIMIT).retry_after == seconds


# --- slow


@pytest.mark.contained
def test_the_end_of_a_run_does_not_wait_for_a_slack_that_hangs(contained):
    gate = threading.Event()
    with receiver(usual=Answer(gate=gate)) as listening:
        workflow = workflow_of(listening.address, good, good, drain_timeout=0.4)
        run = workflow.start()  # which would take LIMIT seconds if it waited
        assert len(listening.requests) == 1
        gate.set()
    assert run.status == "Completed"
    assert sum(run.dropped.values()) == 4
    assert len(contained) == 1


def test_a_slack_that_is_merely_slow_gets_everything():
    with receiver() as listening:
        gates = [threading.Event() for _ in range(3)]
        listening._script[:] = [Answer(gate=gate) for gate in gates]

        def one_after_another():
            for number, gate in enumerate(gates, 1):
                listening.wait_for(number)
                time.sleep(0.1)  # it is slow
                gate.set()

        slow = threading.Thread(target=one_after_another)
        slow.start()
        run = workflow_of(listening.address, *[good] * 20).start()
        slow.join()
        names = words(listening.jsons)
    assert len(names) == 40
    assert names[::2] == [name.replace("Completed", "In progress") for name in names[1::2]]
    assert run.provider_errors == run.dropped == {}


def test_a_timeout_is_for_all_of_it():
    with receiver(usual=Answer(trickle=True)) as listening:
        notify = NotifySlack(url_of(listening.address), timeout=0.1)
        with pytest.raises(SlackError, match="did not answer in time"):
            notify.hook_status_task(Task(good))


# --- proxies


@pytest.fixture
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_a_proxy_is_asked_for_the_whole_url(environment):
    with receiver() as proxy:
        environment.setenv("http_proxy", f"http://user:p%40ss@{proxy.address}")
        NotifySlack("http://slack.invalid/services/x?y=1").hook_status_task(Task(good))
        (request,) = proxy.requests
    assert request.path == "http://slack.invalid:80/services/x?y=1"
    assert request.headers["Proxy-Authorization"] == "Basic dXNlcjpwQHNz"


def test_a_proxy_of_https_gets_a_connect_and_never_the_path(environment):
    with receiver(usual=Answer(403)) as proxy:
        environment.setenv("https_proxy", f"http://user:s3cret@{proxy.address}")
        with pytest.raises(SlackError, match="asked through the proxy of the environment") as caught:
            NotifySlack(f"https://slack.invalid/services/{SECRET}").hook_status_task(Task(good))
        (request,) = proxy.requests
    assert (request.method, request.path) == ("CONNECT", "slack.invalid:443")
    assert SECRET not in str(request)
    assert "s3cret" not in str(caught.value)


def test_no_proxy_is_heeded(environment):
    with receiver() as listening:
        environment.setenv("http_proxy", "http://127.0.0.1:1")
        environment.setenv("no_proxy", "127.0.0.1")
        NotifySlack(url_of(listening.address)).hook_status_task(Task(good))
        assert len(listening.requests) == 1
