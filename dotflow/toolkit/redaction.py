"""Errors of other people's libraries, told without the credentials that they may quote."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from dotflow.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["redacted", "storage_error"]

_HIDDEN = "***"


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` with every one of `secrets` covered, the longest first."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def storage_error(
    what: str, error: BaseException, secrets: Iterable[str] = (), kind: type[StorageError] = StorageError
) -> StorageError:
    """A StorageError to raise: `what` could not be done, and why. `error` is chained, unless a secret shows in it.

    For instance, an old Redis quotes the words of a command that it does not know, and so the password.
    """
    secrets = list(filter(None, secrets))
    found = kind(redacted(f"{what}: {_reason(error)}", secrets))
    whole = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    found.__cause__ = None if any(secret in whole for secret in secrets) else error
    return found


def _reason(error: BaseException) -> str:
    """Its text, or its type where the text says nothing."""
    text = str(error).strip()
    if not text:
        return type(error).__name__
    return text if isinstance(error, StorageError) else f"{text} ({type(error).__name__})"
