"""StorageFsspec on local files, in memory and on S3: what is special about it, and what happens when S3 stops or hangs."""

from __future__ import annotations

import os
import secrets
import stat
import sys
import threading
import traceback

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dotflow import Config, Context, DotFlow, action
from dotflow.errors import InvalidChoice, InvalidOption, SerializationError, StorageError, StorageNotPersistent
from dotflow.providers import StorageFile
from dotflow_fsspec import MissingFilesystem, StorageFsspec
from support.garbling import Garbling
from support.raising import raises
from support.s3_server import S3Server
from support.threads import in_time

pytest.importorskip("moto.server", reason="moto is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")

OLD = Context({"rows": (1, 2)}, task_id="load", workflow_id="w")
KEY = "w:load"
LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass


@pytest.fixture(scope="module")
def server():
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(server):
    """A function that makes a storage at a URL of the test's own."""
    url = f"s3://{server.bucket}/{secrets.token_hex(4)}"
    made = []

    def make(path="", **options):
        made.append(StorageFsspec(url + path, **{**server.options, **options}))
        return made[-1]

    yield make
    for storage in made:
        storage.close(1)


# --- local files


def test_it_reads_what_a_file_storage_has_written_and_the_other_way_round(tmp_path):
    files, anywhere = StorageFile(tmp_path / "store"), StorageFsspec(f"file://{tmp_path}/store")
    files.post("w:by-file", OLD)
    anywhere.post("w:by-fsspec", OLD)
    assert anywhere.get("w:by-file") == files.get("w:by-fsspec") == OLD
    assert anywhere.list_keys() == files.list_keys() == ["w:by-file", "w:by-fsspec"]


