"""Metrics as lines of the statsd protocol: `name:value|type`, and with DogStatsD tags `|#name:value,...`.

https://github.com/statsd/statsd/blob/master/docs/metric_types.md
https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dotflow.toolkit.text import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotflow.names.metrics import Metric

__all__ = ["COUNTER", "GAUGE", "TIMER", "Encoder"]

COUNTER: Final = b"c"
GAUGE: Final = b"g"
TIMER: Final = b"ms"

_NAMESPACE = "dotflow"
_LONGEST = 150  # characters of a part or a tag: Datadog takes 200 with the tag's name, and a packet must hold a line
_NOT_IN_A_PATH = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_A_TAG = re.compile(r"[\x00-\x1f\x7f,|]")
_KEPT = 10_000


class Encoder:
    """Makes lines. What is the same at every line of a series is made once.

    The name of a metric is the one in `dotflow.names.metrics`, with the prefix in place of its first part. Its labels follow
    in the order of that table: as further parts of the name, or as tags.
    """

    def __init__(self, prefix: str, *, dogstatsd: bool, tags: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._dogstatsd = dogstatsd
        self._tags = [f"{key}:{value}" for key, value in tags.items()]
        self._series: dict[tuple[str, tuple[str, ...]], tuple[bytes, bytes]] = {}

    def line(self, metric: Metric, labels: tuple[str, ...], value: float, kind: bytes) -> bytes:
        """One line; two where a plain statsd gauge goes below 0, which it only does step by step from there."""
        series = self._series.get((metric.name, labels)) or self._make(metric, labels)
        line = b"%b:%b|%b%b" % (series[0], _number(value), kind, series[1])
        if kind == GAUGE and value < 0 and not self._dogstatsd:
            return b"%b:0|g\n%b" % (series[0], line)
        return line

    def _make(self, metric: Metric, labels: tuple[str, ...]) -> tuple[bytes, bytes]:
        if len(self._series) >= _KEPT:
            self._series.clear()
        name = self._prefix + metric.name.removeprefix(_NAMESPACE) if self._prefix else metric.name.partition(".")[2]
        tail = b""
        if self._dogstatsd:
            tags = [*(f"{key}:{value}" for key, value in zip(metric.labels, labels, strict=True)), *self._tags]
            tail = b"|#" + ",".join(map(_tag, tags)).encode() if tags else b""
        else:
            name = ".".join([name, *map(_part, labels)])
        made = self._series[metric.name, labels] = (name.encode(), tail)
        return made


def _part(text: str) -> str:
    """A name as one part of a path."""
    return _NOT_IN_A_PATH.sub("_", text)[:_LONGEST] or "_"


def _tag(text: str) -> str:
    """A tag without what would end it."""
    return _NOT_IN_A_TAG.sub("_", storable(text))[:_LONGEST]


def _number(value: float) -> bytes:
    return b"%d" % value if value == int(value) else repr(float(value)).encode()
