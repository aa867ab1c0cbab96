"""Text that every backend can take: UTF-8, which has no place for lone surrogates."""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["is_text", "storable"]


def storable(text: str) -> str:
    """The same text, with an escape for every lone surrogate, as in the name of a file that is not UTF-8.

    One that is left in would cost the whole batch of spans, scrape or document that it gets into.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a text that can be a name: not blank, and without lone surrogates."""
    return isinstance(value, str) and bool(value.strip()) and (value.isascii() or storable(value) == value)
