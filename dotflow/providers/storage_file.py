"""Contexts in files: one checkpoint a file, written whole or not at all, and checked when it is read."""

from __future__ import annotations

import errno
import functools
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dotflow.abc.storage import Storage, belongs, run_key
from dotflow.errors import InvalidOption, StorageError, StorageUnavailable
from dotflow.model.context import Context
from dotflow.toolkit.envelope import SUFFIX, Header, check_serializer, header_of, name_of, name_start_of, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.model.task import Task

__all__ = ["StorageFile"]

_TEMPORARY = ".tmp-"
_STALE_SECONDS = 3600  # longer than any write takes, also over a network
_MAX_HEADER_BYTES = 1 << 20


class StorageFile(Storage):
    """Keeps each context in a file of its own below `path`.

    A file is written beside its final name and then renamed, so a reader sees the old context or the new one,
    never a part, also when the writer is killed in the middle; several threads and processes may write at once
    (the last one wins a key). A sum over the whole file finds whatever happened to it since.

    `durable=True` also survives a power cut: each `post` waits for the disk to confirm (fsync) the file and then
    the directory. That wait is nearly the whole cost of a `post`: typically 0.5 to 10 ms on an SSD and more on a
    spinning disk, against 0.05 to 0.3 ms without. `durable=False` leaves the flushing to the operating system: safe
    when the process dies, while after a power cut the latest contexts may be missing or torn, which `get` reports.

    `serializer="json"` takes the types of `dotflow.toolkit.codec` and refuses all others. `"pickle"` takes whatever pickle
    does, but reading a pickle can run any code: use it only where nobody else can write to `path`. The file says how
    it was written: a storage for pickle reads both kinds, one for JSON never unpickles.

    The directory is made by the first `post`, with mode 0700, and the files have 0600: they hold the users' data.
    """

    persistent = True

    def __init__(
        self, path: str | os.PathLike[str] = ".dotflow", *, serializer: str = "json", durable: bool = True
    ) -> None:
        """`path` is a directory; a relative one counts from the working directory of now, also if that changes later.

        Raises:
            InvalidChoice: `serializer` is neither "json" nor "pickle".
            InvalidOption: `path` is empty, or something that is not a directory.
        """
        self.serializer = check_serializer(serializer)
        self.path = _directory(path)
        self.durable = durable
        self._is_swept = False

    def for_worker(self) -> Callable[[], StorageFile]:
        """The same directory, which has to be there for the worker as well: on another host a shared one."""
        return functools.partial(type(self), str(self.path), serializer=self.serializer, durable=self.durable)

    def post(self, key: str, context: Context) -> None:
        """Keep `context` under `key`. On an error what was there is still there.

        The one exception: if only the last step fails, the sync of the directory, the new context is there, whole,
        and may be gone after a power cut.

        Raises:
            SerializationError: the serializer cannot represent the value.
            StorageError: the file system refused; the cause is chained.
        """
        data = seal(key, context, self.serializer)
        file = self.file(key)
        try:
            self._write(file, data)
        except OSError as error:
            raise StorageError(f"cannot write {file}: {_reason(error)}") from error

    def get(self, key: str) -> Context:
        """The context kept under `key`; an empty one if there is none.

        Raises:
            StorageError: the file cannot be read, is torn or changed, holds another key, was written by another
                version, or is a pickle and this storage does not unpickle. The message names the file.
        """
        file = self.file(key)
        try:
            return unseal(file.read_bytes(), key, self.serializer)
        except FileNotFoundError:
            return Context()
        except StorageError as error:
            raise StorageError(f"{file}: {error}") from error.__cause__
        except OSError as error:
            raise StorageUnavailable(f"cannot read {file}: {_reason(error)}") from error

    def post_run(self, workflow_id: str, context: Context) -> None:
        """Keep the record of the latest run of a workflow, like any other context."""
        self.post(run_key(workflow_id), context)

    def get_run(self, workflow_id: str) -> Context:
        """The record of the latest run of a workflow; an empty Context if there is none."""
        return self.get(run_key(workflow_id))

    def key(self, task: Task) -> str:
        """Workflow id and task id."""
        return f"{task.workflow_id}:{task.task_id}"

    def file(self, key: str) -> Path:
        """Where the context of `key` is kept: a readable start, and a hash that makes the name unique on any system."""
        return self.path / name_of(key)

    def delete(self, key: str) -> None:
        """Forget the context of `key`, if there is one.

        Raises:
            StorageError: the file system refused; the cause is chained.
        """
        self._remove([self.file(key)])

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted. A file whose header is damaged has no key and is left out.

        Raises:
            StorageError: the directory cannot be read; the cause is chained.
        """
        return sorted(header.key for _, header in self._headers(prefix) if header.key.startswith(prefix))

    def clear(self, workflow_id: str) -> int:
        """Forget every context of a workflow and the record of its latest run; how many there were.

        Raises:
            StorageError: the file system refused; the cause is chained.
        """
        files = [
            file for file, header in self._headers(workflow_id) if belongs(header.key, header.workflow_id, workflow_id)
        ]
        self._remove(files)
        return len(files)

    def _headers(self, prefix: str) -> Iterator[tuple[Path, Header]]:
        """Each checkpoint that may be of a key with this prefix, says what it is, and stands where that belongs."""
        start = name_start_of(prefix)
        for file in self._files():
            if not file.name.startswith(start):
                continue
            with suppress(OSError):  # of a damaged one, `get` says what is wrong
                with file.open("rb") as stream:
                    header = header_of(stream.readline(_MAX_HEADER_BYTES))
                if self.file(header.key) == file:
                    yield file, header

    def _files(self) -> list[Path]:
        try:
            return [file for file in self.path.iterdir() if file.name.endswith(SUFFIX)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"cannot list {self.path}: {_reason(error)}") from error

    def _remove(self, files: list[Path]) -> None:
        try:
            for file in files:
                file.unlink(missing_ok=True)
            self._sync_directory(self.path)
        except FileNotFoundError:  # not even a directory
            return
        except OSError as error:
            raise StorageError(f"cannot remove {error.filename or self.path}: {_reason(error)}") from error

    def _write(self, file: Path, data: bytes) -> None:
        descriptor, temporary = self._temporary()
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                if self.durable:
                    os.fsync(stream.fileno())
            temporary.replace(file)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        self._sync_directory(self.path)

    def _temporary(self) -> tuple[int, Path]:
        """A new file with mode 0600, in the directory of the final one: a rename is atomic only within a file system."""
        if not self._is_swept:
            self._make_directory(self.path)
            _sweep(self.path)
            self._is_swept = True
        try:
            return _open_temporary(self.path)
        except FileNotFoundError:  # somebody removed the directory since
            self._make_directory(self.path)
            return _open_temporary(self.path)

    def _make_directory(self, directory: Path) -> None:
        """The directory and those above it, each made durable in its parent."""
        if directory.is_dir():
            return
        self._make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        self._sync_directory(directory.parent)

    def _sync_directory(self, directory: Path) -> None:
        if self.durable and os.name != "nt":  # Windows does it by itself, and cannot open a directory
            _sync(directory)


def _directory(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidOption(f"StorageFile(path={path!r}): the path of a directory, as text or a Path")
    if not os.fspath(path):
        raise InvalidOption("StorageFile(path=...) is empty: name a directory")
    directory = Path(path).absolute()
    if directory.exists() and not directory.is_dir():
        raise InvalidOption(f"StorageFile(path=...) wants a directory, and {directory} is none")
    return directory


def _open_temporary(directory: Path) -> tuple[int, Path]:
    descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=directory)
    return descriptor, Path(name)


def _sweep(directory: Path) -> None:
    """Remove what killed writers left. By age: a process id says nothing about a writer on another machine."""
    oldest = time.time() - _STALE_SECONDS
    for file in directory.iterdir():
        with suppress(OSError):  # another process sweeps too
            if file.name.startswith(_TEMPORARY) and file.lstat().st_mtime < oldest:
                file.unlink()


def _sync(directory: Path) -> None:
    """Make the names in `directory` durable, where the file system has a way to."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:  # one may write into a directory that one may not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # as some network file systems say
            raise
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
