"""StorageRedis on a real Redis: what is special about it, and what happens when it stops, hangs, or talks nonsense."""

from __future__ import annotations

import threading
import time
import traceback

import pytest
import redis

from dotflow import Config, Context, DotFlow, action
from dotflow.errors import InvalidChoice, InvalidOption, SerializationError, StorageError
from dotflow_redis import StorageRedis
from support import missing, redis_server
from support.garbling import NONSENSE, Garbling
from support.raising import raises
from support.threads import in_time

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
PASSWORD = "pa:ss/word@x"
OLD = Context({"rows": (1, 2)}, task_id="load", workflow_id="w")

pytestmark = pytest.mark.skipif(
    redis_server.find() is None, reason=missing.reason("redis-server", "redis-server", "storage on Redis")
)


@pytest.fixture(scope="module")
def shared():
    with redis_server.RedisServer() as server:
        yield server


@pytest.fixture
def server(shared):
    """One that is there and empty, whatever the test before has done to it."""
    with shared.client() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return shared


@pytest.fixture
def broken():
    """One for the test alone, that may be broken."""
    with redis_server.RedisServer() as server:
        yield server


@pytest.fixture
def storage(server):
    storage = StorageRedis(port=server.port)
    yield storage
    storage.close(1)


def until(condition):
    guard = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < guard
        time.sleep(0.005)


# --- what is in Redis


def test_a_context_is_one_string_under_prefix_and_key(server, storage):
    storage.post("w:load", OLD)
    with server.client() as client:
        assert client.keys() == [b"dotflow:w:load"]
        data = client.get("dotflow:w:load")
    assert data.startswith(b'{"dotflow":1,"sha256":"')
    assert data.splitlines()[1] == b'{"rows":{"$tuple":[1,2]}}'


def test_prefixes_keep_storages_apart(server, storage):
    other = StorageRedis(port=server.port, prefix="other:")
    storage.post("w:load", OLD)
    other.post("w:load", Context("other"))
    assert (storage.list_keys(), other.list_keys()) == (["w:load"], ["w:load"])
    assert other.clear("w") == 1
    assert storage.get("w:load") == OLD
    other.close(1)


def test_keys_of_others_are_left_alone(server, storage):
    storage.post("w:load", OLD)
    with server.client() as client:
        client.set("w:other", "x")
        client.hset("dotflow:w:hash", "a", "b")
        client.set(b"dotflow:w:\xff\xfe", "x")
        assert storage.clear("w") == 1
        assert sorted(client.keys()) == [b"dotflow:w:hash", b"dotflow:w:\xff\xfe", b"w:other"]
    with pytest.raises(StorageError, match="WRONGTYPE"):
        storage.get("w:hash")


def test_what_is_no_context_of_anybody_is_cleared_with_its_workflow(server, storage):
    with server.client() as client:
        client.set("dotflow:w:torn", "{")
    assert storage.clear("w") == 1
    assert storage.list_keys() == []


def test_many_keys_are_listed_and_cleared(storage):
    for number in range(1200):
        storage.post(f"w:{number}", Context(1))
    assert len(storage.list_keys("w:")) == 1200
    assert storage.clear("w") == 1200
    assert storage.list_keys() == []


def test_a_unix_socket_and_a_database(server):
    storage = StorageRedis(url=f"unix://{server.socket_path}?db=3")
    storage.post("w:load", OLD)
    with redis.Redis(port=server.port, db=3) as client:
        assert client.keys() == [b"dotflow:w:load"]
    assert StorageRedis(port=server.port, db=3).get("w:load") == OLD
    assert StorageRedis(url=f"redis://127.0.0.1:{server.port}/3").get("w:load") == OLD
    storage.close(1)


def test_a_client_of_the_users_own(server):
    with redis.Redis(port=server.port) as client:
        storage = StorageRedis(client=client)
        storage.post("w:load", OLD)
        assert storage.get("w:load") == OLD
        storage.close(1)
        assert client.ping()
        assert len(client.connection_pool._available_connections) == 1, "its connections were closed"


# --- time to live


def test_without_a_ttl_nothing_expires(server, storage):
    storage.post("w:load", OLD)
    with server.client() as client:
        assert client.pttl("dotflow:w:load") == -1


def test_after_its_ttl_a_context_is_gone(server):
    storage = StorageRedis(port=server.port, ttl=0.05)
    storage.post("w:load", OLD)
    until(lambda: storage.get("w:load").is_empty)
    assert storage.list_keys() == []
    storage.close(1)


