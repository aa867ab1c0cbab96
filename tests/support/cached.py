"""Programs that the tests make first: by Go, npm or pip, once, in a cache outside the tree. The terminal is told.

A test that needs one is marked `built`, so that `make test` makes none of them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.terminal import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_running: list[pytest.Item] = []


def pytest_runtest_logstart() -> None:
    """Forget the test before."""
    _running.clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Know which test asks."""
    _running.append(item)


def folder() -> Path:
    """The cache. It outlives the clone and its `.venv`."""
    found = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dotflow"
    found.mkdir(parents=True, exist_ok=True)
    return found


def made_once(program: Path, what: str, takes: str, make: Callable[[], object], *, can: bool = True) -> Path | None:
    """The program, made if need be; two test runs at once make it once. None where it is not there and nothing `can` make it.

    Args:
        program: where it is, or a file that is there once it is complete.
        what: its name and version, for the terminal.
        takes: how long it takes to make, and from where it is downloaded, for the terminal.
        make: makes it. It leaves nothing behind under this name if it fails.
        can: whether what makes it is installed.
    """
    for item in _running:
        assert item.get_closest_marker("built"), f"{item.nodeid} needs {what}, which is made first: mark it `built`"
    if not program.exists() and can:
        with (folder() / f"{program.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                _make(program, what, takes, make)
    return program if program.exists() else None


def made_by(command: list[str], program: Path, what: str, takes: str, **environment: str) -> Path | None:
    """As `made_once`, by a command; what it says is told if it fails."""

    def make() -> None:
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        if done.returncode:
            tell(done.stderr[-500:])

    return made_once(program, what, takes, make, can=shutil.which(command[0]) is not None)


def _make(program: Path, what: str, takes: str, make: Callable[[], object]) -> None:
    tell(f"making {what}, once, in {folder()}: {takes}")
    began = time.monotonic()
    make()
    ended = "is there" if program.exists() else "could not be made"
    tell(f"{what} {ended} after {time.monotonic() - began:.0f} s")
