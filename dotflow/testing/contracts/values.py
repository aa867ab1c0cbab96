"""Values and keys for the suite of a Storage, and how to tell whether a value came back as it was."""

from __future__ import annotations

import math
import threading
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from dotflow.model.context import Context

__all__ = ["KEYS", "PLAIN", "RICH", "UNKEEPABLE", "exactly"]

PLAIN: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53, 1.5, -0.0, 5e-324, 1.7976931348623157e308),
    *("", "text", "näh 日本語 😀", "a\nb\0c", '{"$tuple": [1]}', "x" * 10_000),
    *([], {}, [1, "1", 1.0, True, None], {"a": {"b": [{}]}}, {"z": 1, "a": 2}, {"": ""}, [[[[]]]]),
]
"""What JSON says by itself: no storage may refuse or change it."""

RICH: list[Any] = [
    *(2**64, -(2**2048), math.inf, -math.inf, math.nan, 1 + 2j),
    *(b"", b"\x00\xff", bytearray(b"ab"), "\ud800 half a pair"),
    *((), (1,), (1, [2, (3,)]), {1, 2}, set(), frozenset({"a"}), [{(1, 2): {3}}]),
    *({1: "int", "1": "text", (1,): "tuple", None: "none"}, {"$tuple": [1, 2]}, {"$unknown": 1}),
    *(date(2026, 11, 23), time(1, 2, 3, 4), timedelta(days=-1, microseconds=1)),
    *(datetime(2026, 11, 23, 1, 2, 3, 4), datetime(2026, 10, 25, 2, 30, tzinfo=timezone.utc)),  # noqa: DTZ001
    datetime(2026, 10, 25, tzinfo=timezone(timedelta(hours=5, minutes=30), "IST")),
    *(Decimal("1.20"), Decimal("-0"), Decimal("NaN"), UUID(int=7), PurePosixPath("a/../b")),
    [Context(1, task_id="a.one"), Context((2,), task_id="a.two", workflow_id="w")],
]
"""Beyond JSON: kept with their types, or refused."""

UNKEEPABLE: list[Any] = [threading.Lock(), lambda: 1, (n for n in [1]), {"rows": [1, threading.Lock()]}]
"""Nothing that could be read back in another process, except by reference."""

# fmt: off
KEYS: list[str] = [
    "w:load", "w:load-2", "w:Load", "w:LOAD", "w: load", "w:load ", "w", "", ".", "..", "../../escape", "/etc/passwd",
    "a/b\\c", "a//b", "a/", "C:\\x", "con", "nul:aux", "-rf", "~", "*", "?", "[a]", "%s{}", "%2F", "#", "a&b=c", '"', "'",
    "é", "e\u0301", "Straße:ß", "日本語:タスク", "😀", "a\nb", "a\r\nb", "a\0b", "\t", "x" * 1000, "x" * 1001, "é" * 600,
]
# fmt: on
"""Keys that differ, if only a little; each is to have a place of its own."""


def exactly(value: Any) -> Any:
    """Nested tuples that are equal for two values only if value and exact type are, all the way down."""
    kind = type(value)
    if kind in {list, tuple}:
        return kind, [exactly(item) for item in value]
    if kind in {set, frozenset}:
        return kind, sorted((exactly(item) for item in value), key=repr)
    if kind is dict:
        return kind, [(exactly(key), exactly(item)) for key, item in value.items()]
    if kind is Context:
        return kind, [exactly(part) for part in (value.storage, value.task_id, value.workflow_id, value.time)]
    return kind, repr(value)
