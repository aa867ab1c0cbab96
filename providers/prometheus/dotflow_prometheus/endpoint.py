"""The endpoint: `/metrics` over HTTP."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from dotflow.errors import DotflowError
from dotflow.names import logs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["Endpoint", "PortUnavailable"]

_logger = logging.getLogger(logs.LOGGER)

_PATIENCE_SECONDS: Final = 30  # for a client that says nothing, or takes nothing
_ABOUT_THE_PORT: Final = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)
_ANOTHER_PORT: Final = "choose another port, or port=0 for any free one"
_ANOTHER_HOST: Final = (
    "host= is a name or an address of this machine, such as '127.0.0.1', or '0.0.0.0' for all of them"
)


class PortUnavailable(DotflowError, OSError):
    """The address for `/metrics` cannot be used: the port is taken, or the host is not one of this machine."""


class Endpoint:
    """Serves a WSGI application from construction on, in daemon threads.

    Raises:
        PortUnavailable: naming host and port.
    """

    def __init__(self, host: str, port: int, app: Callable[..., Any], tls: ssl.SSLContext | None = None) -> None:
        try:
            self._server = _Server(host, port, tls)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that cannot be a name
            raise _unavailable(host, port, error) from None  # it says all, and last
        self._server.set_app(app)
        self.port: int = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://{_netloc(host, self.port)}/metrics"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name=f"dotflow-prometheus-{self.port}", daemon=True
        )
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Stop the server and its thread and let go of the port, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        # shutdown() waits for the server's loop without a limit, so it must wait in a thread of its own.
        stopper = threading.Thread(target=self._server.shutdown, name="dotflow-prometheus-stop", daemon=True)
        stopper.start()
        # The loop looks up only every half second; the end of its socket wakes it at once (where the system does that).
        with suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, stopper):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a request; with TLS, the handshake is made there too.

    prometheus_client's server makes it in the one thread that accepts, so a client which connects and says nothing keeps
    everybody else out.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        super().__init__((str(address[0]), port), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Not on stderr: a client that hangs up, or that is refused for its certificate, is nobody's failure here."""
        del request
        # Called where the exception is handled.
        _logger.debug("a request for metrics from %s was not answered", client_address, exc_info=True)  # noqa: LOG014


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_SECONDS

    def log_message(self, *_: Any) -> None:
        """Say nothing: there is a request every few seconds."""


def _unavailable(host: str, port: int, error: OSError | UnicodeError) -> PortUnavailable:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    number = getattr(error, "errno", None)
    what = _ANOTHER_PORT if number in _ABOUT_THE_PORT else _ANOTHER_HOST
    return PortUnavailable(number, f"cannot serve metrics at {_netloc(host, port)}: {reason}; {what}")


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
