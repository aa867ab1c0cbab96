"""Contexts in Redis: one key a context, in an envelope, so that what is read back is what was written."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from dotflow.abc.storage import Storage, belongs, run_key
from dotflow.errors import InvalidOption, StorageError, StorageUnavailable
from dotflow.model.context import Context
from dotflow.toolkit.envelope import check_serializer, header_of, seal, unseal
from dotflow_redis.server import milliseconds, own, theirs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from dotflow.model.task import Task

__all__ = ["StorageRedis"]

_BATCH = 500
_HEADER_BYTES = 1 << 16
_LONGEST_HEADER_BYTES = 1 << 20
_RECORDS_KEPT = 1000
_SHOWN = 80


class StorageRedis(Storage):
    """Keeps each context under a key of its own, `prefix` and then the storage's key, as one string.

    A `SET` is whole or not at all, and the last one wins. The string carries a sum over its content, as the files of
    `StorageFile` do, so what anybody else has put there is never taken for a result. How long it stays is the server's
    choice: with no persistence configured (`appendonly yes`) it is gone when Redis restarts, with an eviction policy other
    than `noeviction` it may be gone before. What is gone runs again.

    Nothing is connected to before the first `post` or `get`. A server that refuses, or drops the connection, is tried again
    for `timeout` seconds, so a restart fails no task; one that does not answer for `timeout` seconds fails the task.

    Args:
        host, port, db, username, password: where Redis is, and who asks.
        url: all of that in one, instead: `redis://user:password@host:port/db`, `rediss://` for TLS, `unix:///path`; see
            https://redis.readthedocs.io/en/stable/connections.html for what may stand behind a `?`.
        client: a `redis.Redis` of your own, instead, for what neither can say (Sentinel, certificates, a provider of
            credentials). It stays yours to close, and its time limits are its own.
        prefix: how every key in Redis begins; what begins otherwise is never touched.
        ttl: seconds after which a context is forgotten, counted from its `post`; default: never. The record of the latest
            run lives as long as the youngest context of its workflow.
        serializer: `json` takes the types of `dotflow.toolkit.codec` and refuses others. `pickle` takes whatever pickle does, but
            reading a pickle can run any code: use it only where nobody else can write to that Redis.
        timeout: seconds without a byte of an answer, after which it is not waited for any longer.

    Raises:
        InvalidOption: an option that makes no sense, or two that say the same. No error ever has a password in it.
        InvalidChoice: an unknown serializer.
    """

    persistent = True

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        url: str | None = None,
        prefix: str = "dotflow:",
        ttl: float | None = None,
        *,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        client: redis.Redis | None = None,
        serializer: str = "json",
        timeout: float = 5.0,
    ) -> None:
        if not isinstance(prefix, str) or not prefix:
            raise InvalidOption(f"prefix={prefix!r}: a text that is not empty, so that other keys are left alone")
        options = {"host": host, "port": port, "db": db, "username": username, "password": password}
        self.prefix = prefix
        self.serializer = check_serializer(serializer)
        self._ttl_ms = milliseconds(ttl)
        self._records: dict[str, bytes] = {}  # with a ttl: to be written again if a task takes longer than that
        kept: dict[str, Any] = {"prefix": prefix, "ttl": ttl, "serializer": serializer, "timeout": timeout, **options}
        self._for_worker = functools.partial(type(self), url=url, **kept) if client is None else None
        self._server = theirs(client, options, url, timeout) if client is not None else own(options, url, timeout)

    def for_worker(self) -> Callable[[], StorageRedis] | None:
        """The same server, with a connection of its own; None where the client is the application's."""
        return self._for_worker

    def post(self, key: str, context: Context) -> None:
        """Keep `context` under `key`, whole or not at all.

        Raises:
            SerializationError: the serializer cannot represent the value.
            StorageError: Redis refused, was not there or did not answer; the cause is chained. If it did not answer, the
                new context may be there all the same, whole.
        """
        data = seal(key, context, self.serializer)
        answers = self._server.ask(f"write {key!r}", lambda client: self._set(client, key, data, context.workflow_id))
        self._check(answers[0] is True, f"write {key!r}", answers[0])

    def get(self, key: str) -> Context:
        """The context kept under `key`; an empty one if there is none, or if its time is over.

        Raises:
            StorageUnavailable: Redis was not there or did not answer.
            StorageError: what is there is torn, was changed, is another key's, or is a pickle and this storage does not
                unpickle.
        """
        data = self._server.ask(f"read {key!r}", lambda client: client.get(self._name(key)), StorageUnavailable)
        if data is None:
            return Context()
        try:
            return unseal(_bytes(data), key, self.serializer)
        except StorageError as error:
            raise StorageError(f"{key!r} ({self._server.name}): {error}") from error.__cause__

    def post_run(self, workflow_id: str, context: Context) -> None:
        """Keep the record of the latest run of a workflow, like any other context."""
        self.post(run_key(workflow_id), context)
        if self._ttl_ms is not None:
            self._records[workflow_id] = seal(run_key(workflow_id), context, self.serializer)
            if len(self._records) > _RECORDS_KEPT:
                self._records.pop(next(iter(self._records)))

    def get_run(self, workflow_id: str) -> Context:
        """The record of the latest run of a workflow; an empty Context if there is none."""
        return self.get(run_key(workflow_id))

    def key(self, task: Task) -> str:
        """Workflow id and task id."""
        return f"{task.workflow_id}:{task.task_id}"

    def delete(self, key: str) -> None:
        """Forget the context of `key`, if there is one.

        Raises:
            StorageError: Redis refused, was not there or did not answer.
        """
        self._records.pop(key.removesuffix(run_key("")), None)
        answer: object = self._server.ask(f"delete {key!r}", lambda client: client.unlink(self._name(key)))
        self._check(type(answer) is int, f"delete {key!r}", answer)

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted. Looks through all keys of the database, a batch at a time.

        Raises:
            StorageError: Redis was not there or did not answer.
        """
        return self._server.ask(f"list {prefix!r}", lambda client: sorted(self._scan(client, prefix)))

    def clear(self, workflow_id: str) -> int:
        """Forget every context of a workflow and the record of its latest run; how many there were.

        Raises:
            StorageError: Redis refused, was not there or did not answer.
        """
        self._records.pop(workflow_id, None)
        keys = [key for key in self.list_keys(workflow_id) if belongs(key, None, workflow_id)]
        return sum(self._clear(keys[at : at + _BATCH], workflow_id) for at in range(0, len(keys), _BATCH))

    def close(self, timeout: float) -> None:
        """Close the connections, unless they are those of a client of yours. A later `post` makes new ones."""
        del timeout
        self._server.close()

    def __repr__(self) -> str:
        return f"StorageRedis({self._server.name!r}, prefix={self.prefix!r})"

    def _check(self, is_good: bool, what: str, answer: object) -> None:  # noqa: FBT001
        """Redis-py passes on any answer that it can read, of whatever kind."""
        if not is_good:
            raise StorageError(f"cannot {what} ({self._server.name}): it answered {repr(answer)[:_SHOWN]}")

    def _name(self, key: str) -> bytes:
        return (self.prefix + key).encode("utf-8", "surrogatepass")

    def _set(self, client: redis.Redis, key: str, data: bytes, workflow_id: str | None) -> list[Any]:
        if self._ttl_ms is None:
            return [client.set(self._name(key), data)]
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set(self._name(key), data, px=self._ttl_ms)
            if workflow_id is not None:
                record = self._records.get(workflow_id)
                if record is not None and key != run_key(workflow_id):
                    pipeline.set(self._name(run_key(workflow_id)), record, px=self._ttl_ms, nx=True)
                pipeline.pexpire(self._name(run_key(workflow_id)), self._ttl_ms)
            return pipeline.execute()

    def _scan(self, client: redis.Redis, prefix: str) -> set[str]:
        found: Iterator[bytes] = client.scan_iter(match=_literally(self._name(prefix)) + b"*", count=_BATCH)
        keys = (_text(name) for name in found)
        return {key[len(self.prefix) :] for key in keys if key is not None}

    def _clear(self, keys: list[str], workflow_id: str) -> int:
        starts = self._server.ask(f"clear {workflow_id!r}", lambda client: self._starts(client, keys))
        theirs = [self._name(key) for key, start in zip(keys, starts, strict=True) if _is_of(key, start, workflow_id)]
        return int(self._server.ask(f"clear {workflow_id!r}", lambda client: self._unlink(client, theirs)))

    def _starts(self, client: redis.Redis, keys: list[str]) -> list[Any]:
        found = dict.fromkeys(keys, b"")
        for length in (_HEADER_BYTES, _LONGEST_HEADER_BYTES):
            cut = [key for key, start in found.items() if isinstance(start, bytes) and b"\n" not in start]
            with client.pipeline(transaction=False) as pipeline:
                for key in cut:
                    pipeline.getrange(self._name(key), 0, length - 1)
                found.update(zip(cut, pipeline.execute(raise_on_error=False), strict=True))
        return [found[key] for key in keys]

    def _unlink(self, client: redis.Redis, names: list[bytes]) -> int:
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.unlink(name)
            return sum(pipeline.execute())


def _is_of(key: str, start: object, workflow_id: str) -> bool:
    """Whether what begins with `start` is of the workflow. What is no context of anybody is, by its key."""
    if not isinstance(start, bytes):
        return False  # another type of value, which is none of ours
    try:
        return belongs(key, header_of(start.partition(b"\n")[0]).workflow_id, workflow_id)
    except StorageError:
        return True


def _bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise StorageError(f"torn or corrupt: it answered a {type(data).__name__} instead of bytes")
    return data


def _literally(name: bytes) -> bytes:
    """A pattern of `SCAN` that matches just this."""
    return re.sub(rb"([\[\]*?^\\-])", rb"\\\1", name)


def _text(name: bytes) -> str | None:
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not one that this storage has written
        return None
