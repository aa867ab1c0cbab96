"""The options of the provider, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dotflow.errors import InvalidOption
from dotflow.model.action import check_seconds as check_not_below_0
from dotflow.toolkit.text import is_text

__all__ = ["check_host", "check_port", "check_prefix", "check_seconds", "checked_tags"]

_HIGHEST_PORT = 65535
_LONGEST_PREFIX = 100
_MOST_TAGS = 400  # bytes, so that a metric with the longest names fits into a datagram
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def check_host(host: object) -> None:
    """Raise unless it can be a name or an address."""
    if not is_text(host) or "://" in host or any(c.isspace() for c in host):
        raise InvalidOption(f"host={host!r}: the name or the address of a statsd server, for instance 'localhost'")


def check_port(port: object) -> None:
    """Raise unless it is the number of a port."""
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= _HIGHEST_PORT:
        raise InvalidOption(f"port={port!r}: a whole number from 1 to {_HIGHEST_PORT}")


def check_prefix(prefix: object) -> None:
    """Raise unless it is empty or can be the beginning of a name."""
    if prefix != "" and not (isinstance(prefix, str) and len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix)):
        raise InvalidOption(
            f"prefix={prefix!r}: letters, digits, '_' and '-', parted by single dots, for instance 'prod.dotflow'; '' for none"
        )


def check_seconds(name: str, seconds: object) -> None:
    """Raise unless it is a number of seconds above 0."""
    check_not_below_0(name, seconds)
    if not seconds:
        raise InvalidOption(f"{name}={seconds!r}: a number of seconds above 0")


def checked_tags(tags: object, *, dogstatsd: bool) -> dict[str, str]:
    """The tags that every metric gets; none for None."""
    if tags is None:
        return {}
    if not (isinstance(tags, Mapping) and all(is_text(key) and is_text(value) for key, value in tags.items())):
        raise InvalidOption(f"tags={tags!r}: a mapping of names to texts, for instance {{'env': 'prod'}}")
    if tags and not dogstatsd:
        raise InvalidOption("tags=... is DogStatsD's: with dogstatsd=False, put what you want to tell into the prefix")
    size = sum(len(f"{key}:{value},".encode()) for key, value in tags.items())
    if size > _MOST_TAGS:
        raise InvalidOption(f"tags=...: {size} bytes together; at most {_MOST_TAGS}, for they stand in every datagram")
    return dict(tags)
