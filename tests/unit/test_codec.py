"""The codec gives back exactly what it took, or says where it cannot."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import traceback
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from enum import Enum, IntEnum
from io import BytesIO
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dotflow import Context
from dotflow.errors import DotflowError, SerializationError, StorageError
from dotflow.toolkit import codec

BERLIN = ZoneInfo("Europe/Berlin")
MINUS_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]


def fingerprint(value):
    """Nested tuples that are equal for two values only if value and exact type are, all the way down."""
    kind = type(value)
    if kind is float:
        shape = struct.pack(">d", value).hex()
    elif kind is complex:
        shape = [fingerprint(value.real), fingerprint(value.imag)]
    elif kind in {list, tuple}:
        shape = [fingerprint(item) for item in value]
    elif kind in {set, frozenset}:
        shape = sorted(map(fingerprint, value), key=repr)
    elif kind is dict:
        shape = [(fingerprint(key), fingerprint(item)) for key, item in value.items()]
    elif kind is Context:
        shape = [fingerprint(part) for part in (value.storage, value.task_id, value.workflow_id, value.time)]
    elif kind is uuid.UUID:
        shape = (str(value), value.is_safe)
    elif isinstance(value, PurePath):
        shape = (str(value), value.drive, value.root, value.parts)
    elif kind is int:
        shape = hex(value)
    else:
        shape = repr(value)
    return kind, shape


def back(value):
    return codec.decode(codec.encode(value))


# --- what comes back -------------------------------------------------------------------------------------------------

zones = st.one_of(
    st.none(),
    st.sampled_from([timezone.utc, BERLIN, ZoneInfo("UTC"), ZoneInfo("America/St_Johns")]),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), st.text(max_size=5)),
)
texts = st.one_of(st.text(), st.text(st.characters(categories=["Cs", "Ll"])), st.sampled_from(["$tuple", "$", "$dict"]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers().map(lambda number: number << 2040),
    st.floats(),
    st.complex_numbers(),
    texts,
    st.binary(),
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.builds(datetime.replace, st.datetimes(timezones=zones), fold=st.integers(0, 1)),
    st.dates(),
    st.builds(time.replace, st.times(timezones=zones), fold=st.integers(0, 1)),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.builds(PurePosixPath, texts.filter(lambda text: "\0" not in text)),
    st.builds(Path, texts.filter(lambda text: "\0" not in text)),
)
named_scalars = st.deferred(lambda: scalars)  # Hypothesis spells a strategy out in full, unless it is deferred
hashables = st.recursive(
    named_scalars.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan())),
    lambda inner: st.one_of(st.tuples(inner), st.tuples(inner, inner), st.frozensets(inner, max_size=4)),
    max_leaves=5,
)
named_hashables = st.deferred(lambda: hashables)
values = st.recursive(
    st.one_of(named_scalars, st.builds(bytearray, st.binary())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(named_hashables, max_size=4),
        st.frozensets(named_hashables, max_size=4),
        st.dictionaries(texts, inner, max_size=4),
        st.dictionaries(named_hashables, inner, max_size=4),
        st.builds(
            Context,
            inner,
            task_id=st.none() | st.text(),
            workflow_id=st.none() | st.text(),
            time=st.none() | st.datetimes(timezones=st.just(timezone.utc)),
        ),
    ),
    max_leaves=12,
)


@given(values)
@settings(max_examples=500, deadline=None)
@example({"$tuple": [1]})
@example({"$dict": {"$dict": {}}})
@example(["\ud83d\ude00", "\ud83d", "😀"])
@example({"\ud83d\ude00": 1, "😀": 2})
def test_every_value_comes_back_with_its_types(value):
    assert fingerprint(back(value)) == fingerprint(value)


@given(st.text("./\\:?caX", max_size=8).map(PureWindowsPath))
@example(PureWindowsPath("./c:"))
@example(PureWindowsPath("./c:x"))
@settings(deadline=None)
def test_a_windows_path_that_is_not_what_it_prints_is_refused(path):
    try:
        found = back(path)
    except SerializationError as error:
        assert "not the one that its text means" in str(error)  # noqa: PT017 - most are not refused
    else:
        assert fingerprint(found) == fingerprint(path)


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, True, False, 1, 1.0, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, MINUS_NAN),
        *(2**53 + 1, -(2**64), 10**617, 2**2048, -(2**2048), 10**5000),
        [1, True, 1.0, "1", b"1", bytearray(b"1"), None],
        {1: "int", "1": "str", (1,): "tuple", None: "none", b"1": "bytes", 1.5: "float"},
        {"z": 1, "a": 2, "m": 3},
        {3: 1, 1: 2, 2: 3},
        {"$tuple": [1, 2]},
        {"$unknown": 1},
        {"$": {"$": {}}},
        {"$ref": "#/a", "type": "object"},
        {math.nan: 1, MINUS_NAN: 2},
        {math.nan, MINUS_NAN, float("nan")},
        [(), [], {}, set(), frozenset(), "", b"", bytearray()],
        {frozenset({1, (2, b"3")}), frozenset()},
        '\x00\x1f\x7f\u2028\ufeff\U0010ffff"\\/',
        complex(math.nan, -math.inf),
        complex(-0.0, 0.0),
        datetime(2026, 11, 23, 10, 0, 0, 1),  # noqa: DTZ001
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=0),
        datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(0), "UTC")),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30), "IST")),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(microseconds=-1))),
        datetime(2026, 1, 1, tzinfo=timezone(-timedelta(hours=3, seconds=7))),
        datetime.min,  # noqa: DTZ901
        datetime.max.replace(tzinfo=timezone.utc),
        time(1, 2, 3, 4, tzinfo=BERLIN, fold=1),
        *(time(0), date.min, date.max, timedelta.min, timedelta.max, timedelta(microseconds=-1)),
        *(timezone.utc, timezone(timedelta(hours=1), "CET"), BERLIN),
        *map(Decimal, ["1.20", "1.2", "-0", "1E+5", "NaN", "-NaN123", "sNaN", "Infinity", "-Infinity", "0E-99"]),
        Decimal(1) / Decimal(7) * Decimal("1e-200"),
        uuid.UUID(int=0),
        uuid.uuid1(),
        uuid.UUID(int=5, is_safe=uuid.SafeUUID.unsafe),
        *(
            Path("a/b"),
            Path(),
            Path("/"),
            Path("//net/x"),
            Path.cwd(),
            PurePosixPath("a b/ü"),
            Path(os.fsdecode(b"\xff")),
        ),
        *map(PureWindowsPath, ["C:/a/b", "c:a", r"\\host\share\x", "a/B", ".", "//./pipe/x"]),
        Context(),
        Context({"a": (1,)}, task_id="t", workflow_id="w", time=1_700_000_000_123_456_789),
        [Context(1, task_id="a"), Context([Context(2)], task_id="b")],
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_the_corners_of_each_type(value):
    assert fingerprint(back(value)) == fingerprint(value)


def test_a_context_may_hold_a_context():
    outer = Context(task_id="outer")
    outer.storage = Context(1, task_id="inner")
    assert fingerprint(back(outer)) == fingerprint(outer)


def test_plain_json_stays_plain_json():
    plain = {"rows": [{"id": 1, "name": "Zoë", "price": 1.5, "ok": True, "gone": None}], "$schema": "x", "count": 2**63}
    assert json.loads(codec.encode(plain)) == plain
    assert "Zoë".encode() in codec.encode(plain)
    assert b"\n" not in codec.encode({"text": "two\nlines"})


def test_the_result_is_strict_json():
    def refuse(word):
        raise AssertionError(word)

    json.loads(codec.encode([math.nan, math.inf, -math.inf, "\ud800"]), parse_constant=refuse)


def test_other_types_read_well():
    value = {"at": datetime(2026, 11, 23, 10, tzinfo=timezone.utc), "price": Decimal("1.20"), "key": (1, 2)}
    assert codec.encode(value) == (
        b'{"at":{"$datetime":"2026-11-23T10:00:00+00:00"},"price":{"$decimal":"1.20"},"key":{"$tuple":[1,2]}}'
    )


def test_a_decimal_does_not_depend_on_the_context_of_the_moment():
    with localcontext() as context:
        context.prec = 3
        assert back(Decimal("1.23456789")) == Decimal("1.23456789")


def test_shared_values_come_back_equal():
    shared = [1]
    assert back([shared, shared, {"a": shared}]) == [[1], [1], {"a": [1]}]


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {1: v}, lambda v: {"a": v}, Context])
def test_the_deepest_value_comes_back_and_a_deeper_one_is_refused(wrap):
    value = 1
    for _ in range(codec.MAX_DEPTH):
        value = [value] if wrap is Context else wrap(value)
    assert fingerprint(back(value)) == fingerprint(value)
    with pytest.raises(SerializationError, match=f"deeper than {codec.MAX_DEPTH}"):
        codec.encode(wrap(value))


# --- what is refused -------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "s3cret"


class Level(IntEnum):
    HIGH = 424242


class Text(str):
    __slots__ = ()


class Money:
    def __repr__(self):
        return "s3cret"

    __str__ = __repr__


class Zone(tzinfo):
    def utcoffset(self, when):
        return timedelta(0)


class Richer(Context):
    pass


Pair = namedtuple("Pair", "a b")  # noqa: PYI024


@pytest.mark.parametrize(
    ("value", "kind", "advice"),
    [
        (Money(), "Money", "return plain values"),
        (Money, "type", "return plain values"),
        (Colour.RED, "Colour", r"\.value"),
        (Level.HIGH, "Level", r"\.value"),
        (Text("s3cret"), "Text", r"str\("),
        (OrderedDict(a="s3cret"), "collections.OrderedDict", r"dict\("),
        (defaultdict(list), "collections.defaultdict", r"dict\("),
        (Counter("s3cret"), "collections.Counter", r"dict\("),
        (Pair("s3cret", 1), "Pair", r"tuple\("),
        (deque(["s3cret"]), "collections.deque", "plain"),
        (Richer("s3cret"), "Richer", r"Context\("),
        (range(3), "range", "plain"),
        (memoryview(b"s3cret"), "memoryview", "plain"),
        (BytesIO(b"s3cret"), "_io.BytesIO", "plain"),
        (iter([1]), "list_iterator", "plain"),
        (lambda: "s3cret", "function", "plain"),
        (ValueError("s3cret"), "ValueError", "plain"),
        (..., "ellipsis", "plain"),
        ({}.keys(), "dict_keys", "plain"),
        (datetime(2026, 1, 1, tzinfo=Zone()), "Zone", "plain"),
        (ZoneInfo.no_cache("Europe/Berlin"), "ZoneInfo", "ZoneInfo"),
        (datetime(2026, 1, 1, tzinfo=ZoneInfo.no_cache("UTC")), "ZoneInfo", "ZoneInfo"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_json_cannot_say_is_refused_by_place_and_type_and_never_by_value(value, kind, advice):
    with pytest.raises(SerializationError, match=advice) as caught:
        codec.encode({"rows": [1, 2, 3, {"price": value}]})
    text = str(caught.value)
    assert text.startswith("$.rows[3].price")
    assert kind in text
    assert 'serializer="pickle"' in text
    assert "s3cret" not in text
    assert "424242" not in text
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, DotflowError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Money(), "$:"),
        ([[Money()]], "$[0][0]:"),
        ((1, Money()), "$[1]:"),
        ({"a b": Money()}, "$['a b']:"),
        ({"it's": {"": Money()}}, "$[\"it's\"]['']:"),
        ({1: 1, (2,): Money()}, "$[key #1]:"),
        ({1: 1, "name": Money()}, "$.name:"),
        ({"a": {1: 1, Money: 2}}, "$.a[key #1]:"),
        ({(1, Money()): 2}, "$[key #0][1]:"),
        ({frozenset({Money()})}, "$[0][0]:"),
        ([Context(1), Context({"x": [Money()]})], "$[1].storage.x[0]:"),
        ({"x" * 500: Money()}, "$." + "x" * 40 + "...:"),
        ({"at": time(1, tzinfo=Zone())}, "$.at.tzinfo:"),
        ({"a" * 30: {"b" * 30: {"c" * 30: {"d" * 30: {"e" * 30: {"f" * 30: {"g" * 30: Money()}}}}}}}, "$.aaa"),
    ],
)
def test_the_path_leads_to_the_value(value, path):
    with pytest.raises(SerializationError) as caught:
        codec.encode(value)
    assert str(caught.value).startswith(path)
    assert len(str(caught.value)) < 450


def cyclic_list():
    value = [1]
    value.append({"again": value})
    return value


def cyclic_context():
    value = Context()
    value.storage = (value,)
    return value


@pytest.mark.parametrize("make", [cyclic_list, cyclic_context])
def test_a_cycle_is_refused(make):
    with pytest.raises(SerializationError, match="contains itself"):
        codec.encode(make())


def test_endless_nesting_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match="nested deeper"):
        codec.encode(value)
    while value:  # else the interpreter frees it by recursion
        value = value.pop()


def at_the_end_of_the_stack(call):
    """What `call` does with room for about forty frames."""

    def descend(levels):
        return descend(levels - 1) if levels else call()

    return descend(sys.getrecursionlimit() - sum(1 for _ in traceback.walk_stack(None)) - 40)


def test_too_little_stack_is_an_error_of_ours():
    value = 1
    for _ in range(codec.MAX_DEPTH):
        value = {1: value}
    with pytest.raises(SerializationError, match="stack"):
        at_the_end_of_the_stack(lambda: codec.encode(value))


# --- what is not ours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b"{", b"[1,]", b'{"a":1', b"\xff\xfe", b"\xef\xbb\xbf1", b"nul", b"1 2", b"'a'", b'"a', b"\x80"),
        *(b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b"1" * 5000, b"[" * 100_000, b'{"a":' * 100_000),
        *(b'{"a":1,"a":2}', b'{"$tuple":[],"$tuple":[]}'),
        *(b'{"$unknown":1}', b'{"$":1}', b'{"$Tuple":[]}', b'{"$eval":"1+1"}', b'{"$pickle":"gASVAQ=="}'),
        *(b'{"$tuple":"ab"}', b'{"$tuple":{"a":1}}', b'{"$tuple":1}', b'{"$tuple":null}'),
        *(b'{"$set":[1,1]}', b'{"$set":[[]]}', b'{"$frozenset":[1,true]}', b'{"$set":[{"a":1}]}'),
        *(
            b'{"$dict":[[1]]}',
            b'{"$dict":[[1,2,3]]}',
            b'{"$dict":[[1,2],[1,3]]}',
            b'{"$dict":[[[],1]]}',
            b'{"$dict":[1]}',
        ),
        *(b'{"$int":"x"}', b'{"$int":5}', b'{"$float":"1.5"}', b'{"$float":"nan:00"}', b'{"$float":"nan:zz"}'),
        *(b'{"$str":"?"}', b'{"$str":"gA=="}', b'{"$bytes":"a"}', b'{"$bytes":"YQ==\\n"}', b'{"$bytearray":1}'),
        *(b'{"$complex":[1]}', b'{"$complex":["1","2"]}', b'{"$complex":[1,2,3]}'),
        *(b'{"$datetime":"yesterday"}', b'{"$datetime":[]}', b'{"$datetime":["2026-01-01T00:00:00",1,0]}'),
        *(b'{"$datetime":["2026-01-01T00:00:00",null,7]}', b'{"$datetime":1}', b'{"$date":"2026-13-01"}'),
        *(b'{"$timedelta":[1]}', b'{"$timezone":[1]}'),
        *(b'{"$time":"25:00:00"}', b'{"$time":["x",null,0]}', b'{"$timedelta":["a"]}', b'{"$timedelta":[1e99,0,0]}'),
        *(b'{"$timezone":[9,0,0]}', b'{"$timezone":[]}', b'{"$timezone":[0,0,0,1]}'),
        *(
            b'{"$zoneinfo":"../../etc/passwd"}',
            b'{"$zoneinfo":"/etc/passwd"}',
            b'{"$zoneinfo":""}',
        ),
        *(b'{"$decimal":"one"}', b'{"$decimal":1.5}', b'{"$uuid":"1"}', b'{"$uuid":[1]}'),
        b'{"$uuid":["00000000-0000-0000-0000-000000000000","odd"]}',
        *(b'{"$posix_path":1}', b'{"$pure_posix_path":["a"]}'),
        *(b'{"$context":[]}', b'{"$context":{}}', b'{"$context":{"storage":1}}'),
        b'{"$context":{"storage":1,"task_id":null,"workflow_id":null,"time":null,"more":1}}',
        b'{"$context":{"storage":1,"task_id":null,"workflow_id":null,"tim":null}}',
    ],
    ids=lambda data: data[:50].decode("ascii", "replace"),
)
def test_data_that_encode_never_writes_is_corrupt(data):
    with pytest.raises(StorageError, match="corrupt"):
        codec.decode(data)


def test_a_path_of_another_system_is_not_changed_into_one_of_this():
    foreign = b'{"$posix_path":"/a"}' if os.name == "nt" else b'{"$windows_path":"C:\\\\a"}'
    with pytest.raises(StorageError, match="_path"):
        codec.decode(foreign)


def test_an_unknown_time_zone_says_what_to_install():
    with pytest.raises(StorageError, match=r"'Mars/Olympus'.*tzdata"):
        codec.decode(b'{"$zoneinfo":"Mars/Olympus"}')


def test_an_error_about_corrupt_data_does_not_show_it():
    with pytest.raises(StorageError) as caught:
        codec.decode(b'{"$datetime":"s3cret"}')
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


tags = st.sampled_from([*codec._READERS, "$x", "a"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tags, inner, max_size=2),
    max_leaves=8,
)


@given(trees.map(lambda tree: json.dumps(tree).encode()) | st.binary(max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_data_decodes_or_is_corrupt(data):
    try:
        value = codec.decode(data)
    except StorageError:
        return
    assert fingerprint(back(value)) == fingerprint(value)
