"""The options of the providers, checked."""

from __future__ import annotations

import os

from dotflow.errors import InvalidOption
from dotflow.model.action import check_seconds

__all__ = ["check_provider", "check_timeout", "number_in"]

_METHODS = {"TracerProvider": "get_tracer", "MeterProvider": "get_meter", "LoggerProvider": "get_logger"}


def check_provider(field: str, provider: object, kind: str) -> None:
    """Raise unless it is None or can do what a provider of this kind does."""
    if provider is not None and not callable(getattr(provider, _METHODS[kind], None)):
        raise InvalidOption(f"{field}={provider!r}: an opentelemetry {kind}, or None")


def check_timeout(seconds: object) -> None:
    """Raise unless it is a number of seconds above 0."""
    check_seconds("shutdown_timeout", seconds)
    if not seconds:
        raise InvalidOption(f"shutdown_timeout={seconds!r}: seconds, above 0")


def number_in(variable: str, default: int) -> int:
    """The whole number above 0 that an environment variable holds, else the default."""
    text = os.environ.get(variable, "").strip()
    return int(text) if text.isdecimal() and int(text) > 0 else default
