"""What is installed: the name of the distribution, its version, and whether another one writes the same folder."""

from __future__ import annotations

import functools
import os
import warnings
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DISTRIBUTION", "version", "warn_of_the_other"]

DISTRIBUTION: Final = "dotflow-sdk"
"""What to install. The name `dotflow` belongs to another project on the package index."""

_OTHER = "dotflow"
_START = f"{_OTHER}-"
_INSTALLED = (".dist-info", ".egg-info")  # how a folder ends that says what is installed beside it


@functools.cache
def version() -> str:
    """The version of dotflow, "unknown" in a source tree that was never installed."""
    from importlib import metadata  # takes longer than all of dotflow to import, and few ask

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def warn_of_the_other(package_path: Iterable[str]) -> None:
    """Warn if the distribution `dotflow`, another project, is installed in the folder that holds this package.

    Both write the folder `dotflow/` there. `package_path` is the `__path__` of the package. It costs one listing of the folder
    around it; `importlib.metadata` would take longer to import than dotflow.
    """
    for folder in package_path:
        found = _version_beside(folder)
        if found is not None:
            warnings.warn(
                f"{_OTHER} {found} is installed in the same place as {DISTRIBUTION}. It is another project, and both write the "
                f"folder {folder}, so files of one may have replaced files of the other. Remove it, then install {DISTRIBUTION} "
                f"again: pip uninstall {_OTHER}, then pip install --force-reinstall --no-deps {DISTRIBUTION}",
                stacklevel=3,  # the line that imports dotflow
            )


def _version_beside(folder: str) -> str | None:
    """The version of the other distribution, None where it is not."""
    try:
        names = os.listdir(os.path.dirname(folder))  # noqa: PTH208, PTH120 - pathlib costs three times as much here
    except OSError:  # an archive, or no folder at all
        return None
    for name in names:
        if name[: len(_START)].lower() == _START and name.endswith(_INSTALLED):
            found = name[len(_START) : name.rindex(".")].split("-", 1)[0]  # an egg says for which Python too
            if found[:1].isdigit():  # else it is the name of yet another distribution that goes on
                return found
    return None
