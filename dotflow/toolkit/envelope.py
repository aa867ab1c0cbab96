"""A context as bytes that say what they are, and that tell whether they are whole.

What the storages for files, Redis and object stores write: a header line of JSON, `{"dotflow":1,"sha256":"...",` and the
fields of `Header`, then the payload. The sum covers every byte after its comma. With `serializer="json"` the payload is JSON
too, so everything behind the first line is the task's result, as `tail -n +2` of a file shows.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.errors import InvalidChoice, SerializationError, StorageError
from dotflow.model.context import Context, Provenance
from dotflow.toolkit import codec

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["FORMAT", "SUFFIX", "Header", "check_serializer", "header_of", "name_of", "name_start_of", "seal", "unseal"]

FORMAT = 1
"""The version of the format."""

SUFFIX = ".ckpt"
"""How a file's name ends."""

_SERIALIZERS = ("json", "pickle")
_PICKLE_PROTOCOL = 5  # the newest that every supported Python reads
_READABLE_CHARACTERS = 80  # with the rest of the name below the 143 that encrypting file systems allow
_PREAMBLE = re.compile(rb'\{"dotflow":(0|[1-9]\d{0,8}),"sha256":"([0-9a-f]{64})",')


class Header(NamedTuple):
    """What an envelope says of the context in it: how its value is written, and whose it is."""

    serializer: str
    key: str
    task_id: str | None
    workflow_id: str | None
    time: datetime | None
    origin: str | None = None
    run_id: str | None = None
    basis: str | None = None


def check_serializer(serializer: str) -> str:
    """The serializer itself.

    Raises:
        InvalidChoice: it is neither "json" nor "pickle".
    """
    if serializer not in _SERIALIZERS:
        raise InvalidChoice("serializer", serializer, _SERIALIZERS)
    return serializer


def seal(key: str, context: Context, serializer: str = "json") -> bytes:
    """`context` as bytes that belong under `key`.

    `serializer="json"` takes the types of `dotflow.toolkit.codec` and refuses all others; `"pickle"` takes whatever pickle does.

    Raises:
        SerializationError: the serializer cannot represent the value.
    """
    payload = _dump(context.storage, serializer)
    made = context.provenance or (None, None)
    header = Header(serializer, key, context.task_id, context.workflow_id, context.time, context.origin, *made)
    line = codec.encode(header._asdict())[1:]  # the brace stands in the preamble
    rest = line + b"\n" + payload
    return b'{"dotflow":%d,"sha256":"%s",%s' % (FORMAT, hashlib.sha256(rest).hexdigest().encode(), rest)


def unseal(data: bytes, key: str, serializer: str = "json") -> Context:
    """The context that was put into an envelope for `key`. With `serializer="json"` a pickle is never loaded: it can run any code.

    Raises:
        StorageError: `data` is torn or was changed, is another key's, was written by another version, or is a pickle and
            `serializer` is not.
    """
    _check(data)
    line, _, payload = data.partition(b"\n")
    header = header_of(line)
    if header.key != key:
        raise StorageError(f"holds the context of {header.key!r}, not of {key!r}; was it moved?")
    context = Context(task_id=header.task_id, workflow_id=header.workflow_id, time=header.time, origin=header.origin)
    if header.run_id is not None and header.basis is not None:
        context.provenance = Provenance(header.run_id, header.basis)
    context.storage = _undump(payload, header.serializer, serializer)
    return context


def header_of(line: bytes) -> Header:
    """The header in the first line. Not checked against the sum, so a list does not have to read the payloads.

    Raises:
        StorageError: it is damaged.
    """
    preamble = _PREAMBLE.match(line)
    fields = codec.decode(b"{" + line[preamble.end() :]) if preamble else None
    if type(fields) is not dict or not _is_header(fields):
        raise StorageError("torn or corrupt: the header is damaged")
    return Header(**fields)


def _is_header(fields: dict[str, Any]) -> bool:
    known = set(Header._fields)
    return known - Header._field_defaults.keys() <= fields.keys() <= known and type(fields["key"]) is str


def name_of(key: str) -> str:
    """A file name for `key`: a readable start, and a hash that makes it unique on any system."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{name_start_of(key)}-{digest}{SUFFIX}"


def name_start_of(prefix: str) -> str:
    """How the file name of every key that starts with `prefix` starts; those of other keys may too."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", prefix[:_READABLE_CHARACTERS])


def _check(data: bytes) -> None:
    """Raise unless every byte is as it was written."""
    preamble = _PREAMBLE.match(data)
    if preamble is None:
        raise StorageError("torn or corrupt: the header is damaged" if data else "torn or corrupt: it is empty")
    version, checksum = preamble.groups()
    if int(version) != FORMAT:
        raise StorageError(f"written in format {int(version)}; this version of dotflow reads format {FORMAT}")
    if hashlib.sha256(memoryview(data)[preamble.end() :]).hexdigest().encode() != checksum:
        raise StorageError("torn or corrupt: the content does not have the sum that the header states")


def _dump(value: Any, serializer: str) -> bytes:
    if serializer == "json":
        return codec.encode(value)
    try:
        return pickle.dumps(value, _PICKLE_PROTOCOL)
    except Exception as error:
        raise SerializationError(
            f"a result of type {type(value).__module__}.{type(value).__qualname__} cannot be pickled"
            f" ({type(error).__name__}); return plain values or objects of importable classes"
        ) from error


def _undump(payload: bytes, written: str, wanted: str) -> Any:
    if written == "json":
        return codec.decode(payload)
    if written not in _SERIALIZERS:
        raise StorageError(f"written with serializer={written!r}, which this version of dotflow does not know")
    if written != wanted:
        raise StorageError(
            f"written with serializer={written!r}, which this storage does not read: reading a pickle can run any code."
            ' If you trust where it comes from, give the storage serializer="pickle"'
        )
    try:
        return pickle.loads(payload)  # noqa: S301 - asked for by serializer="pickle", and checked
    except Exception as error:
        raise StorageError(
            f"its pickle does not load here ({type(error).__name__}); has a class moved or changed since?"
        ) from error
