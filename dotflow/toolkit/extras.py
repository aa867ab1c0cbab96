"""Imports that need an extra."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dotflow.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["needing"]


@contextmanager
def needing(provider: str, extra: str) -> Iterator[None]:
    """Around the imports that a provider needs an extra for.

    Raises:
        MissingExtra: (an `ImportError`) a library is not there; names the `pip install` that brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dotflow"):  # ours, or a provider's package: no extra brings it
            raise
        raise MissingExtra(provider, extra) from error
