"""A web server on the loopback, and what every endpoint for OTLP over HTTP does with a request."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


class HttpServer:
    """Listens on a free port, or on `port`, until it is stopped; over TLS if it gets a context."""

    def __init__(self, handler: type[QuietHandler], port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """From now on connections are refused."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class QuietHandler(BaseHTTPRequestHandler):
    """Writes nothing: a test prints its own failures."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


class OtlpHandler(QuietHandler):
    """A request with OTLP in protobuf, and the answer to it."""

    def body(self) -> bytes:
        """What was posted, unpacked."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def answer(self, status: int, message: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a message in protobuf."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(message)))
        self.end_headers()
        self.wfile.write(message)
