"""Contexts as files wherever fsspec reaches: one file a context, in an envelope, so that what is read back is what was written."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from dotflow.abc.storage import Storage, belongs, run_key
from dotflow.errors import InvalidOption, StorageError
from dotflow.model.action import check_seconds
from dotflow.model.context import Context
from dotflow.toolkit.envelope import SUFFIX, Header, check_serializer, header_of, name_of, name_start_of, seal, unseal
from dotflow_fsspec.filesystem import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.model.task import Task

__all__ = ["StorageFsspec"]

_BATCH = 500
_HEADER_BYTES = 1 << 16
_LONGEST_HEADER_BYTES = 1 << 20


class StorageFsspec(Storage):
    """Keeps each context in a file of its own at a URL: `s3://`, `gs://`, `az://`, `sftp://`, `file://`, `memory://`, ...

    A name is written whole or not at all: object stores do that by themselves, elsewhere a file is written beside its final
    name and then moved. Names and content are those of `StorageFile`, so the one reads a copy of the other's directory. A sum
    over each file finds what is torn or was changed. Two writers of one key: the last one wins.

    `memory://` lives as long as the process, so it cannot be resumed from. For local files, `StorageFile` survives power
    cuts too; fsspec does not wait for the disk. How long objects stay is the bucket's choice (a lifecycle rule).

    Nothing is connected to before the first `post` or `get`.

    Args:
        url: a folder, or a bucket and what names in it begin with. A path without a protocol is a local one.
        serializer: `json` takes the types of `dotflow.toolkit.codec` and refuses others. `pickle` takes whatever pickle does, but
            reading a pickle can run any code: use it only where nobody else can write.
        deadline: seconds that one operation may take with all of its retries. Kept where fsspec's file system is
            asynchronous (S3, Google, Azure); others have time limits of their own among their options.
        storage_options: what the file system takes: `key=`, `secret=`, `endpoint_url=`, ...; see its own documentation.
            Without any, most find credentials as their vendors' tools do.

    Raises:
        InvalidOption: a URL that names nothing, or a protocol that is unknown or read-only; an option that makes no sense.
            Its text has no credentials.
        MissingFilesystem: (an InvalidOption and ImportError) the package for the protocol is not installed; it says which.
        InvalidChoice: an unknown serializer.
    """

    def __init__(self, url: str, *, serializer: str = "json", deadline: float = 60.0, **storage_options: Any) -> None:
        self.serializer = check_serializer(serializer)
        check_seconds("deadline", deadline)
        if deadline == 0:
            raise InvalidOption("deadline=0: seconds, above 0")
        if storage_options.get("asynchronous"):
            raise InvalidOption("asynchronous=True: a storage is called from threads; leave it out")
        self._folder = Folder(url, storage_options, deadline)
        self.persistent = self._folder.protocol != "memory"
        kept = {"serializer": serializer, "deadline": deadline, **storage_options}
        self._for_worker = functools.partial(type(self), url, **kept) if self.persistent else None

    def for_worker(self) -> Callable[[], StorageFsspec] | None:
        """The same folder, opened there; None for one in the memory of this process."""
        return self._for_worker

    def post(self, key: str, context: Context) -> None:
        """Keep `context` under `key`. On an error what was there is still there.

        The exception: if the deadline is over, the new context may be there, whole.

        Raises:
            SerializationError: the serializer cannot represent the value.
            StorageError: the file system refused, was not there, or the deadline is over; the cause is chained.
        """
        self._folder.write(name_of(key), seal(key, context, self.serializer))

    def get(self, key: str) -> Context:
        """The context kept under `key`; an empty one if there is none.

        Raises:
            StorageUnavailable: the file cannot be read.
            StorageError: it is torn or changed, holds another key, was written by another version, or is a pickle and this
                storage does not unpickle. The message names the file.
        """
        data = self._folder.read(name_of(key))
        if data is None:
            return Context()
        try:
            return unseal(data, key, self.serializer)
        except StorageError as error:
            raise StorageError(f"{self._folder.name}/{name_of(key)}: {error}") from error.__cause__

    def post_run(self, workflow_id: str, context: Context) -> None:
        """Keep the record of the latest run of a workflow, like any other context."""
        self.post(run_key(workflow_id), context)

    def get_run(self, workflow_id: str) -> Context:
        """The record of the latest run of a workflow; an empty Context if there is none."""
        return self.get(run_key(workflow_id))

    def key(self, task: Task) -> str:
        """Workflow id and task id."""
        return f"{task.workflow_id}:{task.task_id}"

    def delete(self, key: str) -> None:
        """Forget the context of `key`, if there is one.

        Raises:
            StorageError: the file system refused, was not there, or the deadline is over.
        """
        self._folder.remove(name_of(key))

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted. Reads the first line of every file that may be one of them.

        A file whose header is damaged has no key and is left out.

        Raises:
            StorageError: the folder cannot be listed.
        """
        return sorted(header.key for _, header in self._headers(prefix) if header.key.startswith(prefix))

    def clear(self, workflow_id: str) -> int:
        """Forget every context of a workflow and the record of its latest run; how many there were.

        Raises:
            StorageError: the file system refused, was not there, or the deadline is over.
        """
        headers = self._headers(workflow_id)
        names = [name for name, header in headers if belongs(header.key, header.workflow_id, workflow_id)]
        for name in names:
            self._folder.remove(name)
        return len(names)

    def close(self, timeout: float) -> None:
        """Let go of the connections. A later `post` makes new ones."""
        del timeout
        self._folder.close()

    def __repr__(self) -> str:
        return f"StorageFsspec({self._folder.name!r})"

    def _headers(self, prefix: str) -> Iterator[tuple[str, Header]]:
        """Each file that may be of a key with this prefix, says what it is, and stands where that belongs."""
        start = name_start_of(prefix)
        names = [name for name in self._folder.names() if name.startswith(start) and name.endswith(SUFFIX)]
        for at in range(0, len(names), _BATCH):
            batch = names[at : at + _BATCH]
            starts = dict(zip(batch, self._folder.read_starts(batch, _HEADER_BYTES), strict=True))
            cut = [name for name, start in starts.items() if len(start) == _HEADER_BYTES and b"\n" not in start]
            if cut:
                starts.update(zip(cut, self._folder.read_starts(cut, _LONGEST_HEADER_BYTES), strict=True))
            yield from _told(batch, list(starts.values()))


def _told(names: list[str], starts: list[bytes]) -> Iterator[tuple[str, Header]]:
    for name, data in zip(names, starts, strict=True):
        try:
            header = header_of(data.partition(b"\n")[0])
        except StorageError:  # damaged; `get` says what is wrong
            continue
        if name_of(header.key) == name:
            yield name, header
