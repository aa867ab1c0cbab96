"""NotifyApprise: what services get from real workflows, what happens when they take nothing, and the URLs it never tells."""

from __future__ import annotations

import html
import logging
import os
import subprocess
import sys
import threading
import traceback
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pytest
from apprise import Apprise

from dotflow import Config, DotFlow, Task, action
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow_apprise import AppriseError, NotifyApprise
from support.http_receiver import LIMIT, Answer, receiver
from support.raising import raises

SECRET = "hushhushhush"
HOOK = ("notify", "hook_status_task")


@action
def extract(initial_context):
    return {"password": initial_context.storage}


@action(retry=2)
def load():
    raise ValueError("a < b && c")


def url_of(listening, scheme="json"):
    return f"{scheme}://me:{SECRET}@{listening.address}/{SECRET}"


def run_of(notify, *steps, mode="sequential", drain_timeout=LIMIT, **start):
    with DotFlow(Config(notify=notify, drain_timeout=drain_timeout), name="nightly-etl") as workflow:
        for step in steps:
            workflow.task.add(step=step, initial_context="s3cret")
        return workflow.start(mode=mode, **start)


# --- what services get


def test_a_run_field_by_field():
    with receiver() as listening:
        notify = NotifyApprise(url_of(listening), trace_url="http://localhost:16686/trace/{trace_id}")
        run = run_of(notify, extract, load)
        messages = listening.jsons
    assert [(m["title"], m["type"]) for m in messages] == [
        ("nightly-etl / extract: In progress", "info"),
        ("nightly-etl / extract: Completed", "success"),
        ("nightly-etl / load: In progress", "info"),
        ("nightly-etl / load: Retry", "warning"),
        ("nightly-etl / load: Failed", "failure"),
    ]
    assert set(messages[0]) == {"version", "title", "message", "attachments", "type"}
    lines = messages[-1]["message"].splitlines()
    assert lines[:4] == ["Workflow: nightly-etl", "Task: load", "Status: Failed", "Attempt: 2 of 2"]
    assert lines[4].startswith("Duration: ")
    assert lines[5:] == [
        f"Run: {run.run_id}",
        f"Trace: http://localhost:16686/trace/{run.run_id}",
        "",
        "ValueError: a < b && c",
    ]
    assert "s3cret" not in str(messages)
    assert run.provider_errors == run.dropped == {}


def test_only_what_was_asked_for_with_a_traceback():
    with receiver() as listening:
        run_of(NotifyApprise([url_of(listening)], "Failed", traceback=True), extract, load)
        (message,) = listening.jsons
    assert message["title"] == "nightly-etl / load: Failed"
    assert message["message"].endswith("ValueError: a < b && c")
    assert 'raise ValueError("a < b' in message["message"]


def test_in_worker_processes_each_task_in_its_order():
    with receiver() as listening:
        run = run_of(NotifyApprise(url_of(listening)), extract, load, mode="parallel", max_workers=2)
        titles = [m["title"] for m in listening.jsons]
    assert [t for t in titles if "load" in t] == [
        f"nightly-etl / load: {status}" for status in ("In progress", "Retry", "Failed")
    ]
    assert [t for t in titles if "extract" in t] == [
        f"nightly-etl / extract: {status}" for status in ("In progress", "Completed")
    ]
    assert run.provider_errors == run.dropped == {}


@pytest.mark.parametrize("separator", [", ", " ", ","])
def test_several_services(separator):
    with receiver() as one, receiver() as other:
        notify = NotifyApprise(separator.join([url_of(one), url_of(other, "xml")]), "Completed")
        assert repr(notify) == "NotifyApprise(JSON, XML)"
        run_of(notify, extract)
        assert one.jsons[0]["title"] == "nightly-etl / extract: Completed"
        texts = {node.tag: node.text for node in ET.fromstring(other.requests[0].body).iter()}
    assert texts["Subject"] == "nightly-etl / extract: Completed"
    assert texts["MessageType"] == "success"


