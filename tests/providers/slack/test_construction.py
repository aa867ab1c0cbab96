"""NotifySlack, wrongly made, and the URL that it never tells."""

from __future__ import annotations

import pickle
import traceback

import pytest

from dotflow import Config, DotFlow, Task, action
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow_slack import NotifySlack, SlackError
from support.http_receiver import LIMIT, Answer, receiver
from support.raising import raises

SECRET = "hushhushhush"
URL = f"https://hooks.slack.com/services/T0/B0/{SECRET}"


@action
def good():
    return 1


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (None, "is empty"),
        (b"https://hooks.slack.com/services/" + SECRET.encode(), "is empty"),
        (SECRET, "does not begin with https://"),
        (f"xoxb-{SECRET}", "the token of a bot is no webhook"),
        (f"ftp://hooks.slack.com/{SECRET}", "does not begin with https://"),
        (f"https:///services/{SECRET}", "names no host"),
        (f"https://me:{SECRET}@hooks.slack.com/services", "holds a user or a password"),
        (f"https://{SECRET}@hooks.slack.com/services", "holds a user or a password"),
        (f"https://hooks.slack.com:{SECRET}/services", "has a host or a port that is none"),
        (f"https://hooks.slack.com:99999/{SECRET}", "has a host or a port that is none"),
        (f"https://[::{SECRET}/services", "has a host or a port that is none"),
        (f"https://hooks..slack.com/{SECRET}", "has a host or a port that is none"),
        (f"https://hooks.slack.com/a b/{SECRET}", "holds a blank"),
        (f"https://hooks.slack.com/\r\nX-Evil: 1/{SECRET}", "a line break"),
        (f"{URL}\n", "a line break"),
        (f"{URL}é", "a character that no URL has"),
    ],
)
def test_a_url_that_is_none(url, what):
    with raises(InvalidOption, ValueError, "webhook_url", what, "https://hooks.slack.com/services/…") as caught:
        NotifySlack(webhook_url=url)
    check_silence(caught.value)


@pytest.mark.parametrize(
    "url", [URL, "http://127.0.0.1:1/x", "https://[::1]:8443/hook", "HTTPS://hooks.slack.com/x?y=1"]
)
def test_a_url(url):
    assert repr(NotifySlack(url)).startswith("NotifySlack(http")


@pytest.mark.parametrize("timeout", [0, -1, "5", None, float("inf"), float("nan"), True])
def test_a_timeout_that_is_none(timeout):
    with raises(InvalidOption, ValueError, "timeout="):
        NotifySlack(URL, timeout=timeout)


def test_a_status_or_a_placeholder_that_there_is_not():
    with raises(InvalidChoice, ValueError, "notification_type='Broken'"):
        NotifySlack(URL, "Broken")
    with raises(InvalidChoice, ValueError, "{nope}"):
        NotifySlack(URL, trace_url="http://x/{nope}")


# --- the URL is a secret


def check_silence(error):
    """Nothing that is reached from an error names the URL: not its text, causes, or the values in its frames."""
    while error is not None:
        assert SECRET not in str(error)
        assert SECRET not in repr(error.args)
        assert SECRET not in "".join(traceback.format_exception(error))
        assert error.__cause__ is None
        error = error.__context__


def check_a_failing_call(notify):
    with pytest.raises(SlackError) as caught:
        notify.hook_status_task(Task(good))
    check_silence(caught.value)
    assert caught.value.__context__ is None
    for frame in own_frames_of(caught.value):
        assert SECRET not in repr(frame.f_locals), frame.f_code.co_name


def own_frames_of(error):
    tb = error.__traceback__
    while tb is not None:
        if "dotflow_slack" in tb.tb_frame.f_globals.get("__name__", ""):
            yield tb.tb_frame
        tb = tb.tb_next


def test_the_repr_says_where_but_not_the_secret():
    notify = NotifySlack(URL)
    assert repr(notify) == "NotifySlack(https://hooks.slack.com/...)"
    assert SECRET not in repr(vars(notify))
    assert SECRET not in repr(Config(notify=notify).notify)


ANSWERS = {
    "refused": None,
    "echoes": Answer(404, URL),
    "echoes the secret alone": Answer(200, SECRET),
    "redirects": Answer(307, "", {"Location": URL}),
    "closes": Answer(raw=b""),
    "no HTTP": Answer(raw=URL.encode() + b"\r\n\r\n"),
    "odd header": Answer(429, "", {"Retry-After": URL}),
    "server error": Answer(500, URL),
}


@pytest.mark.contained
@pytest.mark.parametrize("kind", ANSWERS)
def test_nothing_tells_it_even_at_debug(kind, caplog, capfd):
    caplog.set_level(1)
    for name in ("urllib3", "http.client", "slack_sdk", "dotflow"):
        caplog.set_level(1, logger=name)
    with receiver(usual=ANSWERS[kind]) as listening:
        if ANSWERS[kind] is None:
            listening.stop()
        notify = NotifySlack(f"http://{listening.address}/services/T0/B0/{SECRET}", trace_url="http://t.test/{run_id}")
        if kind != "odd header":
            check_a_failing_call(notify)
        with DotFlow(
            Config(notify=notify, drain_timeout=0.3 if kind == "odd header" else LIMIT), name="etl"
        ) as workflow:
            workflow.task.add(step=good)
            run = workflow.start()
    assert run.provider_errors or run.dropped
    shown = capfd.readouterr()
    assert SECRET not in caplog.text + shown.out + shown.err + repr(run.provider_errors) + repr(run.dropped)
    for record in caplog.records:
        assert SECRET not in repr(record.args)


def test_what_a_worker_process_gets_holds_no_webhook():
    """A notifier stays in the coordinator: a step that drags it along cannot be sent, instead of carrying the secret."""
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(NotifySlack(URL))
