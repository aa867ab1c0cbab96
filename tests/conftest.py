"""What every test gets: a failure of a provider that nobody expected fails the test."""

from __future__ import annotations

import logging

import pytest


class _Reports(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "only counted" in message:
            self.lines.append(message)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "contained: the test is about errors that the engine contains")


@pytest.fixture(autouse=True)
def contained(request: pytest.FixtureRequest):
    """The reports of contained errors. Raised again as a failure of the test, unless it is marked `contained`."""
    reports = _Reports()
    logger = logging.getLogger("dotflow")
    logger.addHandler(reports)
    yield reports.lines
    logger.removeHandler(reports)
    if request.node.get_closest_marker("contained") is None:
        assert not reports.lines, "the engine contained errors that this test does not expect"