def test_a_message_longer_than_a_service_takes_is_cut():
    @action
    def long():
        raise ValueError("x" * 100_000)

    with receiver() as listening:
        notify = NotifyApprise([url_of(listening)], "Failed", traceback=True)
        run_of(notify, long)
        (message,) = listening.jsons
    assert len(message["message"]) < 5000
    assert "x … (98,5" in message["message"]


def test_a_service_gets_no_more_than_it_takes():
    with receiver() as listening:
        notify = NotifyApprise(url_of(listening), "Failed", traceback=True)
        (plugin,) = notify._services[0]._apprise
        plugin.body_maxlen = 100  # as that of a service for short messages
        run_of(notify, load)
        (message,) = listening.jsons
    assert len(message["message"]) <= 100
    assert message["message"].startswith("Workflow: nightly-etl")


def test_a_service_that_shows_html_gets_the_text_as_it_was():
    with receiver() as listening:
        run_of(NotifyApprise(f"{url_of(listening)}?format=html", "Failed"), load)
        assert "a < b && c" in html.unescape(listening.jsons[0]["message"]).replace("\xa0", " ")
        assert "&lt;" in listening.jsons[0]["message"]


# --- a service that is not to be written to that often


def spaced(notify, seconds):
    """Give the services the time between two messages that apprise keeps for others: there is none for a web hook."""
    for batcher in notify._batchers:
        batcher._gap = seconds
    return notify


def test_what_comes_in_between_goes_together_at_the_end_of_the_run():
    with receiver() as listening:
        run = run_of(spaced(NotifyApprise(url_of(listening), trace_url="http://t.test/{task_id}"), 3000), extract, load)
        first, second = listening.jsons
    assert first["title"] == "nightly-etl / extract: In progress"
    assert (second["title"], second["type"]) == ("nightly-etl: 4 notifications, 1 Failed", "failure")
    lines = second["message"].splitlines()
    assert [line.partition(" (")[0] for line in lines[:1]] == ["nightly-etl / extract: Completed"]
    assert lines[1] == "nightly-etl / load: In progress (attempt 1 of 2) http://t.test/load"
    assert lines[2] == "nightly-etl / load: Retry (attempt 1 of 2): ValueError: a < b && c http://t.test/load"
    assert lines[3].endswith("): ValueError: a < b && c http://t.test/load")
    assert run.provider_errors == run.dropped == {}


def test_the_time_that_apprise_keeps_is_taken_over():
    notify = NotifyApprise(
        ["mailto://me:pw@example.com", "json://127.0.0.1:1", "tgram://123456789:abcdefg_hijklmnop/12/"]
    )
    assert [service.gap for service in notify._services] == [5.5, 0.0, 0.0]
    for service in notify._services:
        (plugin,) = service._apprise
        assert plugin.request_rate_per_sec <= 1
        assert max(plugin.request_timeout) <= 5
    (plugin,) = NotifyApprise("json://127.0.0.1:1?cto=1&rto=2", timeout=1.5)._services[0]._apprise
    assert plugin.request_timeout == (1, 1.5)


@pytest.mark.contained
def test_what_cannot_go_at_the_end_is_counted(caplog):
    with receiver(Answer(), Answer(500)) as listening:
        run = run_of(spaced(NotifyApprise(url_of(listening)), 3000), extract, load)
    assert run.provider_errors == {("notify", "flush"): 1}
    assert run.dropped == {"notify": 3}
    assert "JSON took no message: it answered 500" in caplog.text


# --- services that take nothing

FAILING = {
    "stopped": (None, "it cannot be reached, or did not answer in time"),
    "closes": (Answer(raw=b""), "it cannot be reached, or did not answer in time"),
    "no HTTP": (Answer(raw=b"220 smtp ready\r\n\r\n"), "it cannot be reached, or did not answer in time"),
    "not found": (Answer(404), "it answered 404"),
    "busy": (Answer(429, "", {"Retry-After": "3600"}), "it answered 429"),
    "server error": (Answer(500), "it answered 500"),
}


