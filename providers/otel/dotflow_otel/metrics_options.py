"""The options of the metrics provider, checked."""

from __future__ import annotations

from dotflow.action import check_seconds
from dotflow.errors import InvalidOption

__all__ = ["check_meter_provider", "check_timeout"]


def check_meter_provider(provider: object) -> None:
    """Raise unless it is None or gives meters."""
    if provider is not None and not callable(getattr(provider, "get_meter", None)):
        raise InvalidOption(f"meter_provider={provider!r}: an opentelemetry MeterProvider, or None")


def check_timeout(seconds: object) -> None:
    """Raise unless it is a number of seconds above 0."""
    check_seconds("shutdown_timeout", seconds)
    if not seconds:
        raise InvalidOption(f"shutdown_timeout={seconds!r}: seconds, above 0")
