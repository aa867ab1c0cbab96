"""The Redis behind a storage: which one, how long it is waited for, and what is told when it fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError
from redis.exceptions import ConnectionError as Disconnected
from redis.retry import Retry

from dotflow.errors import InvalidOption, StorageError
from dotflow.model.action import check_seconds
from dotflow.toolkit.redaction import storage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Server", "milliseconds", "own", "theirs"]

T = TypeVar("T")

_SCHEMES = ("redis", "rediss", "unix")
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class Server:
    """A client, and the patience that one has with it.

    A connection that is refused or lost is made again for `timeout` seconds; all that is ever asked can be asked twice. An
    answer that does not come for `timeout` seconds is not waited for again. `secrets` never show in an error.
    """

    def __init__(
        self, client: redis.Redis, name: str, timeout: float, secrets: tuple[str, ...], *, owned: bool
    ) -> None:
        self.name = name
        self._client = client
        self._timeout = timeout
        self._secrets = secrets
        self._owned = owned

    def ask(self, what: str, call: Callable[[redis.Redis], T], kind: type[StorageError] = StorageError) -> T:
        """What `call` returns.

        Raises:
            StorageError: (of this `kind`) `what` could not be done; the cause is chained, unless it shows a secret.
        """
        try:
            return self._persistently(call)
        except Exception as error:  # noqa: BLE001 - a garbled answer can make redis-py raise anything
            failure = storage_error(f"cannot {what} ({self.name})", error, self._secrets, kind)
        raise failure

    def close(self) -> None:
        """Close the connections, if they are ours. They are made again when they are needed."""
        if self._owned:
            self._client.close()

    def _persistently(self, call: Callable[[redis.Redis], T]) -> T:
        give_up, pause = time.monotonic() + self._timeout, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return call(self._client)
            except (AuthenticationError, AuthorizationError):  # which redis-py counts among the lost connections
                raise
            except Disconnected:
                if time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def own(options: Mapping[str, Any], url: str | None, timeout: float) -> Server:
    """The server that the options or the URL name, not yet connected to.

    Raises:
        InvalidOption: an option that makes no sense, or one beside a URL; its text has no secrets.
    """
    limits: dict[str, Any] = {
        "socket_timeout": _above_zero(timeout),
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),  # that is `Server`'s business; redis-py would try 121 times
    }
    if url is None:
        client = redis.Redis(**_checked(options), **limits)
    else:
        _check_alone("url", options)
        client = _from_url(url, limits)
    return _server(client, timeout, owned=True)


def theirs(client: object, options: Mapping[str, Any], url: str | None, timeout: float) -> Server:
    """The user's own client, which stays theirs to close.

    Raises:
        InvalidOption: it is no synchronous client, one that decodes what it reads, or something else was given too.
    """
    _check_alone("client", {**options, "url": url})
    if not isinstance(client, redis.Redis):
        raise InvalidOption(f"client=<{type(client).__name__}>: an instance of redis.Redis")
    if client.connection_pool.connection_kwargs.get("decode_responses"):
        raise InvalidOption(
            "client=redis.Redis(decode_responses=True): contexts are bytes; give it a client without that"
        )
    return _server(client, _above_zero(timeout), owned=False)


def _server(client: redis.Redis, timeout: float, *, owned: bool) -> Server:
    given = client.connection_pool.connection_kwargs
    secrets = tuple(str(given[name]) for name in ("password", "ssl_password") if given.get(name))
    return Server(client, _name(given), timeout, secrets, owned=owned)


def _above_zero(timeout: float) -> float:
    check_seconds("timeout", timeout)
    if timeout == 0:
        raise InvalidOption("timeout=0: seconds, above 0")
    return timeout


_USUAL: dict[str, Any] = {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None}


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    host, port, db = options["host"], options["port"], options["db"]
    if not isinstance(host, str) or not host.strip() or "://" in host:
        raise InvalidOption("host=...: the name or the address of a machine; a URL goes into url=")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:  # noqa: PLR2004
        raise InvalidOption(f"port={port!r}: a whole number from 1 to 65535")
    if isinstance(db, bool) or not isinstance(db, int) or db < 0:
        raise InvalidOption(f"db={db!r}: a whole number not below 0")
    for name in ("username", "password"):
        if options[name] is not None and not isinstance(options[name], str):
            raise InvalidOption(f"{name}=<{type(options[name]).__name__}>: a text, or None")
    return dict(options)


def _check_alone(name: str, options: Mapping[str, Any]) -> None:
    both = [option for option, given in options.items() if given != _USUAL.get(option)]
    if both:
        raise InvalidOption(f"{name}=... and {both[0]}=...: {name} says it all, so give only one of them")


def _from_url(url: str, limits: dict[str, Any]) -> redis.Redis:
    """A client for a URL. What is wrong with it is told without quoting it: it may have a password in it."""
    if not isinstance(url, str) or url.partition("://")[0] not in _SCHEMES:
        raise InvalidOption("url=...: redis://user:password@host:port/db, rediss:// for TLS, or unix:///path/to/socket")
    _check_parts(url)
    try:
        client = redis.Redis.from_url(url, **limits)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing, but finds options that are unknown
    except (TypeError, ValueError) as error:  # they name an option of the query
        raise InvalidOption(f"url=...: {error}") from None
    return client


def _check_parts(url: str) -> None:
    """Redis-py quotes a port that is none, and silently takes database 0 for a path that is no number."""
    try:
        parts = urlsplit(url)
        is_good = parts.port is None or parts.port > 0
    except ValueError:
        is_good = False
    if not is_good:
        raise InvalidOption(
            "url=...: no URL, or its port is no number; what is special in a password is percent-encoded"
        )
    database = parts.path.strip("/") if parts.scheme != "unix" else ""
    if database and not database.isdecimal():
        raise InvalidOption("url=...: the path of a Redis URL is the number of a database, such as /0")


def _name(given: Mapping[str, Any]) -> str:
    if "path" in given:
        return f"unix://{given['path']}"
    return f"redis://{given.get('host', 'localhost')}:{given.get('port', 6379)}/{given.get('db') or 0}"


def milliseconds(ttl: object) -> int | None:
    """A time to live in seconds as Redis wants it; None for none.

    Raises:
        InvalidOption: it is no time above 0.
    """
    if ttl is None:
        return None
    is_number = isinstance(ttl, (int, float)) and not isinstance(ttl, bool)
    if not is_number or not 0 < ttl < 1e11:  # type: ignore[operator]  # noqa: PLR2004
        raise InvalidOption(f"ttl={ttl!r}: seconds, a finite number above 0, or None to keep contexts for ever")
    return max(1, round(ttl * 1000))  # type: ignore[operator]
