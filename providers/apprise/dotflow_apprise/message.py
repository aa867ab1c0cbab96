"""What a message says: a title, a body of plain text, and how grave it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from apprise import NotifyType

from dotflow.model.status import TypeStatus
from dotflow.toolkit.notification import summary
from dotflow.toolkit.text import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dotflow.toolkit.notification import Notification

__all__ = ["NOTIFICATIONS_IN_A_MESSAGE", "Message", "message_of"]

NOTIFICATIONS_IN_A_MESSAGE: Final = 30
_ERROR, _TRACEBACK = 1500, 3000

_TYPES: Mapping[TypeStatus, NotifyType] = {
    TypeStatus.COMPLETED: NotifyType.SUCCESS,
    TypeStatus.RETRY: NotifyType.WARNING,
    TypeStatus.FAILED: NotifyType.FAILURE,
}
_GRAVER = (NotifyType.INFO, NotifyType.SUCCESS, NotifyType.WARNING, NotifyType.FAILURE)


class Message(NamedTuple):
    """What apprise is given."""

    title: str
    body: str
    type: NotifyType


def message_of(notifications: Sequence[Notification], *, with_traceback: bool = False) -> Message:
    """One message: about one notification in full, about several a line each, as grave as the gravest of them."""
    gravest = max((_type_of(notification) for notification in notifications), key=_GRAVER.index)
    if len(notifications) > 1:
        return Message(
            summary(notifications), "\n".join(_line(notification) for notification in notifications), gravest
        )
    (notification,) = notifications
    return Message(notification.title, "\n".join(_body(notification, with_traceback=with_traceback)), gravest)


def _type_of(notification: Notification) -> NotifyType:
    return _TYPES.get(notification.status, NotifyType.INFO)


def _body(notification: Notification, *, with_traceback: bool) -> list[str]:
    lines = [f"{name}: {value}" for name, value in (*notification.fields, ("Run", notification.run_id))]
    lines += [f"Trace: {notification.link}"] if notification.link else []
    lines += ["", shorten(notification.error, _ERROR)] if notification.error else []
    if notification.traceback and with_traceback:
        lines += ["", shorten(notification.traceback.rstrip(), _TRACEBACK, keep_end=True)]
    return lines


def _line(notification: Notification) -> str:
    return f"{notification.line} {notification.link}".rstrip()