def test_a_path_without_a_protocol_is_a_local_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = StorageFsspec("store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage.post(KEY, OLD)
    assert StorageFile(tmp_path / "store").get(KEY) == OLD
    assert repr(storage) == f"StorageFsspec('file://{tmp_path}/store')"


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_directory_is_the_owners_alone(tmp_path):
    StorageFsspec(f"file://{tmp_path}/deep/store").post(KEY, OLD)
    assert stat.S_IMODE((tmp_path / "deep" / "store").stat().st_mode) == 0o700


def test_nothing_is_made_before_the_first_post(tmp_path):
    storage = StorageFsspec(f"file://{tmp_path}/store")
    assert storage.get(KEY).is_empty
    assert storage.list_keys() == []
    storage.delete(KEY)
    assert storage.clear("w") == 0
    assert not (tmp_path / "store").exists()


def test_a_directory_removed_in_between_is_made_again(tmp_path):
    storage = StorageFsspec(f"file://{tmp_path}/store")
    storage.post(KEY, OLD)
    StorageFile(tmp_path / "store").file(KEY).unlink()
    (tmp_path / "store").rmdir()
    storage.post(KEY, OLD)
    assert storage.get(KEY) == OLD


def test_a_directory_in_the_place_of_a_file_is_an_error_and_leaves_nothing(tmp_path):
    storage, file = StorageFsspec(f"file://{tmp_path}"), StorageFile(tmp_path).file(KEY)
    file.mkdir()
    with pytest.raises(StorageError, match="cannot read"):
        storage.get(KEY)
    with pytest.raises(StorageError, match="cannot write") as caught:
        storage.post(KEY, OLD)
    assert isinstance(caught.value.__cause__, OSError)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert not list(file.iterdir())


def test_a_file_under_another_name_is_not_listed(tmp_path):
    storage, files = StorageFsspec(f"file://{tmp_path}"), StorageFile(tmp_path)
    storage.post(KEY, OLD)
    files.file("w:loaded").write_bytes(files.file(KEY).read_bytes())
    files.file("w:torn").write_bytes(b"{")
    assert storage.list_keys() == [KEY]
    with pytest.raises(StorageError, match="not of 'w:loaded'"):
        storage.get("w:loaded")
    with pytest.raises(StorageError, match="torn or corrupt"):
        storage.get("w:torn")


def test_readers_see_the_old_or_the_new_while_it_is_written(tmp_path):
    storage = StorageFsspec(f"file://{tmp_path}")
    storage.post(KEY, Context([0] * 50_000))
    over = threading.Event()

    def write():
        for number in range(1, 30):
            storage.post(KEY, Context([number] * 50_000))
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set():
        found = storage.get(KEY).storage
        assert found == [found[0]] * 50_000
        seen.add(found[0])
    writer.join()
    assert len(seen) > 1


class Plain(MemoryFileSystem):
    """A file system of which nothing is known: not that it writes whole files, and not how it moves them."""

    protocol = "plain"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    seen: list = []  # noqa: RUF012

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self.seen.append(path.rpartition("/")[2])
        super().pipe_file(path, value, mode, **kwargs)


def test_elsewhere_a_file_is_written_beside_its_name_and_moved():
    fsspec.register_implementation("plain", Plain, clobber=True)
    storage = StorageFsspec("plain://store/deep")
    storage.post(KEY, OLD)
    assert storage.get(KEY) == OLD
    assert [name[:5] for name in Plain.seen] == [".tmp-"]
    assert [name.rpartition("/")[2][:7] for name in Plain.store] == ["w_load-"]
    assert storage.clear("w") == 1
    assert not Plain.store


# --- memory


def test_memory_cannot_be_resumed_from():
    storage = StorageFsspec("memory://store")
    workflow = DotFlow(Config(storage=storage), name="w", workflow_id="w")
    with pytest.raises(StorageNotPersistent):
        workflow.start(resume=True)


# --- S3


def test_an_object_is_a_header_line_and_the_result_as_json(server, s3):
    storage = s3()
    storage.post(KEY, OLD)
    bucket = fsspec.filesystem("s3", **server.options, skip_instance_cache=True, use_listings_cache=False)
    (name,) = bucket.ls(storage._folder.root)
    assert name == f"{storage._folder.root}/{StorageFile('x').file(KEY).name}"
    assert bucket.cat_file(name).splitlines()[1] == b'{"rows":{"$tuple":[1,2]}}'


def test_what_others_have_written_is_listed_at_once(s3):
    one, other = s3(), s3()
    for number in range(3):
        one.post(f"w:{number}", Context(number))
        assert other.list_keys() == [f"w:{each}" for each in range(number + 1)]
    assert other.clear("w") == 3
    assert one.list_keys() == []


def test_a_list_looks_only_at_its_own_folder(s3):
    upper, lower = s3(), s3("/deep")
    upper.post("w:upper", OLD)
    lower.post("w:lower", OLD)
    assert (upper.list_keys(), lower.list_keys()) == (["w:upper"], ["w:lower"])


def test_many_objects_are_listed_and_cleared(s3):
    storage = s3()
    for number in range(30):
        storage.post(f"w:{number}", Context(1))
    assert len(storage.list_keys("w:1")) == 11
    assert storage.clear("w") == 30


def test_a_value_that_json_cannot_say_leaves_the_old_one(s3):
    storage = s3()
    storage.post(KEY, OLD)
    with pytest.raises(SerializationError, match=r"^\$\.rows\[1\]"):
        storage.post(KEY, Context({"rows": [1, object()]}))
    assert storage.get(KEY) == OLD


def test_a_bucket_that_is_not_there_is_an_error_to_write_to(server):
    storage = StorageFsspec("s3://no-such-bucket/x", **server.options)
    assert storage.get(KEY).is_empty
    with pytest.raises(StorageError, match=r"cannot write s3://no-such-bucket/x/.*bucket does not exist") as caught:
        storage.post(KEY, OLD)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    storage.close(1)


def test_after_close_it_is_opened_again(s3):
    storage = s3()
    storage.post(KEY, OLD)
    storage.close(1)
    assert storage.get(KEY) == OLD


# --- in the middle of a run


@pytest.fixture
def broken():
    """One for the test alone, that may be broken."""
    with S3Server() as server:
        yield server


@action
def first():
    return 1


def run_of(storage, do):
    @action(name="second")
    def second():
        do()
        return 2

    workflow = DotFlow(Config(storage=storage), name="w", workflow_id="w")
    workflow.task.add(step=[first, second, first])
    run = in_time(workflow.start)
    assert [task.status for task in run.tasks] == ["Completed", "Failed", "Not started"]
    error = run.tasks[1].error
    assert error.exception == "StorageError"
    assert error.message.startswith("cannot write s3://dotflow/w/w_second-")
    assert S3Server.secret not in error.traceback
    return error


def test_an_s3_that_hangs_fails_the_task_with_the_cause(broken):
    storage = StorageFsspec("s3://dotflow/w", deadline=LIMIT / 2, **broken.options)

    def halt():
        broken.halt()
        storage._folder._deadline = 0.3  # from now on; before, it may be busy

    assert "given up after 0.3 s (TimeoutError)" in run_of(storage, halt).message
    broken.go_on()
    storage._folder._deadline = LIMIT / 2
    assert storage.get("w:first").storage == 1
    storage.close(1)


def test_an_s3_that_refuses_connections_tells_so_when_its_retries_are_over(broken):
    client = {"config_kwargs": {"retries": {"max_attempts": 1}}}
    storage = StorageFsspec("s3://dotflow/w", **broken.options, **client)
    storage._folder._filesystem().retries = 1  # those of s3fs, around those of botocore
    assert "Could not connect" in run_of(storage, broken.kill).message
    storage.close(1)


NONSENSE = {
    "nothing": b"",
    "zeros": b"\0" * 64,
    "another content": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort",
    "500": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "403": b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_in_the_middle_of_a_run_fails_the_task(server, kind):
    with Garbling(server.port) as between:
        storage = StorageFsspec("s3://dotflow/w", deadline=LIMIT / 2, **S3Server.options_at(between.port))

        def garble():
            between.nonsense = NONSENSE[kind]
            storage._folder._deadline = 0.5  # from now on; before, it may be busy

        run_of(storage, garble)
        between.nonsense = None
        storage._folder._deadline = LIMIT / 2
        assert storage.get("w:first").storage == 1
        assert storage.get("w:second").is_empty
        storage.clear("w")
        storage.close(1)


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_never_a_result(nonsense):
    with Garbling(nonsense=nonsense) as server:
        storage = StorageFsspec("s3://dotflow/w", deadline=0.5, **S3Server.options_at(server.port))
        with pytest.raises(StorageError, match="s3://dotflow/w/w_load") as caught:
            storage.get(KEY)
        assert S3Server.secret not in "".join(traceback.format_exception(caught.value))
        storage.close(1)


# --- credentials and bad options


def test_secrets_show_nowhere(server):
    storage = StorageFsspec("s3://dotflow/w", **server.options)
    assert repr(storage) == "StorageFsspec('s3://dotflow/w')"
    failure = storage._folder._failure("read", "x", RuntimeError(f"signed with {server.secret}"))
    assert server.secret not in "".join(traceback.format_exception(failure))
    assert "***" in str(failure)
    storage.close(1)


def test_a_password_in_a_url_shows_nowhere():
    fsspec.register_implementation("plain", Plain, clobber=True)
    storage = StorageFsspec("plain://user:s3cret@host/path?sig=s1gnature")
    assert repr(storage) == "StorageFsspec('plain://user@host/path')"
    text = str(storage._folder._failure("read", "x", RuntimeError("s3cret and sig=s1gnature")))
    assert "s3cret" not in text
    assert "s1gnature" not in text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        *((url, "url=") for url in ("", " ", None, 5)),
        ("nope://x", "'nope://...' is not known to fsspec"),
        *((f"{protocol}://x/y", "cannot be written to") for protocol in ("http", "https", "zip", "github")),
        *((f"{protocol}://", "names no bucket and no path") for protocol in ("s3", "file", "gs")),
        ("simplecache::s3://bucket/x", "chained URLs"),
    ],
)
def test_urls_that_make_no_sense_are_refused_by_name(url, text):
    with raises(InvalidOption, ValueError, text):
        StorageFsspec(url)


