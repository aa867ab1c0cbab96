"""For the tests of those who use dotflow: a clock and ids that can be foreseen, and providers that record."""

from dotflow.testing.clock import FakeClock, SequentialIds
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
    "SequentialIds",
]
