"""What Slack gets: the documented payload, field by field, within its limits, from real workflows."""

from __future__ import annotations

import threading

import pytest
from slack_sdk.models.blocks import Block

from dotflow import Config, DotFlow, Task, TypeStatus, action
from dotflow.model.outcome import TaskError
from dotflow.toolkit.notification import Notification, TraceUrl
from dotflow_slack import NotifySlack
from dotflow_slack.message import NOTIFICATIONS_IN_A_MESSAGE, escaped, message_of
from support.http_receiver import Answer, receiver

SECRET = "/services/T0000/B0000/hushhushhush"
IN_A_MESSAGE = 13_000  # characters of all blocks, above which Slack was seen to refuse a message


@action
def extract(initial_context):
    return {"password": initial_context.storage}


@action(retry=2)
def load():
    raise ValueError("a < b && c > d <!channel>")


def notify_of(listening, *args, **options) -> NotifySlack:
    return NotifySlack(f"http://{listening.address}{SECRET}", *args, **options)


def run_of(notify, *steps, mode="sequential", **start):
    with DotFlow(Config(notify=notify, drain_timeout=20), name="nightly-etl") as workflow:
        for step in steps:
            workflow.task.add(step=step, initial_context="s3cret")
        return workflow.start(mode=mode, **start)


def check(message):
    """Slack's own limits, by Slack's own models of the blocks and by hand."""
    assert set(message) == {"text", "blocks"}
    assert 0 < len(message["text"]) <= 3000
    assert 0 < len(message["blocks"]) <= 50
    for block in message["blocks"]:
        Block.parse(block).validate_json()
        texts = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        for text in filter(None, texts):
            assert (text["type"], text["verbatim"]) == ("mrkdwn", True)
            assert 0 < len(text["text"]) <= (3000 if block["type"] != "section" or "text" in block else 2000)
    assert sum(len(text) for text in texts_of(message)) <= IN_A_MESSAGE


def texts_of(message):
    for block in message["blocks"]:
        for text in filter(None, [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]):
            yield text["text"]


def sections(message):
    return [block["text"]["text"] for block in message["blocks"] if block["type"] == "section" and "text" in block]


def fields(message):
    found = [block["fields"] for block in message["blocks"] if "fields" in block]
    return dict(field["text"].strip("*").split("*\n") for field in found[0])


# --- a run


def test_a_failed_task_field_by_field():
    with receiver() as listening:
        notify = notify_of(listening, "Failed", trace_url="http://localhost:16686/trace/{trace_id}")
        run = run_of(notify, load)
        (request,) = listening.requests
    assert (request.method, request.path) == ("POST", SECRET)
    assert request.headers["Content-Type"] == "application/json"
    message = request.json
    check(message)
    shown = fields(message)
    assert shown.pop("Duration")
    assert shown == {"Workflow": "nightly-etl", "Task": "load", "Status": "Failed", "Attempt": "2 of 2"}
    assert message["text"].startswith("nightly-etl / load: Failed (attempt 2 of 2, ")
    assert message["text"].endswith("): ValueError: a &lt; b &amp;&amp; c &gt; d &lt;!channel&gt;")
    assert [block["type"] for block in message["blocks"]] == ["section", "section", "section", "context"]
    assert sections(message) == [
        ":x: *nightly-etl / load: Failed*",
        "```\nValueError: a &lt; b &amp;&amp; c &gt; d &lt;!channel&gt;\n```",
    ]
    (footer,) = message["blocks"][-1]["elements"]
    assert footer["text"] == f"Run {run.run_id} · <http://localhost:16686/trace/{run.run_id}|Trace>"
    assert "s3cret" not in request.body.decode()
    assert "raise ValueError" not in request.body.decode()
    assert run.provider_errors == run.dropped == {}


def test_every_status_in_order_by_default():
    with receiver() as listening:
        run_of(notify_of(listening), extract, load)
        messages = listening.jsons
    for message in messages:
        check(message)
    assert [(fields(m)["Task"], fields(m)["Status"]) for m in messages] == [
        ("extract", "In progress"),
        ("extract", "Completed"),
        ("load", "In progress"),
        ("load", "Retry"),
        ("load", "Failed"),
    ]
    assert [sections(m)[0].split(" ")[0] for m in messages] == [
        ":arrow_forward:",
        ":white_check_mark:",
        ":arrow_forward:",
        ":repeat:",
        ":x:",
    ]
    assert fields(messages[3])["Next attempt"] == "now"


def test_only_what_was_asked_for():
    with receiver() as listening:
        run_of(notify_of(listening, [TypeStatus.RETRY, "Completed"]), extract, load)
        assert [fields(m)["Status"] for m in listening.jsons] == ["Completed", "Retry"]


def test_in_worker_processes_each_task_in_its_order():
    with receiver() as listening:
        run = run_of(notify_of(listening), extract, load, extract, mode="parallel", max_workers=2, keep_going=True)
        messages = listening.jsons
    told = [text for m in messages for text in (sections(m)[:1] if len(sections(m)) < 3 else sections(m))]
    for task, *statuses in (
        ("load", "In progress", "Retry", "Failed"),
        ("extract", "In progress", "Completed"),
        ("extract-2", "In progress", "Completed"),
    ):
        found = [text for text in told if f" / {task}: " in text]
        assert len(found) == len(statuses)
        assert all(status in text for status, text in zip(statuses, found, strict=True))
    assert run.provider_errors == run.dropped == {}