@pytest.mark.parametrize("deadline", [0, -1, "5", None, float("inf")])
def test_a_deadline_that_is_none_is_refused(deadline):
    with raises(InvalidOption, ValueError, "deadline="):
        StorageFsspec("memory://x", deadline=deadline)


def test_other_options_that_make_no_sense_are_refused():
    with raises(InvalidOption, ValueError, "asynchronous"):
        StorageFsspec("memory://x", asynchronous=True)
    with pytest.raises(InvalidChoice, match=r"'json', 'pickle'"):
        StorageFsspec("memory://x", serializer="yaml")


class Quoting(MemoryFileSystem):
    """A file system that refuses its options, and quotes them."""

    protocol = "quoting"

    def __init__(self, **options):
        raise LookupError(f"what is {options}?")


def test_an_option_that_the_file_system_refuses_is_told_without_its_secrets():
    fsspec.register_implementation("quoting", Quoting, clobber=True)
    secret = secrets.token_hex(4)
    with raises(InvalidOption, ValueError, "StorageFsspec('quoting://x'): LookupError: what is", "***") as caught:
        StorageFsspec("quoting://x", anything=1, nested={"password": {"x": secret}}, token=secret)
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with raises(MissingFilesystem, ImportError, "'gs://...'", "pip install gcsfs"):
        StorageFsspec("gs://bucket/path")


class Stubborn(MemoryFileSystem):
    """A file system that does not replace files, and does not say so: as HDFS does it, behind fsspec."""

    protocol = "stubborn"

    def mv(self, path1, path2, **options):
        if not self.exists(path2):
            super().mv(path1, path2, **options)


class Stuck(MemoryFileSystem):
    """One that moves nothing at all."""

    protocol = "stuck"

    def mv(self, path1, path2, **options): ...


def test_a_file_system_that_replaces_nothing_keeps_the_new_checkpoint_and_nothing_else():
    fsspec.register_implementation("stubborn", Stubborn, clobber=True)
    storage = StorageFsspec("stubborn://replaces-nothing")
    storage.post(KEY, OLD)
    storage.post(KEY, Context("new", task_id="load", workflow_id="w"))
    assert storage.get(KEY).storage == "new"
    assert len(storage._folder.names()) == 1


def test_a_checkpoint_that_did_not_come_to_its_place_is_an_error():
    fsspec.register_implementation("stuck", Stuck, clobber=True)
    with pytest.raises(StorageError, match="has not moved the file to its place"):
        StorageFsspec("stuck://moves-nothing").post(KEY, OLD)
