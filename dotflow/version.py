"""What is installed: the name of the distribution, and its version."""

from __future__ import annotations

import functools
from typing import Final

__all__ = ["DISTRIBUTION", "version"]

DISTRIBUTION: Final = "dotflow-sdk"
"""What to install. The name `dotflow` belongs to another project on the package index."""


@functools.cache
def version() -> str:
    """The version of dotflow, "unknown" in a source tree that was never installed."""
    from importlib import metadata  # takes longer than all of dotflow to import, and few ask

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
