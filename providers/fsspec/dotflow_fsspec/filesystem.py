"""The file system behind a storage: found by its URL, asked within a deadline, told of without its credentials."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from fsspec.asyn import sync
from fsspec.core import url_to_fs
from fsspec.exceptions import FSTimeoutError
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations, registry

from dotflow.errors import InvalidOption, StorageError, StorageUnavailable
from dotflow.toolkit.redaction import redacted, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fsspec import AbstractFileSystem

__all__ = ["Folder", "MissingFilesystem"]

T = TypeVar("T")

_TEMPORARY = ".tmp-"  # as StorageFile's, whose sweep removes what killed writers have left
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "tos", "memory"})
"""Where a new object appears whole or not at all, and there are no directories to make."""
_READ_ONLY = frozenset({"http", "https", "data", "git", "github", "gist", "reference", "zip", "tar", "libarchive"})
_SECRET = re.compile("key|secret|token|pass|sas|cred|sign|connection_string", re.IGNORECASE)


class MissingFilesystem(InvalidOption, ImportError):
    """A URL whose protocol fsspec knows, without the package that speaks it."""

    def __init__(self, protocol: str, cause: ImportError) -> None:
        package = str(known_implementations.get(protocol, {}).get("class", "")).partition(".")[0]
        hint = f"pip install {package}" if package not in {"", "fsspec"} else str(cause)
        super().__init__(f"url='{protocol}://...' needs a package that is not installed: {hint}")


class Folder:
    """A folder, bucket or prefix. The file system is made now, connected to when it is first asked."""

    def __init__(self, url: str, options: Mapping[str, Any], deadline: float) -> None:
        self.protocol = _protocol(url)
        self._secrets = tuple({*_secrets_of(options), *_passwords(url)})
        self._url, self._options, self._deadline = url, dict(options), deadline
        self._is_made = False
        self.name = _shown(url, self.protocol)
        self._fs: AbstractFileSystem | None = None
        self.root = self._open()[1]

    def read(self, name: str) -> bytes | None:
        """What is in a file, or None if there is none.

        Raises:
            StorageUnavailable: nobody knows.
        """
        try:
            return bytes(self._do("read", name, lambda: self._ask("cat_file", self._path(name))))
        except FileNotFoundError:
            return None

    def read_starts(self, names: list[str], length: int) -> list[bytes]:
        """The first bytes of each file; none of one that cannot be read."""
        paths = [self._path(name) for name in names]
        found = self._do("list", "", lambda: self._ask("cat_ranges", paths, 0, length, on_error="return"))
        return [bytes(start) if isinstance(start, bytes) else b"" for start in found]

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all."""
        try:
            self._do("write", name, lambda: self._put(self._path(name), data))
        except FileNotFoundError as error:
            failure = self._failure("write", name, error)
        else:
            return
        raise failure

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with suppress(FileNotFoundError):
            self._do("remove", name, lambda: self._ask("rm_file", self._path(name)))

    def names(self) -> list[str]:
        """The names of the files, as they are now."""
        try:
            self._filesystem().invalidate_cache(self.root)
            found = self._do("list", "", lambda: self._ask("ls", self.root, detail=False))
        except FileNotFoundError:
            return []
        return [str(path).rpartition("/")[2] for path in found]

    def close(self) -> None:
        """Let go of the connections: the file system closes them with its last reference. The next call makes another."""
        self._fs = None

    def _do(self, what: str, name: str, call: Callable[[], T]) -> T:
        """What `call` returns; what it raises as a StorageError, except that something is not there."""
        try:
            return call()
        except FileNotFoundError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            failure = self._failure(what, name, error)
        raise failure

    def _failure(self, what: str, name: str, error: BaseException) -> StorageError:
        if isinstance(error, FSTimeoutError):
            error = TimeoutError(f"given up after {self._deadline:g} s")
        kind = StorageUnavailable if what == "read" else StorageError
        return storage_error(f"cannot {what} {self.name}/{name}".rstrip("/"), error, self._secrets, kind)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _filesystem(self) -> AbstractFileSystem:
        return self._fs if self._fs is not None else self._open()[0]

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method. Within the deadline if it is a coroutine; the libraries of others have time limits of their own."""
        fs = self._filesystem()
        if fs.async_impl:
            return sync(fs.loop, getattr(fs, f"_{method}"), *arguments, timeout=self._deadline, **options)
        return getattr(fs, method)(*arguments, **options)

    def _open(self) -> tuple[AbstractFileSystem, str]:
        try:  # an instance of its own: others may have listed the folder, and what they know of it may be old
            fs, root = url_to_fs(self._url, skip_instance_cache=True, **self._options)
        except ImportError as error:
            raise MissingFilesystem(self.protocol, error) from error
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            reason = redacted(f"{type(error).__name__}: {error}", self._secrets)
        else:
            self._fs = fs
            return fs, root.rstrip("/")
        raise InvalidOption(f"StorageFsspec({self.name!r}): {reason}")

    def _put(self, path: str, data: bytes) -> None:
        if self.protocol in _ATOMIC:
            self._ask("pipe_file", path, data)
        else:
            self._put_and_move(self._path(f"{_TEMPORARY}{secrets.token_hex(8)}"), path, data)

    def _put_and_move(self, temporary: str, path: str, data: bytes) -> None:
        if not self._is_made:
            self._make()
        try:
            try:
                self._ask("pipe_file", temporary, data)
            except FileNotFoundError:  # somebody removed the folder since
                self._make()
                self._ask("pipe_file", temporary, data)
            self._move(temporary, path)
        except BaseException:
            with suppress(Exception):
                self._ask("rm_file", temporary)
            raise

    def _move(self, temporary: str, path: str) -> None:
        if isinstance(self._filesystem(), LocalFileSystem):
            os.replace(temporary, path)  # noqa: PTH105 - fsspec would move it *into* a directory of that name
            return
        filesystem = self._filesystem()
        filesystem.mv(temporary, path)
        if filesystem.exists(temporary):
            # HDFS replaces nothing: its answer is "false", which fsspec does not look at.
            with suppress(FileNotFoundError):
                filesystem.rm_file(path)
            filesystem.mv(temporary, path)
            if filesystem.exists(temporary):
                raise OSError(f"{self.protocol} has not moved the file to its place, and does not say why")

    def _make(self) -> None:
        if isinstance(self._filesystem(), LocalFileSystem):
            os.makedirs(self.root, mode=0o700, exist_ok=True)  # noqa: PTH103 - it holds the users' data
        else:
            self._filesystem().makedirs(self.root, exist_ok=True)
        self._is_made = True


def _protocol(url: str) -> str:
    """The protocol of a URL; a path without one is a local file.

    Raises:
        InvalidOption: fsspec does not know it, it cannot be written to, or there is nothing behind it.
    """
    if not isinstance(url, str) or not url.strip():
        raise InvalidOption(f"url={url!r}: such as s3://bucket/path, gs://, az://, file:///path or memory://name")
    if "::" in url:
        raise InvalidOption("url=...: chained URLs keep copies, which a storage must not read; give the last one alone")
    protocol, separator, rest = url.partition("://")
    if not separator:
        return "file"
    if protocol not in known_implementations and protocol not in registry:
        raise InvalidOption(f"url='{protocol}://...' is not known to fsspec: s3, gs, az, file, memory and others are")
    if protocol in _READ_ONLY:
        raise InvalidOption(f"url='{protocol}://...' cannot be written to: use s3, gs, az, file or another that can")
    if not rest.strip("/") and protocol != "memory":
        raise InvalidOption(f"url='{protocol}://' names no bucket and no path")
    return protocol


def _shown(url: str, protocol: str) -> str:
    """The URL without password and query, which may hold a signature."""
    if "://" not in url:
        return f"{protocol}://{os.path.abspath(url)}"  # noqa: PTH100
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return f"{protocol}://{user.partition(':')[0]}{at}{host}{parts.path}".rstrip("/")


def _secrets_of(options: Mapping[str, Any], *, inside: bool = False) -> Iterator[str]:
    """The values in the options whose names say that they are secret, and the passwords in all others."""
    for name, value in options.items():
        is_secret = inside or bool(_SECRET.search(str(name)))
        if isinstance(value, dict):
            yield from _secrets_of(value, inside=is_secret)
        elif isinstance(value, str):
            yield from [value] if is_secret else _passwords(value)


def _passwords(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    return [text for text in (parts.password, parts.query) if text]
