"""A fingerprint of a value: the same in every process, exactly where two values are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fingerprint_of"]


def fingerprint_of(value: object) -> str:
    """64 hexadecimal digits, equal exactly if the values are and are of the same types.

    The order of dicts and sets does not count. Numbers, texts, bytes, dates, enums, paths and dataclasses count by what they
    hold; what is none of these, by its pickle; what cannot be pickled, by its type alone.
    """
    return _digest(value, set()).hex()


def _digest(value: Any, inside: set[int]) -> bytes:
    import hashlib  # here, because few runs have a storage that keeps what this is for

    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    hasher = hashlib.sha256(name.encode() + b"\0")
    if id(value) in inside:
        hasher.update(b"itself")
        return hasher.digest()
    parts = _PARTS.get(kind)
    if parts is None and not _is_dataclass(value):
        hasher.update(_plain(value))
        return hasher.digest()
    inside.add(id(value))
    try:
        children = [_digest(part, inside) for part in (parts or _fields)(value)]
    finally:
        inside.discard(id(value))
    hasher.update(b"".join(sorted(children) if kind in _UNORDERED else children))
    return hasher.digest()


def _fields(value: Any) -> list[Any]:
    return [(name, getattr(value, name)) for name in value.__dataclass_fields__]


def _is_dataclass(value: object) -> bool:
    return hasattr(type(value), "__dataclass_fields__")


_PARTS: dict[type, Callable[[Any], Any]] = {
    list: list,
    tuple: list,
    dict: lambda value: list(value.items()),
    set: list,
    frozenset: list,
}
_UNORDERED = (dict, set, frozenset)


def _plain(value: Any) -> bytes:
    """What there is in a value that has no parts."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return str(value).encode("utf-8", "surrogatepass")
    if kind is float:
        return value.hex().encode()  # type: ignore[no-any-return]
    if kind in (bytes, bytearray):
        return bytes(value)
    import pickle

    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001 - pickling runs the value's own code
        return b"cannot be compared"
