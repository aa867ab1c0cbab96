"""Which version this is, as its installation says."""

from __future__ import annotations

import functools

__all__ = ["version"]


@functools.cache
def version() -> str:
    """The version of dotflow, "unknown" in a source tree that was never installed."""
    from importlib import metadata  # takes longer than all of dotflow to import, and few ask

    try:
        return metadata.version("dotflow")
    except metadata.PackageNotFoundError:
        return "unknown"
