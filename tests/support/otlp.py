"""An OTLP/HTTP endpoint on the loopback that decodes the real protobuf."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support.http_server import HttpServer, OtlpHandler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came over the wire; ids as lower-case hex."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    status: int
    status_message: str
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    links: list[tuple[str, str]]
    scope: str
    resource: dict[str, Any] = field(repr=False)


class OtlpEndpoint:
    """Listens on a free port, or on `port`, from `with` on; `status` and `headers` are what it answers.

    `first` are the statuses of the first answers, before it comes to `status`.
    """

    def __init__(
        self, status: int = 200, headers: Mapping[str, str] | None = None, first: tuple[int, ...] = (), port: int = 0
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.spans: list[ReceivedSpan] = []
        self.requests = 0
        self._first = first
        self._port = port
        self._lock = threading.Lock()

    def __enter__(self) -> OtlpEndpoint:
        endpoint = self

        class Handler(OtlpHandler):
            def do_POST(self) -> None:
                status = endpoint._take(self.path, self.body())
                self.answer(status, ExportTraceServiceResponse().SerializeToString(), endpoint.headers)

        self._server = HttpServer(Handler, self._port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return self._server.url

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReceivedSpan:
        (span,) = self.named(name)
        return span

    def children(self, span: ReceivedSpan) -> list[ReceivedSpan]:
        return sorted((s for s in self.spans if s.parent_id == span.span_id), key=lambda s: s.start_ns)

    def _take(self, path: str, body: bytes) -> int:
        if path in ("/v1/logs", "/v1/metrics"):  # answered as the spans are, and not looked at
            return self.status
        assert path == "/v1/traces", path
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            status = self._first[self.requests] if self.requests < len(self._first) else self.status
            self.requests += 1
            if status == 200:
                self.spans += _decode(request)
            return status


def _decode(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            status=span.status.code,
            status_message=span.status.message,
            attributes=attributes_of(span.attributes),
            events=[(e.name, e.time_unix_nano, attributes_of(e.attributes)) for e in span.events],
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            scope=scoped.scope.name,
            resource=attributes_of(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scoped in resource.scope_spans
        for span in scoped.spans
    ]


def attributes_of(pairs: Any) -> dict[str, Any]:
    """OTLP's list of keys and values as a dict of plain data."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def value_of(value: Any) -> Any:
    """What an OTLP `AnyValue` holds, as plain data."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


# --- collectors that are down


@contextmanager
def down(kind: str) -> Iterator[str]:
    """The URL of a collector that is down in the way that `DOWN` says."""
    if kind == "does not resolve":
        yield "http://collector.invalid:4318"  # RFC 2606: no such name, ever
    elif kind == "refuses":
        with socket.socket() as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
    elif kind.startswith("503"):
        with OtlpEndpoint(503, {"Retry-After": kind.rpartition(" ")[2]} if "Retry-After" in kind else None) as endpoint:
            yield endpoint.url
    else:
        with _Misbehaving(_MISBEHAVIOUR[kind]) as url:
            yield url


class _Misbehaving:
    """Takes connections, and hands each to a function in a thread of its own, until `over` is set."""

    def __init__(self, behave: Any) -> None:
        self._behave = behave
        self._over = threading.Event()
        self._listener = socket.socket()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> str:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # soon full, if nobody reads
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(100)
        self._threads.append(threading.Thread(target=self._accept))
        self._threads[0].start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with socket.socket() as last:
            last.connect(self._listener.getsockname())
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._over.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._behave(connection, self._over)
            except OSError:
                return  # the other side has given up


def _never_read(connection: socket.socket, over: threading.Event) -> None:
    del connection
    over.wait()


def _never_answer(connection: socket.socket, over: threading.Event) -> None:
    connection.settimeout(0.05)
    while not over.is_set():
        try:
            if not connection.recv(1 << 16):
                return
        except TimeoutError:
            continue


def _trickle(connection: socket.socket, over: threading.Event) -> None:
    """An answer that goes on and on, a byte at a time: no single read of it takes long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while not over.wait(0.05):
        connection.sendall(b"x")


def _break_off(connection: socket.socket, over: threading.Event) -> None:
    del over
    while True:
        _read_a_request(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nonly"
        )
        connection.shutdown(socket.SHUT_RDWR)


def _read_a_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        found = connection.recv(1 << 16)
        if not found:
            raise ConnectionError
        data += found
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")]
    while len(body) < length:
        body += connection.recv(1 << 16)


_MISBEHAVIOUR = {
    "never reads": _never_read,
    "never answers": _never_answer,
    "trickles": _trickle,
    "breaks off": _break_off,
}

DOWN = (
    "refuses",
    "does not resolve",
    "503",
    "503 with Retry-After: 1",
    "503 with Retry-After: 30",
    *_MISBEHAVIOUR,
)
"""The ways in which a collector can be down."""
