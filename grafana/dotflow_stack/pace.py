"""How long an alert looks back, and waits: in production, and for a demonstration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEMO", "PRODUCTION", "Pace"]


@dataclass(frozen=True)
class Pace:
    """Windows and waits as Prometheus writes durations, thresholds in seconds.

    The names of the recorded series are the same at every pace (`…:p95_1h`), so that dashboards need know of one only.
    """

    minute: str = "1m"
    minutes_5: str = "5m"
    minutes_10: str = "10m"
    minutes_15: str = "15m"
    minutes_30: str = "30m"
    hour: str = "1h"
    day: str = "1d"
    hold: str = "5m"
    interval: str = "15s"
    stale_seconds: int = 60
    stuck_seconds: int = 3600
    queue_seconds: int = 60

    @property
    def hour_seconds(self) -> int:
        """The length of what it calls an hour."""
        return int(self.hour[:-1]) * {"s": 1, "m": 60, "h": 3600}[self.hour[-1]]


PRODUCTION: Final = Pace()

# No window shorter than four scrapes of 5 s.
DEMO: Final = Pace(
    minute="5s",
    minutes_5="20s",
    minutes_10="20s",
    minutes_15="30s",
    minutes_30="30s",
    hour="30s",
    day="5m",
    hold="10s",
    interval="5s",
    stale_seconds=15,
    stuck_seconds=20,
    queue_seconds=1,
)
