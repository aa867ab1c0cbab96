"""A file storage returns what was written, or says that it cannot; whatever happened to the file or to its writer."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from dotflow import Context, DotflowError, Task, action
from dotflow.abc import Storage
from dotflow.errors import InvalidChoice, InvalidOption, SerializationError, StorageError
from dotflow.providers import StorageFile
from support.threads import at_once

KEY = "nightly:load"
OLD = Context(
    {"rows": (1, 2), "at": datetime(2026, 11, 23, tzinfo=timezone.utc)}, task_id="load", workflow_id="nightly"
)

posix = pytest.mark.skipif(os.name == "nt", reason="modes, signals and limits of POSIX")


@pytest.fixture(params=["json", "pickle"])
def serializer(request):
    return request.param


@pytest.fixture
def storage(tmp_path, serializer):
    return StorageFile(tmp_path / "store", serializer=serializer)


def names(storage):
    return sorted(os.listdir(storage.path))  # noqa: PTH208


# --- what it keeps ---------------------------------------------------------------------------------------------------


def test_it_is_a_persistent_storage(storage):
    assert isinstance(storage, Storage)
    assert storage.persistent


def test_the_key_is_workflow_and_task(storage):
    @action
    def step():
        return 1

    assert storage.key(Task(step, task_id="load-2", workflow_id="nightly")) == "nightly:load-2"


def test_another_instance_reads_what_one_wrote(storage, serializer):
    made = Context([(1,), {2}, b"3"], task_id="load", workflow_id="nightly", time=time.time_ns())
    storage.post(KEY, made)
    found = StorageFile(storage.path, serializer=serializer).get(KEY)
    assert found == made
    assert type(found.storage[0]) is tuple
    assert (found.task_id, found.workflow_id, found.time) == (made.task_id, made.workflow_id, made.time)


def test_the_result_of_a_class_step_comes_back(storage):
    made = Context([Context(1, task_id="a.one"), Context((2,), task_id="a.two")], task_id="a", workflow_id="w")
    storage.post(KEY, made)
    assert storage.get(KEY) == made
    assert storage.get(KEY).storage[1].task_id == "a.two"


def test_a_context_in_a_context_stays_one(storage):
    made = Context(task_id="outer")
    made.storage = Context(1, task_id="inner")
    storage.post(KEY, made)
    assert type(storage.get(KEY).storage) is Context
    assert storage.get(KEY) == made


def test_the_result_none_is_not_an_absent_result(storage):
    storage.post(KEY, Context(None, task_id="load"))
    assert not storage.get(KEY).is_empty
    assert storage.get("nightly:other").is_empty


def test_the_latest_post_wins(storage):
    for number in range(5):
        storage.post(KEY, Context(number))
    assert storage.get(KEY).storage == 4
    assert len(names(storage)) == 1


def test_a_storage_that_is_not_durable_keeps_the_same(tmp_path, serializer):
    storage = StorageFile(tmp_path, serializer=serializer, durable=False)
    storage.post(KEY, OLD)
    assert storage.get(KEY) == OLD


def test_a_json_file_is_a_header_line_and_the_result_as_json(tmp_path):
    storage = StorageFile(tmp_path)
    storage.post(KEY, Context({"rows": 3}, task_id="load", workflow_id="nightly"))
    header, payload = map(json.loads, storage.file(KEY).read_bytes().split(b"\n"))
    assert payload == {"rows": 3}
    assert (header["dotflow"], header["serializer"], header["key"]) == (1, "json", KEY)


def test_a_file_from_before_contexts_had_an_origin_is_read(tmp_path):
    storage = StorageFile(tmp_path)
    storage.post(KEY, Context({"rows": 3}, task_id="load", workflow_id="nightly", origin="f" * 32))
    preamble, rest = storage.file(KEY).read_bytes().split(b",", 2)[0], storage.file(KEY).read_bytes().split(b",", 2)[2]
    without = rest.replace(b',"origin":"%s"' % (b"f" * 32), b"")
    assert len(without) < len(rest)
    storage.file(KEY).write_bytes(
        b'%s,"sha256":"%s",%s' % (preamble, hashlib.sha256(without).hexdigest().encode(), without)
    )
    found = storage.get(KEY)
    assert (found.storage, found.task_id, found.origin) == ({"rows": 3}, "load", None)


# --- where it keeps it -----------------------------------------------------------------------------------------------


def test_nothing_is_made_before_the_first_post(storage):
    assert storage.get(KEY).is_empty
    assert storage.list_keys() == []
    storage.delete(KEY)
    assert storage.clear("nightly") == 0
    assert not storage.path.exists()


@posix
def test_directory_and_files_are_the_owners_alone(tmp_path):
    storage = StorageFile(tmp_path / "deep" / "store")
    storage.post(KEY, OLD)
    assert stat.S_IMODE(storage.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(storage.file(KEY).stat().st_mode) == 0o600


def test_a_relative_path_stays_where_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = StorageFile()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage.post(KEY, OLD)
    assert storage.path == tmp_path / ".dotflow"
    assert not list((tmp_path / "elsewhere").iterdir())


NASTY = [
    *("", ".", "..", "../../escape", "/etc/passwd", "a/b\\c", "C:\\x", "con", "nul:aux", "-rf", "~", "%s{}"),
    *("x" * 5000, "é", "e\u0301", "Straße:ß", "日本語:タスク", "😀", "a\nb", "a\0b", "\ud800", "\ud83d\ude00", "?"),
    *("Load", "load", "LOAD", "a:b", "a_b", "a b", "a", " a", "a ", '"', "{", "x" * 5001),
]


def test_any_key_has_a_safe_file_of_its_own(tmp_path):
    storage = StorageFile(tmp_path / "store", durable=False)
    for key in NASTY:
        storage.post(key, Context(key))
    assert [storage.get(key).storage for key in NASTY] == NASTY
    assert len({name.casefold() for name in names(storage)}) == len(NASTY)
    assert all(name.isascii() and len(name) <= 143 for name in names(storage))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert storage.list_keys() == sorted(NASTY)


def test_the_start_of_a_file_name_can_be_read(tmp_path):
    assert StorageFile(tmp_path).file("nightly-etl:load").name.startswith("nightly-etl_load-")


def test_a_directory_removed_in_between_is_made_again(storage):
    storage.post(KEY, OLD)
    storage.file(KEY).unlink()
    storage.path.rmdir()
    storage.post(KEY, OLD)
    assert storage.get(KEY) == OLD


# --- what it forgets -------------------------------------------------------------------------------------------------


def test_delete_forgets_one(storage):
    storage.post(KEY, OLD)
    storage.post("nightly:other", OLD)
    storage.delete(KEY)
    storage.delete(KEY)
    assert storage.get(KEY).is_empty
    assert storage.list_keys() == ["nightly:other"]


def test_list_keys_takes_a_prefix(storage):
    for key in ("b:1", "a:2", "a:1"):
        storage.post(key, Context(1))
    assert storage.list_keys() == ["a:1", "a:2", "b:1"]
    assert storage.list_keys("a:") == ["a:1", "a:2"]


def test_clear_forgets_one_workflow_and_not_another_that_starts_alike(storage):
    for workflow_id, task_id in (("a", "x"), ("a", "y"), ("a:b", "x"), ("ab", "x")):
        storage.post(f"{workflow_id}:{task_id}", Context(1, task_id=task_id, workflow_id=workflow_id))
    storage.post("a:bare", Context(1))
    assert storage.clear("a") == 3
    assert storage.list_keys() == ["a:b:x", "ab:x"]


def test_clear_forgets_the_record_of_the_run_too(storage):
    storage.post(KEY, OLD)
    for workflow_id in ("nightly", "weekly"):
        storage.post_run(workflow_id, Context({}, workflow_id=workflow_id))
    assert storage.clear("nightly") == 2
    assert storage.list_keys() == ["weekly#run"]


def test_a_damaged_file_does_not_hide_the_others_from_a_list(storage):
    storage.post(KEY, OLD)
    storage.post("nightly:torn", OLD)
    storage.file("nightly:torn").write_bytes(b"{")
    storage.file("nightly:moved").write_bytes(storage.file(KEY).read_bytes())
    (storage.path / "README").write_text("not ours")
    (storage.path / "odd.ckpt").mkdir()
    assert storage.list_keys() == [KEY]


# --- what it finds out -----------------------------------------------------------------------------------------------


def damaged(storage, data):
    storage.file(KEY).write_bytes(data)
    with pytest.raises(StorageError) as caught:
        storage.get(KEY)
    assert str(storage.file(KEY)) in str(caught.value)
    return str(caught.value)


def test_every_truncation_is_found(storage):
    storage.post(KEY, OLD)
    data = storage.file(KEY).read_bytes()
    for length in range(len(data)):
        assert "torn or corrupt" in damaged(storage, data[:length])


def test_every_flipped_bit_is_found(storage):
    storage.post(KEY, OLD)
    data = storage.file(KEY).read_bytes()
    for index in range(len(data)):
        for bit in range(8):
            damaged(storage, data[:index] + bytes([data[index] ^ 1 << bit]) + data[index + 1 :])


@pytest.mark.parametrize("more", [b"\0", b"\n", b" ", b"{}"])
def test_bytes_too_many_are_found(storage, more):
    storage.post(KEY, OLD)
    data = storage.file(KEY).read_bytes()
    damaged(storage, data + more)
    damaged(storage, more + data)


def test_zeros_instead_of_content_are_found(storage):
    storage.post(KEY, OLD)
    assert "damaged" in damaged(storage, bytes(storage.file(KEY).stat().st_size))


def test_an_empty_file_is_not_an_empty_context(storage):
    storage.post(KEY, OLD)
    assert "empty" in damaged(storage, b"")


def test_a_file_of_another_key_is_found(storage):
    storage.post("nightly:other", OLD)
    message = damaged(storage, storage.file("nightly:other").read_bytes())
    assert "'nightly:other'" in message
    assert f"'{KEY}'" in message


def test_a_file_of_another_version_is_found(storage):
    storage.post(KEY, OLD)
    data = storage.file(KEY).read_bytes()
    assert "format 12" in damaged(storage, data.replace(b'{"dotflow":1,', b'{"dotflow":12,', 1))


def envelope(fields, payload):
    """A file whose sum is right, whoever wrote it."""
    rest = json.dumps(fields)[1:].encode() + b"\n" + payload
    return b'{"dotflow":1,"sha256":"%s",%s' % (hashlib.sha256(rest).hexdigest().encode(), rest)


FIELDS = {"serializer": "json", "key": KEY, "task_id": None, "workflow_id": None, "time": None}


def test_the_test_can_seal(storage):
    storage.post(KEY, OLD)
    storage.file(KEY).write_bytes(envelope(FIELDS, b"[1]"))
    assert storage.get(KEY).storage == [1]


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        (FIELDS, b'{"$unknown":1}'),
        (FIELDS, b""),
        (FIELDS, pickle.dumps([1])),
        ({**FIELDS, "serializer": "yaml"}, b"[1]"),
        ({**FIELDS, "serializer": None}, b"[1]"),
        ({**FIELDS, "serializer": []}, b"[1]"),
        ({**FIELDS, "key": 5}, b"[1]"),
        ({**FIELDS, "more": 5}, b"[1]"),
        ({"key": KEY}, b"[1]"),
        ({**FIELDS, "serializer": "pickle"}, b"[1]"),
    ],
)
def test_a_file_that_somebody_else_wrote_is_refused(storage, fields, payload):
    storage.post(KEY, OLD)
    damaged(storage, envelope(fields, payload))


def test_a_good_file_is_good_again_after_a_new_post(storage):
    storage.post(KEY, OLD)
    damaged(storage, b"torn")
    storage.post(KEY, OLD)
    assert storage.get(KEY) == OLD


def test_a_directory_in_the_place_of_a_file_is_an_error_to_read_and_to_write(storage):
    storage.file(KEY).mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot read") as caught:
        storage.get(KEY)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(StorageError, match="cannot write"):
        storage.post(KEY, OLD)
    with pytest.raises(StorageError, match="cannot remove"):
        storage.delete(KEY)
    assert len(names(storage)) == 1


# --- pickle and JSON -------------------------------------------------------------------------------------------------


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_json_storage_never_unpickles(tmp_path):
    StorageFile(tmp_path / "store", serializer="pickle").post(KEY, Context(Bomb(tmp_path / "exploded")))
    with pytest.raises(StorageError, match=r"can run any code.*serializer=\"pickle\""):
        StorageFile(tmp_path / "store").get(KEY)
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_storage_reads_what_a_json_storage_wrote(tmp_path):
    StorageFile(tmp_path).post(KEY, OLD)
    assert StorageFile(tmp_path, serializer="pickle").get(KEY) == OLD


def test_pickle_keeps_what_json_refuses(tmp_path):
    value = [frozenset({1}), range(3), ValueError("x").args, Path]
    StorageFile(tmp_path, serializer="pickle").post(KEY, Context(value))
    assert StorageFile(tmp_path, serializer="pickle").get(KEY).storage == value


def nested():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


class Fails:
    def __reduce__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize("value", [lambda: 1, threading.Lock(), (n for n in ()), Fails(), [{"a": threading.Lock()}]])
def test_what_cannot_be_pickled_is_refused_with_the_cause(tmp_path, value):
    with pytest.raises(SerializationError, match="cannot be pickled") as caught:
        StorageFile(tmp_path, serializer="pickle").post(KEY, Context(value))
    assert caught.value.__cause__ is not None


def test_endless_nesting_is_refused(storage):
    value = nested()
    with pytest.raises(SerializationError):
        storage.post(KEY, Context(value))
    while value:  # else the interpreter frees it by recursion
        value = value.pop()


def test_a_pickle_whose_class_is_gone_is_an_error_to_read(tmp_path):
    storage = StorageFile(tmp_path, serializer="pickle")
    storage.post(KEY, OLD)
    storage.file(KEY).write_bytes(envelope({**FIELDS, "serializer": "pickle"}, b"cno_such_module\nGone\n."))
    with pytest.raises(StorageError, match="does not load here") as caught:
        storage.get(KEY)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


# --- bad options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["yaml", "JSON", "", None])
def test_an_unknown_serializer_is_refused_with_the_known_ones(tmp_path, word):
    with pytest.raises(InvalidChoice, match=r"'json', 'pickle'"):
        StorageFile(tmp_path, serializer=word)


def test_a_path_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InvalidOption, match="wants a directory"):
        StorageFile(file)
    with pytest.raises(InvalidOption, match="empty"):
        StorageFile("")


# --- a post that fails -----------------------------------------------------------------------------------------------


def test_a_value_that_json_cannot_say_leaves_the_old_one(tmp_path):
    storage = StorageFile(tmp_path)
    storage.post(KEY, OLD)
    with pytest.raises(SerializationError, match=r"^\$\.rows\[1\]") as caught:
        storage.post(KEY, Context({"rows": [1, object()]}))
    assert isinstance(caught.value, DotflowError)
    assert isinstance(caught.value, TypeError)
    assert storage.get(KEY) == OLD
    assert len(names(storage)) == 1


def test_a_value_that_cannot_be_said_makes_no_directory(tmp_path):
    storage = StorageFile(tmp_path / "store")
    with pytest.raises(SerializationError):
        storage.post(KEY, Context(object()))
    assert not storage.path.exists()


def test_a_parent_that_is_a_file_is_a_chained_error(tmp_path):
    storage = StorageFile(tmp_path / "parent" / "store")
    (tmp_path / "parent").write_text("")
    with pytest.raises(StorageError, match="cannot write") as caught:
        storage.post(KEY, OLD)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(storage.file(KEY)) in str(caught.value)
    with pytest.raises(StorageError, match="cannot read"):
        storage.get(KEY)
    with pytest.raises(StorageError, match="cannot list"):
        storage.list_keys()


FULL = """
import resource, sys
from dotflow import Context
from dotflow.errors import StorageError
from dotflow.providers import StorageFile

