"""Text that is cut short, so that a large one does not cost the whole batch that it is sent in.

Collectors, and Jaeger, refuse a request of more than 4 MiB over gRPC and of more than 20 MiB over HTTP.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LINE", "MESSAGE", "STACKTRACE", "shortened"]

MESSAGE: Final = 8_192
STACKTRACE: Final = 32_768
LINE: Final = 65_536


def shortened(text: str, most: int) -> str:
    """The text; of one with more than so many characters the first and the last ones, and how many are left out."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"