def test_the_record_of_a_run_lives_as_long_as_the_youngest_context(server):
    storage = StorageRedis(port=server.port, ttl=1000)
    storage.post_run("w", Context({}, workflow_id="w"))
    with server.client() as client:
        client.pexpire("dotflow:w#run", 5000)
        storage.post("w:load", OLD)
        assert client.pttl("dotflow:w#run") > 900_000
        assert client.pttl("dotflow:w:load") > 900_000
        storage.post("v:load", Context(1, workflow_id="v"))
        assert not client.exists("dotflow:v#run")
    storage.close(1)


def test_the_record_of_a_run_whose_task_takes_longer_than_the_ttl_is_there_after_it(server):
    storage = StorageRedis(port=server.port, ttl=1000)
    storage.post_run("w", Context({"inputs": {}}, workflow_id="w"))
    with server.client() as client:
        client.delete("dotflow:w#run")  # its time is over
        storage.post("w:load", OLD)
        assert storage.get_run("w").storage == {"inputs": {}}
        assert client.pttl("dotflow:w#run") > 900_000
        assert storage.clear("w") == 2
        storage.post("w:load", OLD)
        assert not client.exists("dotflow:w#run")  # it was forgotten, and stays so
    storage.close(1)


# --- in the middle of a run


def workflow_of(storage, *steps):
    workflow = DotFlow(Config(storage=storage), name="w", workflow_id="w")
    workflow.task.add(step=list(steps))
    return workflow


@action
def first():
    return 1


def then(function):
    @action(name="second")
    def second():
        function()
        return 2

    return second


def failure_of(run):
    assert [task.status for task in run.tasks[:2]] == ["Completed", "Failed"]
    assert run.tasks[2].status == "Not started"
    error = run.tasks[1].error
    assert error.exception == "StorageError"
    assert error.message.startswith("cannot write 'w:second' (redis://localhost:")
    return error


def test_a_redis_that_stops_fails_the_task_with_the_cause(broken):
    storage = StorageRedis(port=broken.port, timeout=0.3)
    run = workflow_of(storage, first, then(broken.kill), first).start()
    assert "Connection refused" in failure_of(run).message
    assert "ConnectionError" in failure_of(run).traceback


def test_a_redis_that_starts_again_in_time_fails_nothing(broken):
    storage = StorageRedis(port=broken.port, timeout=LIMIT)
    restarted = []

    def restart():
        broken.kill()
        thread = threading.Timer(0.1, broken.start)
        thread.start()
        restarted.append(thread)

    run = workflow_of(storage, first, then(restart), first).start()
    restarted[0].join()
    assert run.status == "Completed"
    assert storage.list_keys() == ["w#run", "w:first-2", "w:second"]  # the record is written again at the end
    storage.close(1)


def test_a_redis_that_hangs_fails_the_task_with_the_cause(broken):
    storage = StorageRedis(port=broken.port, timeout=0.2)
    run = in_time(workflow_of(storage, first, then(broken.halt), first).start)
    assert "Timeout" in failure_of(run).message
    broken.go_on()
    assert storage.get("w:first").storage == 1
    storage.close(1)


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_in_the_middle_of_a_run_fails_the_task(server, kind):
    with Garbling(server.port) as between:
        storage = StorageRedis(port=between.port, timeout=0.2)
        run = workflow_of(storage, first, then(lambda: setattr(between, "nonsense", NONSENSE[kind])), first).start()
        failure_of(run)
        between.nonsense = None
        assert storage.get("w:first").storage == 1
        assert storage.get("w:second").is_empty
        storage.close(1)


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_from_the_start_is_an_error_of_every_operation(kind):
    with Garbling(nonsense=NONSENSE[kind]) as server:
        storage = StorageRedis(port=server.port, timeout=0.2)
        calls = [
            lambda: storage.get("w:load"),
            lambda: storage.post("w:load", OLD),
            storage.list_keys,
            lambda: storage.clear("w"),
            lambda: storage.delete("w:load"),
        ]
        for call in calls if kind != "a number" else calls[:2]:  # a number may be how many were deleted
            with pytest.raises(StorageError, match="redis://localhost:"):
                call()
        storage.close(1)


def test_a_full_redis_fails_the_task(server, storage):
    with server.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(StorageError, match=r"OOM|used memory"):
        storage.post("w:load", OLD)


