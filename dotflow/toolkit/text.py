"""Text that a receiver can take: of UTF-8 only, and not too long."""

from __future__ import annotations

from dotflow.model.text import is_text, storable

__all__ = ["is_text", "shorten", "storable"]


def shorten(text: str, limit: int, *, keep_end: bool = False) -> str:
    """At most `limit` characters of a text, with an ellipsis where something was left out."""
    if len(text) <= limit:
        return text
    return "…" + text[len(text) - limit + 1 :] if keep_end else text[: limit - 1] + "…"