def test_a_traceback_on_request():
    with receiver() as listening:
        run_of(notify_of(listening, "Failed", traceback=True), load)
        (message,) = listening.jsons
    check(message)
    assert 'raise ValueError("a &lt; b' in sections(message)[2]


def test_a_tracer_gives_the_link_its_trace():
    from dotflow.providers import TracerOpenTelemetry

    with receiver() as listening:
        notify = notify_of(listening, "Completed", trace_url="http://t.test/{trace_id}/{task_id}")
        tracer = TracerOpenTelemetry("etl", file="/dev/null")
        with DotFlow(Config(notify=notify, tracer=tracer), name="etl") as workflow:
            workflow.task.add(step=extract)
            run = workflow.start()
        (message,) = listening.jsons
    assert f"<http://t.test/{run.trace_id}/extract|Trace>" in message["blocks"][-1]["elements"][0]["text"]


# --- messages, by hand


def notification_of(message="boom", *, name="load", workflow="etl", traceback="", trace_url=None) -> Notification:
    task = Task(load, name=name, workflow_name=workflow, workflow_id="id", run_id="0af7651916cd43dd8448eb211c80319c")
    task.status, task.attempt, task.duration = TypeStatus.FAILED, 2, 1.5
    task.errors.append(TaskError(2, "ValueError", message, traceback))
    return Notification.of(task, TraceUrl(trace_url))


@pytest.mark.parametrize("character", ["x", "&", "<", "é", "\n", "`", "*", "\U0001f600"])
@pytest.mark.parametrize("count", [1, 400, 2000, 3000, 100_000])
def test_the_longest_texts_are_within_the_limits(character, count):
    long = character * count
    notification = notification_of(
        long, name=f"n{long}", workflow=f"w{long}", traceback=long, trace_url=f"http://t.test/{long[:5000]}"
    )
    check(message_of([notification], with_traceback=True))
    several = notification_of(long, name=f"n{long}", trace_url="http://t.test/" + "l" * min(count, 220))
    check(message_of([several] * NOTIFICATIONS_IN_A_MESSAGE))


def test_a_text_that_is_cut_is_never_cut_within_an_entity():
    assert escaped("a<b>&", 100) == "a&lt;b&gt;&amp;"
    for limit in range(1, 30):
        text = escaped("<&>" * 10, limit)
        assert len(text) <= limit
        assert text.replace("&lt;", "").replace("&amp;", "").replace("&gt;", "") == "…"
    for limit in (3, 10, 500):
        assert limit - 5 < len(escaped("&" * 1000, limit)) <= limit
    assert escaped("x" * 1000 + "end", 10, keep_end=True) == "…xxxxxxend"


def test_the_end_of_a_traceback_is_kept():
    message = message_of([notification_of(traceback="first\n" + "line\n" * 2000 + "last")], with_traceback=True)
    assert sections(message)[2].startswith("```\n… (7,0")
    assert sections(message)[2].endswith("last\n```")


def test_a_fence_within_an_error_does_not_end_the_code():
    (_, error) = sections(message_of([notification_of("before ``` after ````")]))
    assert error == "```\nValueError: before ''' after '''\n```"


def test_a_link_keeps_its_shape():
    message = message_of([notification_of(name="a|b", trace_url="http://t.test/?a=1&b=<{task_id}>|x")])
    assert "<http://t.test/?a=1&amp;b=&lt;a%7Cb&gt;%7Cx|Trace>" in message["blocks"][-1]["elements"][0]["text"]


def test_several_notifications_are_lines_of_one_message():
    notifications = [notification_of(name=f"t{n}", trace_url="http://t.test/{task_id}") for n in range(3)]
    message = message_of(notifications)
    check(message)
    assert message["text"] == "etl: 3 notifications, 3 Failed"
    assert sections(message) == [
        "*etl: 3 notifications, 3 Failed*",
        *(
            f":x: etl / t{n}: Failed (attempt 2 of 2, 1.5 s): ValueError: boom (<http://t.test/t{n}|Trace>)"
            for n in range(3)
        ),
    ]


def test_a_text_that_is_no_unicode_arrives_all_the_same():
    @action
    def odd():
        raise ValueError("a file named \udcff")

    with receiver() as listening:
        run_of(notify_of(listening, "Failed"), odd)
        (request,) = listening.requests
    assert "a file named \\udcff" in request.json["text"]
    assert all(text.encode() for text in texts_of(request.json))


def test_a_slow_receiver_loses_nothing():
    gate = threading.Event()
    with receiver(Answer(gate=gate)) as listening:
        threading.Timer(1.1, gate.set).start()
        run = run_of(notify_of(listening, ["In progress", "Completed"]), *[extract] * 10)
        messages = listening.jsons
    lines = [text for m in messages for text in (sections(m)[1:] if len(sections(m)) > 1 else [sections(m)[0]])]
    assert len(lines) == 20
    assert run.provider_errors == run.dropped == {}
