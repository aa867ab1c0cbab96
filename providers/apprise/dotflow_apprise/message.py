"""What a message says: a title, a body of plain text, and how grave it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from apprise import NotifyType

from dotflow.notice import shorten, summary
from dotflow.status import TypeStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dotflow.notice import Notice

__all__ = ["NOTICES_IN_A_MESSAGE", "Message", "message_of"]

NOTICES_IN_A_MESSAGE: Final = 30
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


def message_of(notices: Sequence[Notice], *, with_traceback: bool = False) -> Message:
    """One message: about one notice in full, about several a line each, as grave as the gravest of them."""
    gravest = max((_type_of(notice) for notice in notices), key=_GRAVER.index)
    if len(notices) > 1:
        return Message(summary(notices), "\n".join(_line(notice) for notice in notices), gravest)
    (notice,) = notices
    return Message(notice.title, "\n".join(_body(notice, with_traceback=with_traceback)), gravest)


def _type_of(notice: Notice) -> NotifyType:
    return _TYPES.get(notice.status, NotifyType.INFO)


def _body(notice: Notice, *, with_traceback: bool) -> list[str]:
    lines = [f"{name}: {value}" for name, value in (*notice.fields, ("Run", notice.run_id))]
    lines += [f"Trace: {notice.link}"] if notice.link else []
    lines += ["", shorten(notice.error, _ERROR)] if notice.error else []
    if notice.traceback and with_traceback:
        lines += ["", shorten(notice.traceback.rstrip(), _TRACEBACK, keep_end=True)]
    return lines


def _line(notice: Notice) -> str:
    return f"{notice.line} {notice.link}".rstrip()
