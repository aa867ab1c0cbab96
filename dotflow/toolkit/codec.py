"""An exact JSON: what `decode` gives equals what `encode` took, types included, or `encode` raises.

JSON's own values are written as themselves, so a file of them reads as anyone expects. Every other type is an object
of one key that starts with `$` and names it: `{"$tuple": [1, 2]}`, `{"$decimal": "1.20"}`. A dict that looks like one,
or whose keys are not all plain text, is written as `{"$dict": [[key, value], ...]}`.

Equality is by value: two references to one list come back as two equal lists. Nothing is imported or called by name
when decoding, so data of an unknown source can do no more than fail.
"""

from __future__ import annotations

import base64
import json
import math
import pickle
import struct
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import TYPE_CHECKING, Any
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotflow.errors import SerializationError, StorageError
from dotflow.model.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import PurePath

__all__ = ["MAX_DEPTH", "decode", "encode"]

MAX_DEPTH = 128
"""How many containers may stand inside each other. What is written is always shallow enough to be read back."""

# Python refuses to parse decimal ints of more digits than a limit that programs may lower to 640 (2126 bits).
_MAX_DECIMAL_BITS = 2048
_SHOWN_KEY = 40
_SHOWN_PATH = 200


def encode(value: Any) -> bytes:
    """`value` as UTF-8 JSON, on one line.

    Raises:
        SerializationError: a part of it cannot be represented exactly. The message says where and of which type
            it is, never what it holds.
    """
    try:
        tree = _Writer().value(value)
        text = json.dumps(tree, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    except _Refused as refused:
        raise SerializationError(refused.message()) from None
    except RecursionError:
        raise SerializationError("the value is nested too deeply for what is left of the stack") from None
    return text.encode()


def decode(data: bytes) -> Any:
    """The value that `encode` wrote.

    Raises:
        StorageError: `data` is not what `encode` writes, or names a time zone that this machine does not have.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_read_object, parse_constant=_read_constant)
    except RecursionError:
        raise StorageError("corrupt data, or too little of the stack is left: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of too many digits; its text holds no values
        raise StorageError(f"corrupt data: {error}") from None


# --- writing ---------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """A value that cannot be written. Each container it passes on its way up adds its own step of the path."""

    def __init__(self, why: str, *segments: str) -> None:
        super().__init__(why)
        self.why = why
        self.segments = list(segments)

    def under(self, segment: str) -> None:
        self.segments.append(segment)

    def message(self) -> str:
        path = "$" + "".join(reversed(self.segments))
        if len(path) > _SHOWN_PATH:
            path = f"{path[: _SHOWN_PATH // 2]}...{path[-_SHOWN_PATH // 2 :]}"
        return f"{path}: {self.why}"


class _Writer:
    """Turns one value into the lists, dicts and scalars that stand for it in JSON."""

    def __init__(self) -> None:
        self._open: set[int] = set()  # the containers around the value at hand

    def value(self, value: Any) -> Any:
        kind = type(value)  # and never isinstance: a subclass would come back as its base
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            return scalar(value)
        container = _CONTAINERS.get(kind)
        if container is None:
            raise _Refused(_why_not(kind))
        return self._inside(container, value)

    def _inside(self, container: Callable[[_Writer, Any], Any], value: Any) -> Any:
        if id(value) in self._open:
            raise _Refused(
                f"the {_name(type(value))} contains itself, which JSON cannot say: return plain values, {_OTHERWISE}"
            )
        if len(self._open) >= MAX_DEPTH:
            raise _Refused(f"the value is nested deeper than {MAX_DEPTH} levels; flatten it, {_OTHERWISE}")
        self._open.add(id(value))
        try:
            return container(self, value)
        finally:
            self._open.discard(id(value))

    def items(self, values: Iterable[Any]) -> list[Any]:
        written: list[Any] = []
        try:
            for value in values:
                written.append(self.value(value))  # noqa: PERF401 - its length is the index in the path
        except _Refused as refused:
            refused.under(f"[{len(written)}]")
            raise
        return written

    def mapping(self, mapping: dict[Any, Any]) -> Any:
        if all(map(_is_plain_key, mapping)) and not _looks_tagged(mapping):
            return self.fields(mapping)
        return {"$dict": [[self._key(key, at), self._at(key, at, mapping[key])] for at, key in enumerate(mapping)]}

    def fields(self, mapping: dict[str, Any]) -> dict[str, Any]:
        written: dict[str, Any] = {}
        key = ""
        try:
            for key, value in mapping.items():
                written[key] = self.value(value)
        except _Refused as refused:
            refused.under(_segment(key, len(written)))
            raise
        return written

    def _key(self, key: Any, position: int) -> Any:
        try:
            return self.value(key)
        except _Refused as refused:
            refused.under(f"[key #{position}]")
            raise

    def _at(self, key: Any, position: int, value: Any) -> Any:
        try:
            return self.value(value)
        except _Refused as refused:
            refused.under(_segment(key, position))
            raise

    def context(self, context: Context) -> Any:
        return {"$context": self.fields({name: getattr(context, name) for name in _CONTEXT_FIELDS})}


_CONTEXT_FIELDS = ("storage", "task_id", "workflow_id", "time")


def _is_text(text: str) -> bool:
    """False for a string with surrogates: JSON would merge two halves of a pair into one character."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain_key(key: Any) -> bool:
    return type(key) is str and _is_text(key)


def _looks_tagged(mapping: dict[str, Any]) -> bool:
    return len(mapping) == 1 and next(iter(mapping)).startswith("$")


def _segment(key: Any, position: int) -> str:
    if type(key) is not str:
        return f"[key #{position}]"
    shown = key if len(key) <= _SHOWN_KEY else f"{key[:_SHOWN_KEY]}..."
    return f".{shown}" if key.isidentifier() else f"[{shown!r}]"


def _itself(value: Any) -> Any:
    return value


def _write_int(value: int) -> Any:
    return value if value.bit_length() <= _MAX_DECIMAL_BITS else {"$int": hex(value)}


def _write_float(value: float) -> Any:
    """As itself if finite; JSON has no word for the others. A NaN keeps its bits: they may carry a meaning."""
    if math.isfinite(value):
        return value
    bits = struct.pack(">d", value).hex()
    return {"$float": f"nan:{bits}" if value != value and bits != _NAN_BITS else str(value)}  # noqa: PLR0124


_NAN_BITS = struct.pack(">d", float("nan")).hex()


def _write_str(value: str) -> Any:
    return value if _is_text(value) else {"$str": _base64(value.encode("utf-8", "surrogatepass"))}


def _write_complex(value: complex) -> Any:
    return {"$complex": [_write_float(value.real), _write_float(value.imag)]}


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _write_datetime(value: datetime) -> Any:
    return {"$datetime": _write_clock(value)}


def _write_time(value: time) -> Any:
    return {"$time": _write_clock(value)}


def _write_clock(value: datetime | time) -> Any:
    """ISO 8601 where that says everything; else `[text without zone, zone, fold]`."""
    if not value.fold and _is_iso_zone(value.tzinfo):
        return value.isoformat()
    return [value.replace(tzinfo=None).isoformat(), _write_tzinfo(value.tzinfo), value.fold]


def _is_iso_zone(zone: Any) -> bool:
    """True for no zone, and for an offset without a name in whole seconds: `fromisoformat` drops the fractions."""
    if zone is None:
        return True
    return type(zone) is timezone and len(_arguments(zone)) == 1 and not zone.utcoffset(None).microseconds


def _arguments(zone: timezone) -> tuple[Any, ...]:
    """What the zone was made of: the offset, and the name if it was given one."""
    return zone.__getinitargs__()  # type: ignore[attr-defined,no-any-return]  # the pickle protocol's; not in typeshed


def _write_tzinfo(zone: Any) -> Any:
    if zone is None:
        return None
    write = _ZONES.get(type(zone))
    if write is None:
        raise _Refused(_why_not(type(zone)), ".tzinfo")
    return write(zone)


def _write_timezone(zone: timezone) -> Any:
    offset, *name = _arguments(zone)
    return {"$timezone": [offset.days, offset.seconds, offset.microseconds, *map(_write_str, name)]}


def _write_zoneinfo(zone: ZoneInfo) -> Any:
    """By key, which means the same rules only for a zone that came from its key."""
    try:
        _, (key, is_cached) = tuple(zone.__reduce__())
    except pickle.PicklingError:  # made from a file
        is_cached = False
    if not is_cached:
        raise _Refused(
            f"this zoneinfo.ZoneInfo did not come from ZoneInfo(key), so no key stands for it: use one that did, {_OTHERWISE}"
        )
    return {"$zoneinfo": key}


def _write_timedelta(value: timedelta) -> Any:
    return {"$timedelta": [value.days, value.seconds, value.microseconds]}


def _write_uuid(value: UUID) -> Any:
    is_usual = value.is_safe is SafeUUID.unknown
    return {"$uuid": str(value) if is_usual else [str(value), value.is_safe.name]}


def _write_path(value: PurePath) -> Any:
    text = str(value)
    if _anatomy(type(value)(text)) != _anatomy(value):  # a few Windows paths, such as ./c:x, are not what they print
        raise _Refused(f"this {_name(type(value))} is not the one that its text means: return a str, {_OTHERWISE}")
    return {_PATH_TAGS[type(value)]: _write_str(text)}


def _anatomy(path: PurePath) -> tuple[str, str, tuple[str, ...]]:
    return path.drive, path.root, path.parts


_PATH_TAGS: dict[type, str] = {
    PosixPath: "$posix_path",
    WindowsPath: "$windows_path",
    PurePosixPath: "$pure_posix_path",
    PureWindowsPath: "$pure_windows_path",
}

_ZONES: dict[type, Callable[[Any], Any]] = {timezone: _write_timezone, ZoneInfo: _write_zoneinfo}

_SCALARS: dict[type, Callable[[Any], Any]] = {
    type(None): _itself,
    bool: _itself,
    int: _write_int,
    float: _write_float,
    str: _write_str,
    complex: _write_complex,
    bytes: lambda value: {"$bytes": _base64(value)},
    bytearray: lambda value: {"$bytearray": _base64(value)},
    datetime: _write_datetime,
    date: lambda value: {"$date": value.isoformat()},
    time: _write_time,
    timedelta: _write_timedelta,
    Decimal: lambda value: {"$decimal": str(value)},
    UUID: _write_uuid,
    **_ZONES,
    **dict.fromkeys(_PATH_TAGS, _write_path),
}

_CONTAINERS: dict[type, Callable[[_Writer, Any], Any]] = {
    list: _Writer.items,
    dict: _Writer.mapping,
    tuple: lambda writer, value: {"$tuple": writer.items(value)},
    set: lambda writer, value: {"$set": writer.items(value)},
    frozenset: lambda writer, value: {"$frozenset": writer.items(value)},
    Context: _Writer.context,
}

_OTHERWISE = 'or use a storage with serializer="pickle"'


def _why_not(kind: type) -> str:
    return f"a value of type {_name(kind)} cannot be stored exactly as JSON; {_instead(kind)}, {_OTHERWISE}"


def _instead(kind: type) -> str:
    if issubclass(kind, Enum):
        return "return its .value or .name"
    base = next((base for base in kind.__mro__ if base in _SCALARS or base in _CONTAINERS), None)
    return f"convert it with {base.__name__}(...)" if base else "return plain values"


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# --- reading ---------------------------------------------------------------------------------------------------------

# What the constructors below raise for arguments that `encode` never writes.
_MALFORMED = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NotImplementedError,
    OSError,
    struct.error,
)


