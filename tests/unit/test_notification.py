"""What a notification says: titles, fields, lines, links, and which statuses are told of."""

from __future__ import annotations

import pytest

from dotflow import Config, DotFlow, Task, TypeStatus, action
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.testing import RecordingNotify
from dotflow.toolkit.notification import Notification, TraceUrl, statuses_of, summary
from dotflow.toolkit.text import shorten
from support.raising import raises

NO_LINK = TraceUrl(None)


@action(retry=2, retry_delay=0.01)
def load():
    raise ValueError("the warehouse\nis closed")


@action
def extract(initial_context):
    return {"password": initial_context.storage}


def notifications_of(step, **added) -> list[Notification]:
    notify = RecordingNotify()
    workflow = DotFlow(Config(notify=notify), name="etl", workflow_id="etl-7")
    workflow.task.add(step=step, **added)
    workflow.start()
    return [Notification.of(call.task, NO_LINK) for call in notify.calls]


def test_a_task_that_is_retried_and_fails():
    started, retried, failed = notifications_of(load)
    assert [n.title for n in (started, retried, failed)] == [
        "etl / load: In progress",
        "etl / load: Retry",
        "etl / load: Failed",
    ]
    assert started.fields == [("Workflow", "etl"), ("Task", "load"), ("Status", "In progress"), ("Attempt", "1 of 2")]
    assert retried.fields[3:] == [("Attempt", "1 of 2"), ("Next attempt", "in 10 ms")]
    assert [name for name, _ in failed.fields] == ["Workflow", "Task", "Status", "Attempt", "Duration"]
    assert dict(failed.fields)["Attempt"] == "2 of 2"
    assert started.error == ""
    assert retried.error == failed.error == "ValueError: the warehouse\nis closed"
    assert 'raise ValueError("the warehouse' in failed.traceback
    assert started.line == "etl / load: In progress (attempt 1 of 2)"
    assert retried.line == "etl / load: Retry (attempt 1 of 2): ValueError: the warehouse"
    assert failed.line.startswith("etl / load: Failed (attempt 2 of 2, ")
    assert failed.line.endswith(" ms): ValueError: the warehouse")


def test_a_task_that_ends_well_tells_nothing_of_its_contexts():
    started, completed = notifications_of(extract, initial_context="s3cret")
    assert completed.title == "etl / extract: Completed"
    assert "s3cret" not in f"{started}{completed}"


def test_a_retry_without_a_delay_comes_now():
    @action(retry=2)
    def at_once():
        raise ValueError

    _, retried, _ = notifications_of(at_once)
    assert retried.fields[-1] == ("Next attempt", "now")
    assert retried.error == "ValueError"


def test_several_notifications_under_one_title():
    assert summary(notifications_of(load)) == "etl: 3 notifications, 1 Failed"
    assert summary(notifications_of(extract, initial_context=1)) == "etl: 2 notifications"


def test_shortened_texts_say_so():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcdef", 4, keep_end=True) == "…def"
    long = "begin " + "-" * 1000 + " close"
    middle, end = shorten(long, 200), shorten(long, 200, keep_end=True)
    assert middle == f"begin {'-' * 78} … (845 characters left out) … {'-' * 77} close"
    assert end == f"… (845 characters left out) … {'-' * 161} close"
    assert shorten(long, 1012) == long


@pytest.mark.parametrize("keep_end", [True, False])
@pytest.mark.parametrize("limit", [1, 99, 100, 101, 150, 1500, 8192])
@pytest.mark.parametrize("length", [0, 1, 98, 99, 100, 101, 102, 160, 1499, 1501, 9_999, 100_000])
def test_a_text_is_never_longer_than_its_limit_and_what_is_missing_is_counted(length, limit, keep_end):
    text = "x" * length
    found = shorten(text, limit, keep_end=keep_end)
    assert len(found) <= limit
    if length <= limit:
        assert found == text
    elif limit >= 100:
        missing = int(found.partition("(")[2].partition(" ")[0].replace(",", ""))
        assert missing + found.count("x") == length


# --- which statuses


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, set(TypeStatus)),
        (TypeStatus.FAILED, {TypeStatus.FAILED}),
        ("Failed", {TypeStatus.FAILED}),
        (["Failed", TypeStatus.RETRY], {TypeStatus.FAILED, TypeStatus.RETRY}),
        ({"In progress"}, {TypeStatus.IN_PROGRESS}),
        (iter(["Completed"]), {TypeStatus.COMPLETED}),
    ],
)
def test_statuses_to_tell_of(given, expected):
    assert statuses_of(given) == expected


@pytest.mark.parametrize("given", ["failed", "", 5, ["Failed", "Broken"], [None], [["Failed"]]])
def test_a_status_that_there_is_not(given):
    with raises(InvalidChoice, ValueError, "notification_type=", "'In progress'", "'Retry'"):
        statuses_of(given)


@pytest.mark.parametrize("given", [[], (), set()])
def test_no_status_at_all(given):
    with raises(InvalidOption, ValueError, "nothing would ever be sent", "None stands for all"):
        statuses_of(given)


# --- links


def link_of(template, **names):
    task = Task(
        load, name=names.pop("name", None), task_id="load/2", workflow_id="id 1", workflow_name="a&b", run_id="ab"
    )
    return Notification.of(task, TraceUrl(template)).link


def test_a_link_with_every_placeholder():
    template = "https://x.test/{trace_id}/{run_id}/{workflow}/{workflow_id}/{task}/{task_id}?q={{1}}"
    assert link_of(template) == "https://x.test/ab/ab/a%26b/id%201/load/load%2F2?q={1}"
    assert link_of("http://x.test/#fixed") == "http://x.test/#fixed"
    assert link_of(None) == ""


@pytest.mark.parametrize("name", ["span", "", "0", "trace_id.__class__", "trace_id[0]", "trace_id!r", "trace_id:>99"])
def test_a_placeholder_that_there_is_not(name):
    with raises(InvalidChoice, ValueError, f"'{{{name}}}'", "{trace_id}", "{run_id}", "{workflow}", "{task_id}"):
        TraceUrl(f"http://s3cret.test/{{{name}}}")


@pytest.mark.parametrize("template", ["", "localhost:16686/{trace_id}", "ftp://x/{run_id}", 5, b"http://x"])
def test_a_link_that_is_no_url(template):
    with raises(InvalidOption, ValueError, "trace_url=", "begins with http:// or https://"):
        TraceUrl(template)


@pytest.mark.parametrize("template", ["http://x/{", "http://x/{trace_id", "http://x/}", "http://[x/{trace_id}"])
def test_a_link_with_braces_that_do_not_match(template):
    with raises(InvalidOption, ValueError, "trace_url=", "written twice"):
        TraceUrl(template)


def test_a_link_is_not_in_the_repr():
    assert repr(TraceUrl("http://user:s3cret@x.test/{run_id}")) == "TraceUrl(...)"
    assert repr(NO_LINK) == "TraceUrl(None)"
