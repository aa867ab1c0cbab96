"""What a test tells the person at the terminal while it runs, past pytest's capture and, under xdist, past the worker."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_stderr: list[int] = []


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr: nothing is captured at this moment, and a worker of xdist has it from the controller."""
    descriptor = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    _stderr.append(descriptor)
    config.add_cleanup(lambda: (_stderr.remove(descriptor), os.close(descriptor)))


def tell(text: str) -> None:
    """Write a line, at once."""
    line = f"\n{text}\n".encode()
    if _stderr:
        os.write(_stderr[-1], line)
    else:
        os.write(2, line)
