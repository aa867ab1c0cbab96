"""A web server on the loopback that takes what is posted to it, and answers as it is told."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.http_server import HttpServer, QuietHandler

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from http.server import BaseHTTPRequestHandler

LIMIT = 30  # seconds after which something that hangs fails a test; none waits that long to pass


@dataclass(frozen=True)
class Answer:
    """What to answer. `raw` are bytes to send instead of an answer in HTTP, before the connection is broken off.

    `gate`: answer only once it is set. `trickle`: send one byte of a header at a time, for as long as somebody reads.
    """

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    gate: threading.Event | None = None
    trickle: bool = False


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpReceiver:
    """Listens on a free port, over TLS if it gets a context. Gives the answers of `script` in order, then `usual`."""

    def __init__(self, *script: Answer, usual: Answer | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Received] = []
        self.usual = usual or Answer()
        self._script = list(script)
        self._came = threading.Condition()
        self._stopped = threading.Event()
        self._server = HttpServer(self._handler(), tls=tls)
        self.port = self._server.port

    def __enter__(self) -> HttpReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def jsons(self) -> list[Any]:
        return [request.json for request in self.requests]

    def wait_for(self, count: int) -> list[Received]:
        """The requests, once there are that many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.requests) >= count, LIMIT), f"only {len(self.requests)} came"
            return list(self.requests)

    def stop(self) -> None:
        """Stop listening, as often as wanted; from then on connections are refused."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._server.stop()

    def _handler(self) -> type[QuietHandler]:
        receiver = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._answer(self, Received("POST", self.path, dict(self.headers), body))

            def do_GET(self) -> None:
                receiver._answer(self, Received("GET", self.path, dict(self.headers), b""))

            def do_CONNECT(self) -> None:
                receiver._answer(self, Received("CONNECT", self.path, dict(self.headers), b""))

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, request: Received) -> None:
        with self._came:
            answer = self._script.pop(0) if self._script else self.usual
            self.requests.append(request)
            self._came.notify_all()
        if answer.gate is not None:
            assert answer.gate.wait(LIMIT)
        handler.close_connection = True
        try:
            _send(handler, answer, self._stopped)
        except ConnectionError:
            """The client did not wait for it: that is what some of the tests are about."""


def _send(handler: BaseHTTPRequestHandler, answer: Answer, stopped: threading.Event) -> None:
    if answer.raw is not None:
        handler.wfile.write(answer.raw)
        return
    if answer.trickle:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not stopped.wait(0.02):
            handler.wfile.write(b"x")
        return
    body = answer.body.encode()
    handler.send_response(answer.status)
    for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def receiver(*script: Answer, usual: Answer | None = None, tls: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """A receiver for one block."""
    with HttpReceiver(*script, usual=usual, tls=tls) as listening:
        yield listening
