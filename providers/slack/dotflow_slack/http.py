"""One POST over HTTP that ends at its deadline, whatever the other side does."""

from __future__ import annotations

import base64
import io
import ssl
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    import socket

__all__ = ["Answer", "Endpoint", "NoAnswer"]

_ENOUGH = 1000  # bytes of an answer that are read
_USUAL_PAUSE = 1.0  # seconds; for a 429 that does not say how long


class Answer(NamedTuple):
    """What came back: the status, the beginning of the body, and the seconds that `Retry-After` asks for."""

    status: int
    text: str
    retry_after: float

    def __repr__(self) -> str:
        return f"Answer({self.status})"  # what came back may repeat the URL, and a debugger shows local variables


class NoAnswer(NamedTuple):
    """Nothing came back; `why`, in words that hold nothing of the URL. Its status is that of no answer."""

    why: str
    status: int = 0


class Endpoint:
    """A URL to post to, through the proxy that the environment names. Its path is a secret."""

    def __init__(self, scheme: str, host: str, port: int | None, path: str) -> None:
        self._scheme = scheme
        self._host = host
        self._port = port
        self._path = path

    def post(self, body: bytes, deadline: float) -> Answer | NoAnswer:
        """Post some JSON; `deadline` is monotonic. Redirects are not followed. Raises nothing that could tell the URL."""
        proxy = _proxy(self._scheme, self._host)
        try:
            return self._post(body, deadline, proxy)
        except (OSError, HTTPException, ValueError) as error:
            late = isinstance(error, TimeoutError) or time.monotonic() >= deadline
            why = "it did not answer in time" if late else _in_words(error)
            return NoAnswer(f"{why}, asked through the proxy of the environment" if proxy else why)

    def _post(self, body: bytes, deadline: float, proxy: SplitResult | None) -> Answer:
        connection = self._connection(_left(deadline), proxy)
        # Its own timeout is for each wait; a server that sends a byte now and then would never come to it.
        connection.response_class = lambda *args, **more: _in_time(deadline, *args, **more)  # type: ignore[assignment]
        try:
            connection.connect()
            connection.sock.settimeout(_left(deadline))
            connection.request("POST", self._target(proxy), body, self._headers(proxy))
            response = connection.getresponse()
            read = response.read(_ENOUGH)
            if response.length and len(read) < _ENOUGH:
                raise IncompleteRead(b"", response.length)
            text = read.decode("utf-8", "replace").strip()
            return Answer(response.status, text, _pause(response.headers["Retry-After"]))
        finally:
            connection.close()

    def _connection(self, timeout: float, proxy: SplitResult | None) -> HTTPConnection:
        host, port = (proxy.hostname or "", proxy.port) if proxy else (self._host, self._port)
        if self._scheme == "http":
            return HTTPConnection(host, port, timeout=timeout)
        connection = HTTPSConnection(host, port, timeout=timeout, context=_tls())
        if proxy:
            connection.set_tunnel(self._host, self._port or 443, _credentials(proxy))
        return connection

    def _target(self, proxy: SplitResult | None) -> str:
        """What is asked for: a proxy that sees the request itself wants the whole URL."""
        if proxy is None or self._scheme == "https":
            return self._path
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port or 80}{self._path}"

    def _headers(self, proxy: SplitResult | None) -> dict[str, str]:
        more = _credentials(proxy) if proxy and self._scheme == "http" else {}
        return {"Content-Type": "application/json", "User-Agent": "dotflow", **more}

    def __repr__(self) -> str:
        return f"{self._scheme}://{self._host}/..."


def _proxy(scheme: str, host: str) -> SplitResult | None:
    url = getproxies().get(scheme)
    if not url or proxy_bypass(host):
        return None
    return urlsplit(url if "://" in url else f"http://{url}")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _in_time(deadline: float, sock: socket.socket, *args: Any, **more: Any) -> HTTPResponse:
    response = HTTPResponse(sock, *args, **more)
    response.fp = io.BufferedReader(_Reader(response.fp.detach(), sock, deadline))
    return response


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _pause(retry_after: str | None) -> float:
    """Seconds, of a number or a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    given = (retry_after or "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    try:
        until = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return _USUAL_PAUSE
    aware = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (aware - datetime.now(timezone.utc)).total_seconds())


def _in_words(error: Exception) -> str:
    """What happened, without what the error itself says: that may hold the URL, or a proxy's password."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not to be trusted"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    if isinstance(error, (ConnectionError, HTTPException)):
        return "it broke the connection off, or spoke no HTTP"
    return f"it cannot be reached ({type(error).__name__})"