def _read_object(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) == 1 and pairs[0][0].startswith("$"):
        return _read_tagged(*pairs[0])
    return _unique(dict(pairs), len(pairs))


def _read_tagged(tag: str, value: Any) -> Any:
    kinds, read = _READERS.get(tag, ((), _itself))
    if type(value) not in kinds:
        word = "malformed" if kinds else "unknown"
        raise StorageError(f"corrupt data: {word} {tag[:_SHOWN_KEY]!r}; was it written by a newer dotflow?")
    try:
        return read(value)
    except StorageError:
        raise
    except _MALFORMED as error:  # not chained: the texts of these errors hold the value
        raise StorageError(f"corrupt data: malformed {tag!r} ({type(error).__name__})") from None


def _read_constant(word: str) -> Any:
    raise StorageError(f"corrupt data: {word} is not JSON")


def _unique(collection: Any, count: int) -> Any:
    if len(collection) != count:
        raise StorageError("corrupt data: a dict or set names the same thing twice")
    return collection


def _read_float(text: str) -> float:
    if not text.startswith("nan:"):
        return {"nan": float("nan"), "inf": math.inf, "-inf": -math.inf}[text]
    (value,) = struct.unpack(">d", bytes.fromhex(text.removeprefix("nan:")))
    return float(value)