storage = StorageFile(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    storage.post(sys.argv[2], Context("x" * 100_000))
except StorageError as error:
    sys.exit(0 if isinstance(error.__cause__, OSError) else 2)
sys.exit(3)
"""


def child(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)


@posix
def test_a_write_that_breaks_off_leaves_the_old_file_and_no_other(tmp_path):
    storage = StorageFile(tmp_path)
    storage.post(KEY, OLD)
    with child(FULL, tmp_path, KEY) as process:
        assert process.wait(60) == 0
    assert storage.get(KEY) == OLD
    assert len(names(storage)) == 1


# --- writers that are killed, and many of them ------------------------------------------------------------------------

WRITER = """
import sys
from dotflow import Context
from dotflow.providers import StorageFile

storage = StorageFile(sys.argv[1], serializer=sys.argv[3], durable=sys.argv[4] == "durable")
print("ready", flush=True)
number = 0
while True:
    number += 1
    storage.post(sys.argv[2], Context([number] * 50_000, task_id=str(number)))
    print(number, flush=True)
"""


def is_whole(context):
    return context.storage == [int(context.task_id)] * 50_000


@posix
@pytest.mark.parametrize("durable", ["durable", "quick"])
def test_a_killed_writer_never_leaves_a_part(tmp_path, serializer, durable):
    """Killed after a varying number of reads, so at varying points of a write; each read in between is whole too."""
    storage = StorageFile(tmp_path, serializer=serializer)
    for reads in range(8):
        with child(WRITER, tmp_path, KEY, serializer, durable, stdout=subprocess.PIPE) as writer:
            while writer.stdout.readline() != "1\n":
                pass
            for _ in range(reads):
                assert is_whole(storage.get(KEY))
            writer.kill()
        assert is_whole(storage.get(KEY))
        assert storage.list_keys() == [KEY]


def test_what_killed_writers_left_is_removed_when_it_is_old(tmp_path, serializer):
    storage = StorageFile(tmp_path, serializer=serializer)
    stale, live = tmp_path / ".tmp-stale", tmp_path / ".tmp-live"
    for file in (stale, live):
        file.write_bytes(b'{"dotflow":1')
    two_hours_ago = time.time() - 7200
    os.utime(stale, (two_hours_ago, two_hours_ago))
    assert storage.list_keys() == []
    storage.post(KEY, OLD)
    assert not stale.exists()
    assert live.exists()
    assert storage.list_keys() == [KEY]


def run_together(calls):
    """Run the calls in a thread each, from one barrier; raise what the first of them raised."""
    barrier, errors = threading.Barrier(len(calls)), []

    def run(call):
        barrier.wait()
        try:
            call()
        except BaseException as error:
            errors.append(error)

    at_once(*(functools.partial(run, call) for call in calls))
    if errors:
        raise errors[0]


def test_threads_write_and_read_the_same_key(storage):
    def write(number):
        for _ in range(20):
            storage.post(KEY, Context([number] * 2000, task_id=str(number)))

    def read():
        for _ in range(50):
            found = storage.get(KEY)
            assert found.is_empty or found.storage == [int(found.task_id)] * 2000

    run_together([*(lambda number=number: write(number) for number in range(4)), read, read])
    assert len(names(storage)) == 1


def test_threads_write_different_keys(storage):
    def write(number):
        for turn in range(20):
            storage.post(f"w:{number}-{turn}", Context((number, turn)))

    run_together([lambda number=number: write(number) for number in range(6)])
    assert len(storage.list_keys("w:")) == 120
    assert storage.get("w:3-7").storage == (3, 7)


MANY = """
import sys
from dotflow import Context
from dotflow.providers import StorageFile

storage = StorageFile(sys.argv[1])
sys.stdin.readline()
for turn in range(30):
    storage.post("w:same", Context([int(sys.argv[2])] * 1000))
    storage.post(f"w:{sys.argv[2]}-{turn}", Context(turn))
    assert len(set(storage.get("w:same").storage)) == 1
"""


def test_processes_write_the_same_and_different_keys(tmp_path):
    store = tmp_path / "store"  # so that they also race to make it
    writers = [child(MANY, store, number, stdin=subprocess.PIPE) for number in range(3)]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    storage = StorageFile(store)
    assert len(storage.list_keys()) == 91
    assert len(names(storage)) == 91