@pytest.mark.contained
@pytest.mark.parametrize("kind", FAILING)
def test_the_run_goes_on(kind, contained, caplog, capfd):
    answer, why = FAILING[kind]
    with receiver(usual=answer) as listening:
        if answer is None:
            listening.stop()
        notify = NotifyApprise(url_of(listening))
        run = run_of(notify, extract, load)
    assert [task.status for task in run.tasks] == ["Completed", "Failed"]
    assert run.provider_errors == {HOOK: 5}
    assert run.dropped == {}
    assert len(contained) == 1
    assert contained[0].startswith("notify.hook_status_task raised AppriseError; the run goes on")
    assert f"JSON took no message: {why}" in caplog.text
    # Apprise would warn at each of them, and Python prints a warning that nobody handles.
    assert not [record for record in caplog.records if record.name == "apprise"]
    assert "notification" not in capfd.readouterr().err


@pytest.mark.contained
@pytest.mark.parametrize("kind", ["stopped", "no HTTP", "slow"])
def test_a_service_that_fails_in_the_middle_of_a_run(kind, contained):
    gate = threading.Event()
    with receiver() as listening:

        @action(name="breaks")
        def breaks():
            listening.wait_for(3)
            if kind == "stopped":
                listening.stop()
            listening.usual = Answer(gate=gate) if kind == "slow" else FAILING["no HTTP"][0]

        run = run_of(NotifyApprise(url_of(listening), timeout=0.2), extract, breaks, extract)
        came = [message["title"] for message in listening.jsons[:3]]
        gate.set()
    assert came == [
        f"nightly-etl / {task}" for task in ("extract: In progress", "extract: Completed", "breaks: In progress")
    ]
    assert run.status == "Completed"
    assert run.provider_errors == {HOOK: 3}
    assert run.dropped == {}
    assert len(contained) == 1


@pytest.mark.contained
def test_a_service_that_fails_starves_no_other():
    with receiver(usual=Answer(500)) as broken, receiver() as working:
        run = run_of(NotifyApprise([url_of(broken), url_of(working)]), extract)
        assert len(broken.requests) == 2
        assert [m["type"] for m in working.jsons] == ["info", "success"]
    assert run.provider_errors == {HOOK: 2}


@pytest.mark.contained
def test_a_service_that_hangs_at_the_end_starves_no_other(caplog):
    gate = threading.Event()
    with receiver(Answer(), usual=Answer(gate=gate)) as hanging, receiver() as working:
        notify = spaced(NotifyApprise([url_of(hanging), url_of(working)], timeout=LIMIT), 3000)
        with DotFlow(Config(notify=notify, drain_timeout=0.5), name="etl") as workflow:
            workflow.task.add(step=[extract, extract])
            run = workflow.start()  # which would take LIMIT seconds if it waited
            assert run.status == "Completed"
            assert [m["title"] for m in working.jsons] == ["etl / extract: In progress", "etl: 3 notifications"]
            assert run.provider_errors == {("notify", "flush"): 1}
            assert "AppriseError: JSON did not answer in time" in caplog.text
            gate.set()


@pytest.mark.contained
def test_the_end_of_a_run_does_not_wait_for_a_service_that_hangs():
    gate = threading.Event()
    with receiver(usual=Answer(gate=gate)) as listening:
        workflow = DotFlow(
            Config(notify=NotifyApprise(url_of(listening), timeout=LIMIT), drain_timeout=0.4), name="etl"
        )
        workflow.task.add(step=[extract, extract])
        run = workflow.start()  # which would take LIMIT seconds if it waited
        gate.set()
    assert run.status == "Completed"
    assert run.dropped == {"notify": 4}


PROGRAM = """
import sys
from dotflow import Config, DotFlow, action
from dotflow_apprise import NotifyApprise

@action
def step():
    return 1

workflow = DotFlow(Config(notify=NotifyApprise(sys.argv[1], timeout=3000), drain_timeout=0.2), name="etl")
workflow.task.add(step=step)
print(workflow.start().status)
"""


def test_the_end_of_a_program_does_not_wait_for_a_service_that_hangs():
    gate = threading.Event()
    with receiver(usual=Answer(gate=gate)) as listening:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"{url_of(listening)}?rto=3000"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        gate.set()
    assert (done.stdout, done.returncode) == ("Completed\n", 0), done.stderr
    assert "notify: 1 lost" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.contained
