"""For the tests of those who use dotflow: a clock and ids that can be foreseen, and providers that record.

The suites for the seven contracts are in `dotflow.testing.contracts`, and can be had from here too.

Here: what is shipped to users for their tests. Not here: what only dotflow's own tests use (`tests/support/`). Nothing else in
dotflow imports it.
"""

import importlib
from typing import TYPE_CHECKING

from dotflow.testing.clock import FakeClock, ScheduleClock, SequentialIds
from dotflow.testing.recording import (
    Call,
    Calls,
    RecordingLog,
    RecordingMetrics,
    RecordingNotify,
    RecordingScheduler,
    RecordingServer,
    RecordingStorage,
    RecordingTracer,
)

__all__ = [
    "Call",
    "Calls",
    "FakeClock",
    "RecordingLog",
    "RecordingMetrics",
    "RecordingNotify",
    "RecordingScheduler",
    "RecordingServer",
    "RecordingStorage",
    "RecordingTracer",
    "ScheduleClock",
    "SequentialIds",
]

if TYPE_CHECKING:
    from dotflow.testing.contracts import LogContract as LogContract
    from dotflow.testing.contracts import MetricsContract as MetricsContract
    from dotflow.testing.contracts import NotifyContract as NotifyContract
    from dotflow.testing.contracts import SchedulerContract as SchedulerContract
    from dotflow.testing.contracts import ServerContract as ServerContract
    from dotflow.testing.contracts import StorageContract as StorageContract
    from dotflow.testing.contracts import TracerContract as TracerContract
else:

    def __getattr__(name: str) -> object:
        if not name.endswith("Contract"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Lazily: who needs a clock needs no unittest.
        return getattr(importlib.import_module("dotflow.testing.contracts"), name)
