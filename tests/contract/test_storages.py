"""The suite of `dotflow.testing` over every storage of the repository: one table."""

from __future__ import annotations

import secrets

import pytest

from dotflow import Context
from dotflow.abc.storage import StorageUnsupported
from dotflow.errors import StorageError
from dotflow.providers import StorageDefault, StorageFile
from dotflow.testing import RecordingStorage
from dotflow.testing.contracts import StorageContract
from dotflow.toolkit.envelope import name_of
from dotflow_fsspec import StorageFsspec
from dotflow_redis import StorageRedis
from support import missing, redis_server
from support.raising import raises
from support.s3_server import S3Server


class Backend:
    """What is behind a storage in one test: how it is made, as an object and in another process, and how its bytes are changed."""

    def __init__(self, make, source=None, damage=None) -> None:
        self.make, self.source, self.damage = make, source, damage


def one(storage):
    return Backend(lambda: storage)


def file(tmp_path, **options):
    path = tmp_path / "store"

    def damage(storage, key, change):
        file = storage.file(key)
        file.write_bytes(change(file.read_bytes()))

    source = f"from dotflow.providers import StorageFile\nstorage = StorageFile({str(path)!r}, **{options})"
    return Backend(lambda: StorageFile(path, **options), source, damage)


def redis(request, **options):
    server = request.getfixturevalue("redis_server_")
    options = {"port": server.port, "prefix": f"{secrets.token_hex(4)}*[?]:", **options}

    def damage(storage, key, change):
        with server.client() as client:
            name = storage.prefix + key
            client.set(name, change(client.get(name)))

    source = f"from dotflow_redis import StorageRedis\nstorage = StorageRedis(**{options!r})"
    return Backend(lambda: StorageRedis(**options), source, damage)


def fsspec(url, **options):
    def damage(storage, key, change):
        folder = storage._folder
        folder.write(name_of(key), change(folder.read(name_of(key))))

    source = f"from dotflow_fsspec import StorageFsspec\nstorage = StorageFsspec({url!r}, **{options!r})"
    return Backend(lambda: StorageFsspec(url, **options), source, damage)


def s3(request, **options):
    server = request.getfixturevalue("s3_server")
    return fsspec(f"s3://{server.bucket}/{secrets.token_hex(4)}", **server.options, **options)


STORAGES = {
    "StorageDefault": lambda request, tmp_path: Backend(StorageDefault),
    "RecordingStorage": lambda request, tmp_path: one(RecordingStorage()),
    "StorageFile": lambda request, tmp_path: file(tmp_path),
    "StorageFile-pickle": lambda request, tmp_path: file(tmp_path, serializer="pickle"),
    "StorageRedis": lambda request, tmp_path: redis(request),
    "StorageRedis-ttl": lambda request, tmp_path: redis(request, ttl=600),
    "StorageRedis-pickle": lambda request, tmp_path: redis(request, serializer="pickle"),
    "StorageFsspec-memory": lambda request, tmp_path: fsspec(f"memory://{secrets.token_hex(4)}"),
    "StorageFsspec-file": lambda request, tmp_path: fsspec(f"file://{tmp_path}/store"),
    "StorageFsspec-s3": lambda request, tmp_path: s3(request),
}


@pytest.fixture(scope="module")
def redis_server_():
    if redis_server.find() is None:
        missing.skip("redis-server", "redis-server", "storage on Redis")
    with redis_server.RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def s3_server():
    pytest.importorskip("moto.server", reason="moto is not installed")
    with S3Server() as server:
        yield server


class TestStorages(StorageContract):
    @pytest.fixture(autouse=True, params=STORAGES)
    def _backend(self, request, tmp_path):
        self.backend = STORAGES[request.param](request, tmp_path)

    def make_provider(self):
        return self.backend.make()

    def source(self):
        return self.backend.source or super().source()

    def damage(self, provider, key, change):
        (self.backend.damage or super().damage)(provider, key, change)


# --- the optional operations of a storage that has not written them


class Bare(RecordingStorage):
    """Exactly the abstract methods."""


class Listing(Bare):
    """And two of the three optional ones."""

    def delete(self, key):
        self.kept.pop(key, None)

    def list_keys(self, prefix=""):
        return sorted(key for key in self.kept if key.startswith(prefix))

    def get(self, key):
        found = super().get(key)
        if found.storage == "torn":
            raise StorageError("torn or corrupt")
        return found


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("delete", lambda storage: storage.delete("w:a")),
        ("list_keys", lambda storage: storage.list_keys()),
        ("list_keys", lambda storage: storage.clear("w")),
    ],
)
def test_what_a_storage_cannot_is_said(operation, call):
    with raises(StorageUnsupported, NotImplementedError, f"Bare has no {operation}()") as caught:
        call(Bare())
    assert isinstance(caught.value, StorageError)


def test_clear_comes_with_delete_and_list_keys():
    storage = Listing()
    for key, owner in (("a:x", "a"), ("a:b:x", "a:b"), ("a:b", None), ("a#run", "a"), ("ab:x", "ab")):
        storage.post(key, Context(1, workflow_id=owner))
    storage.post("a:torn", Context("torn", workflow_id="a"))
    assert storage.clear("a") == 4
    assert storage.list_keys() == ["a:b:x", "ab:x"]
