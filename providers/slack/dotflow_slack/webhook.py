"""An incoming webhook of Slack: one POST, bounded in time, and never a word about its URL.

Standard library, not slack_sdk: its WebhookClient logs the webhook's URL at DEBUG, sleeps for as long as `Retry-After` says,
has no bound on a whole request and no NO_PROXY.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dotflow.errors import DotflowError, InvalidOption
from dotflow.toolkit.batching import NotYet
from dotflow_slack.http import Answer, Endpoint, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SlackError", "Webhook"]

_PAUSE = 0.5  # seconds before the one retry
_TOO_MANY, _SERVER_ERROR, _OK = 429, 500, 200

# What Slack answers when it takes no message, and what is to be done.
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
_GONE = "the webhook was removed or is not valid: make a new one in the Slack app, under Incoming Webhooks"
_ADVICE: Mapping[str, str] = {
    "no_service": _GONE,
    "no_service_id": _GONE,
    "invalid_token": _GONE,
    "no_team": "the workspace of this webhook is gone",
    "team_disabled": "the workspace of this webhook is disabled",
    "channel_not_found": "the channel of this webhook is gone",
    "channel_is_archived": "the channel of this webhook is archived",
    "user_not_found": "the person that this webhook writes to is gone",
    "action_prohibited": "an administrator has restricted this webhook",
    "posting_to_general_channel_denied": "an administrator lets this webhook not write to #general",
    "invalid_payload": "Slack did not understand the message",
    "invalid_blocks": "Slack did not understand the message",
    "no_text": "Slack did not understand the message",
}
_BY_STATUS: Mapping[int, str] = {403: _GONE, 404: _GONE, 410: _GONE}


class SlackError(DotflowError, OSError):
    """Slack did not take a message. Its text says why, and never names the webhook's URL."""


class Webhook:
    """Where messages are posted.

    Raises:
        InvalidOption: a URL that is none.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._endpoint = endpoint_of(url)
        self._timeout = timeout

    def post(self, message: Mapping[str, Any]) -> None:
        """Post a message; a server error (5xx) is tried once more.

        Raises:
            NotYet: Slack asks for a pause (429).
            SlackError: it did not take the message, or did not answer in time.
        """
        deadline = time.monotonic() + self._timeout
        body = json.dumps(message).encode()
        answer = self._endpoint.post(body, deadline)
        if answer.status >= _SERVER_ERROR and time.monotonic() + _PAUSE < deadline:
            time.sleep(_PAUSE)
            answer = self._endpoint.post(body, deadline)
        _check(answer)

    def __repr__(self) -> str:
        return repr(self._endpoint)


def _check(answer: Answer | NoAnswer) -> None:
    if isinstance(answer, NoAnswer):
        raise SlackError(f"Slack took no message: {answer.why}")
    if answer.status == _TOO_MANY:
        raise NotYet(answer.retry_after)
    if answer.status == _OK and _is_ok(answer.text):
        return
    # Only words of Slack's own are repeated: what else comes back may hold the URL that was asked for.
    word = answer.text if answer.text in _ADVICE else ""
    default = "is this the URL of a Slack webhook?" if answer.status < _SERVER_ERROR else "it has a problem of its own"
    advice = _ADVICE.get(word) or _BY_STATUS.get(answer.status) or default
    raise SlackError(f"Slack took no message: it answered {answer.status} {word}".rstrip() + f"; {advice}")


def _is_ok(text: str) -> bool:
    """`ok` is Slack's answer; receivers that speak its format say it in JSON, with `ok` or `success`."""
    if text == "ok":
        return True
    try:
        told = json.loads(text)
    except ValueError:
        return False
    return isinstance(told, dict) and (told.get("ok") is True or told.get("success") is True)


def endpoint_of(url: str) -> Endpoint:
    """Take a webhook's URL apart.

    Raises:
        InvalidOption: saying what is wrong with it, without repeating it.
    """
    if not isinstance(url, str) or not url.strip():
        raise InvalidOption(
            "webhook_url is empty: give the URL of an incoming webhook, https://hooks.slack.com/services/…"
        )
    wrong = _wrong_with(url)
    if wrong:
        raise InvalidOption(
            f"webhook_url=... {wrong}: give the URL of an incoming webhook, https://hooks.slack.com/services/…"
        )
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.scheme, parts.hostname or "", parts.port, path)


def _wrong_with(url: str) -> str:
    if not (url.isascii() and url.isprintable()) or " " in url:
        return "holds a blank, a line break or a character that no URL has"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # its text repeats a part of the URL
        return "has a host or a port that is none"
    if parts.scheme not in ("https", "http"):
        return "does not begin with https:// (the token of a bot is no webhook)"
    if not host:
        return "names no host"
    return "holds a user or a password, which a webhook has not" if "@" in parts.netloc else ""
