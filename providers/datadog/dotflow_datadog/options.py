"""The options of the provider, checked."""

from __future__ import annotations

from collections.abc import Mapping

from dotflow.errors import InvalidOption
from dotflow.model.action import check_seconds as check_not_below_0
from dotflow.toolkit.text import is_text

__all__ = ["check_seconds", "check_service", "check_worker_setup", "checked_tags"]


def check_service(service: object) -> None:
    """Raise unless it is None or the name of a service."""
    if service is not None and not is_text(service):
        raise InvalidOption(
            f"service={service!r}: the name of a service, for instance 'nightly-etl', or None for DD_SERVICE"
        )


def check_seconds(name: str, seconds: object) -> None:
    """Raise unless it is a number of seconds above 0."""
    check_not_below_0(name, seconds)
    if not seconds:
        raise InvalidOption(f"{name}={seconds!r}: a number of seconds above 0")


def check_worker_setup(function: object) -> None:
    """Raise unless it is None or can be called."""
    if function is not None and not callable(function):
        raise InvalidOption(f"worker_setup={function!r}: a function without parameters")


def checked_tags(tags: object) -> dict[str, str]:
    """The tags; none for None."""
    if tags is None:
        return {}
    if not (isinstance(tags, Mapping) and all(is_text(key) and is_text(value) for key, value in tags.items())):
        raise InvalidOption(f"tags={tags!r}: a mapping of names to texts, for instance {{'team': 'data'}}")
    return dict(tags)
