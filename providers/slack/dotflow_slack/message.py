"""What a message to Slack looks like: blocks, and a plain text for where blocks are not shown.

https://docs.slack.dev/reference/block-kit/blocks, with the limits that stand there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dotflow.model.status import TypeStatus
from dotflow.toolkit.notification import summary
from dotflow.toolkit.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dotflow.toolkit.notification import Notification

__all__ = ["NOTIFICATIONS_IN_A_MESSAGE", "message_of"]

# A message takes 50 blocks, and was refused (`msg_blocks_too_long`) above some 13 000 characters in all of them.
NOTIFICATIONS_IN_A_MESSAGE: Final = 30
_LINE = 400
_TITLE, _FIELD, _ERROR, _TRACEBACK = 500, 300, 1500, 3000
_LINK, _LINK_IN_A_LINE = 2000, 250  # a longer one is left out: half a link leads nowhere

_SIGNS: Mapping[TypeStatus, str] = {
    TypeStatus.IN_PROGRESS: ":arrow_forward:",
    TypeStatus.COMPLETED: ":white_check_mark:",
    TypeStatus.RETRY: ":repeat:",
    TypeStatus.FAILED: ":x:",
}

_Json = dict[str, Any]


def message_of(notifications: Sequence[Notification], *, with_traceback: bool = False) -> _Json:
    """The payload of one message: about one notification in full, about several a line each."""
    if len(notifications) > 1:
        title = escaped(summary(notifications), _TITLE)
        blocks = [_text_section(f"*{title}*"), *(_text_section(_line(notification)) for notification in notifications)]
        return {"text": title, "blocks": blocks}
    (notification,) = notifications
    return {"text": escaped(notification.line, _TITLE), "blocks": _blocks(notification, with_traceback=with_traceback)}


def escaped(text: str, limit: int, *, keep_end: bool = False) -> str:
    """A text with Slack's three control characters replaced, of at most `limit` characters then.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    kept = limit
    whole = _escape(shorten(text, kept, keep_end=keep_end))
    while len(whole) > limit:
        kept -= -(-(len(whole) - limit) // 5)  # a character makes at most 5: this never cuts off more than it must
        whole = _escape(shorten(text, kept, keep_end=keep_end))
    return whole


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(notification: Notification, *, with_traceback: bool) -> list[_Json]:
    fields = [_mrkdwn(f"*{name}*\n{escaped(value, _FIELD)}") for name, value in notification.fields]
    blocks = [
        _text_section(f"{_SIGNS.get(notification.status, '')} *{escaped(notification.title, _TITLE)}*".strip()),
        {"type": "section", "fields": fields},
    ]
    if notification.error:
        blocks.append(_text_section(_fenced(notification.error, _ERROR)))
    if notification.traceback and with_traceback:
        blocks.append(_text_section(_fenced(notification.traceback, _TRACEBACK, keep_end=True)))
    footer = [f"Run {notification.run_id}", *_link(notification)]
    blocks.append({"type": "context", "elements": [_mrkdwn(" · ".join(footer))]})
    return blocks


def _line(notification: Notification) -> str:
    link = "".join(f" ({link})" for link in _link(notification) if len(link) < _LINK_IN_A_LINE)
    return f"{_SIGNS.get(notification.status, '')} {escaped(notification.line, _LINE - len(link))}{link}".strip()


def _link(notification: Notification) -> list[str]:
    # A bar would end the URL and begin its text.
    url = _escape(notification.link).replace("|", "%7C")
    return [f"<{url}|Trace>"] if url and len(url) < _LINK else []


def _fenced(text: str, limit: int, *, keep_end: bool = False) -> str:
    """A code block; a fence within the text would end it, so its backticks are replaced by another quote."""
    inside = re.sub("`{3,}", "'''", text.strip())
    return f"```\n{escaped(inside, limit - 8, keep_end=keep_end)}\n```"


def _text_section(text: str) -> _Json:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> _Json:
    # verbatim: names, channels and URLs within an error stay the text that they are.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