def test_a_plugin_that_raises(monkeypatch, caplog):
    notify = NotifyApprise("json://127.0.0.1:1")

    def broken(**_):
        raise KeyError(SECRET)

    monkeypatch.setattr(notify._services[0]._apprise, "notify", broken)
    run = run_of(notify, extract)
    assert run.provider_errors == {HOOK: 2}
    assert "JSON took no message: apprise says no more" in caplog.text
    assert SECRET not in caplog.text


# --- wrongly made


@pytest.mark.parametrize("urls", ["", "  ", [], (), iter([])])
def test_no_url(urls):
    with raises(InvalidOption, ValueError, "urls is empty", "https://github.com/caronc/apprise/wiki"):
        NotifyApprise(urls)


@pytest.mark.parametrize(
    ("urls", "what"),
    [
        (SECRET, "urls[0]: apprise cannot read what stands there"),
        (["json://localhost", f"nosuch://{SECRET}"], "urls[1]: apprise cannot read this nosuch:// URL"),
        (f"json://localhost, tgram://{SECRET}", "urls[1]: apprise cannot read this tgram:// URL"),
        ([f"slack://{SECRET}/{SECRET}"], "urls[0]: apprise cannot read this slack:// URL"),
        (5, "urls[0]: apprise cannot read what stands there"),
        ([None], "urls[0]: apprise cannot read what stands there"),
        ([""], "urls is empty"),
    ],
)
def test_a_url_that_apprise_cannot_read(urls, what, caplog, capfd):
    caplog.set_level(1)
    with raises(InvalidOption, ValueError, what, "https://github.com/caronc/apprise/wiki") as caught:
        NotifyApprise(urls)
    check_silence(caught.value)
    shown = capfd.readouterr()
    assert SECRET not in caplog.text + shown.out + shown.err


@pytest.mark.parametrize("timeout", [0, -1, "5", None, float("inf"), True])
def test_a_timeout_that_is_none(timeout):
    with raises(InvalidOption, ValueError, "timeout="):
        NotifyApprise("json://localhost", timeout=timeout)


def test_a_status_or_a_placeholder_that_there_is_not():
    with raises(InvalidChoice, ValueError, "notification_type='Broken'"):
        NotifyApprise("json://localhost", "Broken")
    with raises(InvalidChoice, ValueError, "{nope}"):
        NotifyApprise("json://localhost", trace_url="http://x/{nope}")


# --- the URLs are secrets


def check_silence(error):
    while error is not None:
        assert SECRET not in "".join(traceback.format_exception(error))
        assert error.__cause__ is None
        error = error.__context__


@pytest.mark.contained
@pytest.mark.parametrize("kind", [*FAILING, "well"])
def test_nothing_tells_them_even_at_debug(kind, caplog, capfd):
    caplog.set_level(1)
    for name in ("apprise", "urllib3", "requests", "dotflow"):
        caplog.set_level(1, logger=name)
    answer = FAILING[kind][0] if kind != "well" else Answer()
    with receiver(usual=answer) as listening:
        if answer is None:
            listening.stop()
        notify = NotifyApprise([url_of(listening)])
        if kind != "well":
            with pytest.raises(AppriseError) as caught:
                notify.hook_status_task(Task(extract))
            check_silence(caught.value)
            assert caught.value.__context__ is None
        run_of(notify, extract)
    shown = capfd.readouterr()
    assert SECRET not in caplog.text + shown.out + shown.err + repr(notify) + repr(vars(notify))


def test_what_the_application_itself_sends_is_logged_as_ever(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="apprise")
    with receiver() as listening:
        run_of(NotifyApprise(f"json://{listening.address}"), extract)
        before = [record for record in caplog.records if record.name == "apprise"]
        with ThreadPoolExecutor() as one, ThreadPoolExecutor() as other:  # else Apprise keeps those that it makes
            monkeypatch.setattr("apprise.apprise._shared_executor", one)
            monkeypatch.setattr("apprise.apprise._coordinator_executor", other)
            assert Apprise(f"json://{listening.address}").notify(body="mine")
    assert before == []
    assert [r.getMessage() for r in caplog.records if r.name == "apprise" and "Sent JSON" in r.getMessage()]