def test_a_value_that_json_cannot_say_leaves_the_old_one(storage):
    storage.post("w:load", OLD)
    with pytest.raises(SerializationError, match=r"^\$\.rows\[1\]"):
        storage.post("w:load", Context({"rows": [1, object()]}))
    assert storage.get("w:load") == OLD


def test_nothing_is_connected_to_before_it_is_used():
    storage = StorageRedis(host="no-such-host.invalid", timeout=0.1)
    with pytest.raises(StorageError, match="no-such-host") as caught:
        storage.get("w:load")
    assert isinstance(caught.value.__cause__, redis.RedisError)


# --- credentials


@pytest.fixture
def locked():
    with redis_server.RedisServer(password=PASSWORD) as server:
        yield server


def test_passwords_work_and_are_nowhere_to_be_seen(locked):
    given = StorageRedis(port=locked.port, password=PASSWORD)
    given.post("w:load", OLD)
    by_url = StorageRedis(url=f"redis://:pa%3Ass%2Fword%40x@localhost:{locked.port}/0")
    assert by_url.get("w:load") == OLD
    for storage in (given, by_url):
        assert repr(storage) == f"StorageRedis('redis://localhost:{locked.port}/0', prefix='dotflow:')"
        storage.close(1)


def connections_to(server):
    with server.client() as client:
        return client.info("stats")["total_connections_received"]


def test_a_wrong_password_is_told_at_once_and_not_shown(locked):
    for storage in (StorageRedis(port=locked.port, password="guess-42", timeout=LIMIT), StorageRedis(port=locked.port)):
        before = connections_to(locked)
        with pytest.raises(StorageError, match=r"(?i)auth|password") as caught:
            storage.get("w:load")
        assert "guess-42" not in "".join(traceback.format_exception(caught.value))
        assert connections_to(locked) == before + 2, "it was tried again and again"
        storage.close(1)


def test_a_server_that_quotes_the_password_is_not_quoted():
    quoting = f"-ERR unknown command `HELLO`, with args beginning with: `AUTH`, `default`, `{PASSWORD}`\r\n"
    with Garbling(nonsense=quoting.encode()) as server:
        storage = StorageRedis(port=server.port, password=PASSWORD, timeout=0.2)
        with pytest.raises(StorageError) as caught:
            storage.post("w:load", OLD)
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))
        assert "***" in str(caught.value)
        storage.close(1)


# --- bad options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        *(({"port": port}, f"port={port!r}") for port in (0, -1, 65536, "6379", None, True, 6379.0)),
        *(({"ttl": ttl}, f"ttl={ttl!r}") for ttl in (0, -1, "5", True, float("nan"), float("inf"), 1e12, 10**400)),
        *(({"timeout": seconds}, f"timeout={seconds!r}") for seconds in (0, -1, "5", None)),
        *(({"db": db}, f"db={db!r}") for db in (-1, "0", True)),
        *(({name: ["x"]}, f"{name}=<list>") for name in ("username", "password")),
        *(({"host": host}, "host=") for host in ("", " ", None, 5, "redis://localhost")),
        *(({"prefix": prefix}, "prefix=") for prefix in ("", None, b"x")),
        *(
            ({"url": url}, "url=")
            for url in ("", "localhost", "http://h", 5, "redis://h:x", "redis://h/x", "redis://[::")
        ),
        ({"url": "redis://h?no_such_option=1"}, "no_such_option"),
        ({"url": "redis://h?db=x"}, "'db'"),
        ({"url": "redis://h", "host": "other"}, "host="),
        ({"url": "redis://h", "port": 1}, "port="),
        ({"url": "redis://h", "password": "x"}, "password="),
        ({"client": 5}, "client=<int>"),
        ({"client": redis.Redis(decode_responses=True)}, "decode_responses"),
        ({"client": redis.Redis(), "url": "redis://h"}, "client=... and url="),
        ({"client": redis.Redis(), "port": 1}, "client=... and port="),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, text):
    with raises(InvalidOption, ValueError, text):
        StorageRedis(**options)


@pytest.mark.parametrize("url", ["redis://:s3cret/x@h", "redis://u:s3cret@h:x", "redis://s3cret/x", "ftp://u:s3cret@h"])
def test_a_url_that_is_refused_is_not_quoted(url):
    with pytest.raises(InvalidOption) as caught:
        StorageRedis(url=url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_an_unknown_serializer_is_refused():
    with pytest.raises(InvalidChoice, match=r"'json', 'pickle'"):
        StorageRedis(serializer="yaml")
