"""An error of megabytes is whole in its task, and where it is told shortened in the middle, with how much is missing."""

from __future__ import annotations

import json
import logging
import pickle
import re

import pytest

from dotflow import Config, DotFlow, Skip, action
from dotflow.errors import RunFailed
from dotflow.providers import LogStructlog
from dotflow.toolkit import Notification, TraceUrl
from dotflow_apprise.message import message_of as apprise_message_of
from dotflow_slack.message import message_of as slack_message_of

HUGE = 5_000_000
MESSAGE = "first " + "A" * HUGE + " last"


@action(name="huge", retry=2)
def huge():
    raise ValueError(MESSAGE)


def missing_in(text):
    """How many characters the text says are left out."""
    (found,) = re.findall(r"\(([\d,]+) characters left out\)", text)
    return int(found.replace(",", ""))


def run_of(*steps, **config):
    with DotFlow(Config(**config), name="large") as workflow:
        workflow.task.add(list(steps))
        return workflow.start()


def test_the_task_keeps_all_of_it():
    (task,) = run_of(huge).tasks
    assert [error.message for error in task.errors] == [MESSAGE, MESSAGE]


def test_tree():
    run = run_of(huge)
    _, _, first, second, _ = run.tree().splitlines()
    for line in (first, second):
        assert line.split(": ", 1)[1].startswith("ValueError: first AAA")
        assert line.endswith("AAA last")
        assert len(line) < 250
        assert missing_in(line) + line.count("A") == HUGE
    assert run._repr_html_().count("characters left out") == 2


def test_tree_of_characters_that_are_not_printed():
    @action
    def odd():
        raise ValueError("\x1b" * HUGE)

    run = run_of(odd)
    assert len(max(run.tree().splitlines(), key=len)) < 500
    assert "characters left out" not in str(run.tasks[0].errors[0].message)


def test_items():
    @action
    def each(items):
        raise ValueError(MESSAGE)

    workflow = DotFlow(name="large")
    workflow.task.add(action(name="items")(lambda: [1])).add(each, after="items", each=True)
    run = workflow.start()
    assert len(run.tree()) < 2000
    message = run.tasks[1].error.message
    assert message.startswith("1 of 1 items failed; first each[0]: ValueError: first AAA")
    assert missing_in(message) > HUGE - 200


def test_why_a_task_has_skipped_itself():
    @action
    def skips():
        raise Skip("nothing new: " + "B" * HUGE + " end")

    run = run_of(skips)
    assert len(run.tree()) < 500
    assert missing_in(run.tree()) > HUGE - 200
    assert run.tree().splitlines()[1].endswith("BBB end")


def test_the_log_of_the_standard_library(caplog):
    with caplog.at_level(logging.DEBUG, logger="dotflow"):
        run_of(huge)
    told = [record.getMessage() for record in caplog.records if "AAA" in record.getMessage()]
    assert told
    for line in told:
        assert "first AAA" in line
        assert "AAA last" in line
        assert len(line) < 50_000


def test_json_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    run_of(huge, log=LogStructlog(format="json", output=str(path)))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    told = [line for line in lines if line["event"] in ("task.retrying", "task.failed")]
    assert len(told) == 2
    for line in told:
        assert len(line["error"]) <= 8_192
        assert line["error"].startswith("first AAA")
        assert line["error"].endswith("AAA last")
        assert missing_in(line["error"]) + line["error"].count("A") == HUGE
    assert len(path.read_bytes()) < 200_000


def test_notifications():
    (task,) = run_of(huge).tasks
    notification = Notification.of(task, TraceUrl(None))
    assert len(notification.line) < 300
    assert missing_in(notification.line) > HUGE - 300
    slack = json.dumps(slack_message_of([notification], with_traceback=True), ensure_ascii=False)
    apprise = apprise_message_of([notification], with_traceback=True)
    for text in (slack, str(apprise)):
        assert len(text) < 10_000
        assert "first AAA" in text
        assert "AAA last" in text
        assert "characters left out" in text


def test_what_is_raised_for_a_run():
    run = run_of(huge)
    with pytest.raises(RunFailed) as caught:
        run.raise_for_status()
    text = str(caught.value)
    assert len(text) < 10_000
    assert "huge: ValueError: first AAA" in text
    assert text.endswith("AAA last")
    assert missing_in(text) + text.count("A") == HUGE
    assert len(str(caught.value.__cause__)) < 40_000
    assert "in huge" in str(caught.value.__cause__)


def test_what_is_raised_for_a_run_of_many_failures():
    @action
    def fails():
        raise ValueError("C" * 1000)

    workflow = DotFlow(name="many")
    workflow.task.add([fails] * 300)
    with pytest.raises(RunFailed, match="and 299 more") as caught:
        workflow.start(keep_going=True).raise_for_status()
    assert len(str(caught.value)) <= 65_536
    assert "fails-300: ValueError: CCC" in str(caught.value)


def test_what_is_raised_has_the_run_also_in_another_process():
    run = run_of(huge)
    with pytest.raises(RunFailed) as caught:
        run.raise_for_status()
    assert caught.value.run is run
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.run.run_id, str(again)) == (run.run_id, str(caught.value))
