"""Text that a receiver can take: of UTF-8 only, and not too long."""

from __future__ import annotations

from dotflow.model.text import is_text, shorten, storable

__all__ = ["is_text", "shorten", "storable"]
