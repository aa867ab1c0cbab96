"""Text that every backend can take: UTF-8, which has no place for lone surrogates, and not too long."""

from __future__ import annotations

from typing import Final, TypeGuard

__all__ = ["LONGEST_MESSAGE", "LONGEST_TRACEBACK", "is_text", "shorten", "storable"]

LONGEST_MESSAGE: Final = 8_192
"""Characters of an error's message where it is told; the task itself keeps all of it."""
LONGEST_TRACEBACK: Final = 32_768

_ROOM = 100  # characters; in a text that is to be shorter there is no room to say how much is missing


def storable(text: str) -> str:
    """The same text, with an escape for every lone surrogate, as in the name of a file that is not UTF-8.

    One that is left in would cost the whole batch of spans, scrape or document that it gets into.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a text that can be a name: not blank, and without lone surrogates."""
    return isinstance(value, str) and bool(value.strip()) and (value.isascii() or storable(value) == value)


def shorten(text: str, limit: int, *, keep_end: bool = False) -> str:
    """At most `limit` characters of a text: its begin and its end, and between them how many are left out.

    With `keep_end` it is only the end, as of a traceback. Where there is little room, an ellipsis says that something is missing.
    """
    if len(text) <= limit:
        return text
    if limit < _ROOM:
        return "…" + text[len(text) - limit + 1 :] if keep_end else text[: limit - 1] + "…"
    room = limit - len(_note(len(text)))  # what is left out is at most all of it, so the note is not longer than this
    end = room if keep_end else room // 2
    begin = room - end
    return f"{text[:begin]}{_note(len(text) - room)}{text[len(text) - end :]}".lstrip(" " if keep_end else "")


def _note(missing: int) -> str:
    return f" … ({missing:,} characters left out) … "
