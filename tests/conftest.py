"""What every test gets: a failure of a provider that nobody expected fails the test, and so does what a test leaves behind."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["support.terminal", "support.cached", "support.leftovers", "support.missing"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are processors: half of the time a test waits for a server or for a worker process."""
    return 2 * (os.cpu_count() or 1)


class _Reports(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "only counted" in message:
            self.lines.append(message)


@pytest.fixture(autouse=True)
def contained(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The reports of contained errors. Raised again as a failure of the test, unless it is marked `contained`."""
    reports = _Reports()
    logger = logging.getLogger("dotflow")
    logger.addHandler(reports)
    yield reports.lines
    logger.removeHandler(reports)
    if request.node.get_closest_marker("contained") is None:
        assert not reports.lines, "the engine contained errors that this test does not expect"
