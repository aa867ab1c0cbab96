"""Tests that are skipped because a program is not installed: each says what it did not test, and the end adds them up."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

_GO = "a Go toolchain of 1.21 or newer"
_REASON = re.compile(r"SKIPPED: no (?P<program>.+?) \((?P<how>.+?)\): (?P<untested>.+)")
_APT = "apt-get install "


def reason(program: str, package: str, untested: str) -> str:
    """The reason of a skip, for marks.

    Args:
        program: what is not on the PATH.
        package: Debian's package that brings it.
        untested: what was not tested, as a few words that "was not tested" follows.
    """
    return f"SKIPPED: no {program} ({_APT}{package}): {untested}"


def skip(program: str, package: str, untested: str) -> NoReturn:
    """Skip the test that runs, see `reason`."""
    pytest.skip(reason(program, package, untested))


def skip_unbuilt(program: str, untested: str, how: str = _GO) -> NoReturn:
    """Skip the test that runs: what would be made first is not there, nor what makes it."""
    pytest.skip(f"SKIPPED: no {program} ({how}): {untested}")


def summary(reasons: Iterable[str]) -> str:
    """One line for the reasons of all skips; empty if nothing was missing."""
    found = [match for text in reasons if (match := _REASON.search(text))]
    if not found:
        return ""
    counts = Counter(match["untested"] for match in found)
    untested = "; ".join(f"{what} ({_tests(count)})" for what, count in sorted(counts.items()))
    ways = {match["how"] for match in found}
    packages = sorted({way.removeprefix(_APT) for way in ways if way.startswith(_APT)})
    command = [_APT + " ".join(packages)] if packages else []
    return f"not tested, for want of a program: {untested}. What brings it: {' and '.join(command + sorted(ways - {_APT + each for each in packages}))}"


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it, after all the rest."""
    reports = terminalreporter.stats.get("skipped", [])
    line = summary(
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr) for report in reports
    )
    if line:
        terminalreporter.write_line(line, yellow=True)