def _read_complex(parts: list[Any]) -> complex:
    real, imaginary = parts
    return complex(real, imaginary)


def _read_timedelta(parts: list[Any]) -> timedelta:
    days, seconds, microseconds = parts
    return timedelta(days, seconds, microseconds)


def _read_str(text: str) -> str:
    return _read_bytes(text).decode("utf-8", "surrogatepass")


def _read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _read_datetime(value: Any) -> datetime:
    if type(value) is str:
        return datetime.fromisoformat(value)
    text, zone, fold = value
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _read_time(value: Any) -> time:
    if type(value) is str:
        return time.fromisoformat(value)
    text, zone, fold = value
    return time.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _read_timezone(value: list[Any]) -> timezone:
    return timezone(_read_timedelta(value[:3]), *value[3:])


def _read_zoneinfo(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except ZoneInfoNotFoundError:
        raise StorageError(f"the time zone {key!r} is not known on this machine; pip install tzdata") from None


def _read_uuid(value: Any) -> UUID:
    if type(value) is str:
        return UUID(value)
    text, safety = value
    return UUID(text, is_safe=SafeUUID[safety])


def _read_context(fields: dict[str, Any]) -> Context:
    if len(fields) != len(_CONTEXT_FIELDS):
        raise StorageError("corrupt data: a '$context' of unknown fields")
    context = Context(task_id=fields["task_id"], workflow_id=fields["workflow_id"], time=fields["time"])
    context.storage = fields["storage"]  # and not by the constructor, which unwraps a Context
    return context


_READERS: dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "$int": ((str,), lambda text: int(text, 16)),
    "$float": ((str,), _read_float),
    "$str": ((str,), _read_str),
    "$complex": ((list,), _read_complex),
    "$bytes": ((str,), _read_bytes),
    "$bytearray": ((str,), lambda text: bytearray(_read_bytes(text))),
    "$datetime": ((str, list), _read_datetime),
    "$date": ((str,), date.fromisoformat),
    "$time": ((str, list), _read_time),
    "$timedelta": ((list,), _read_timedelta),
    "$timezone": ((list,), _read_timezone),
    "$zoneinfo": ((str,), _read_zoneinfo),
    "$decimal": ((str,), Decimal),
    "$uuid": ((str, list), _read_uuid),
    "$tuple": ((list,), tuple),
    "$set": ((list,), lambda items: _unique(set(items), len(items))),
    "$frozenset": ((list,), lambda items: _unique(frozenset(items), len(items))),
    "$dict": ((list,), lambda pairs: _unique(dict(pairs), len(pairs))),
    "$context": ((dict,), _read_context),
    **{tag: ((str,), kind) for kind, tag in _PATH_TAGS.items()},
}
