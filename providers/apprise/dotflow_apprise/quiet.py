"""Apprise's own lines while dotflow calls it: listened to, and not written.

It warns at every message that fails, where dotflow says it once; and at DEBUG it, and urllib3 below it, write URLs with the
tokens in them. What the application itself sends through apprise is left alone.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Heard", "listening"]

_LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")
_STATUS = re.compile(r"\berror=(\d{3})\b")

_heard: ContextVar[Heard | None] = ContextVar("dotflow_apprise_heard", default=None)


class Heard:
    """What apprise said, of which only what cannot hold a secret is kept: the status of an answer, or that there was none."""

    def __init__(self) -> None:
        self.why = ""

    def note(self, line: str) -> None:
        """Take a line in."""
        status = _STATUS.search(line)
        if status:
            self.why = f"it answered {status[1]}"
        elif "connection error" in line.lower():
            self.why = "it cannot be reached, or did not answer in time"


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        heard = _heard.get()
        if heard is not None and record.levelno >= logging.INFO:
            heard.note(record.getMessage())
        return heard is None


_filter = _Filter()


@contextmanager
def listening() -> Iterator[Heard]:
    """Keep what apprise logs in this block, and in the threads that it starts, from being written."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # which does nothing if it is there already
    heard = Heard()
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
