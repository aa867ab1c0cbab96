"""The endpoint: `/metrics` over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import start_http_server

from dotflow.errors import DotflowError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Endpoint", "PortUnavailable"]


class PortUnavailable(DotflowError, OSError):
    """The address for `/metrics` cannot be used: the port is taken, or the host is not one of this machine."""


class Endpoint:
    """Serves a registry from construction on, in daemon threads. Speaks text and, to who asks for it, OpenMetrics.

    Raises:
        PortUnavailable: naming host and port.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that cannot be a name
            raise _unavailable(host, port, error) from error
        self.port: int = self._server.server_port
        self.url = f"http://{_netloc(host, self.port)}/metrics"

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


def _unavailable(host: str, port: int, error: OSError | UnicodeError) -> PortUnavailable:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    text = f"cannot serve metrics at {_netloc(host, port)}: {reason}; choose another port, or port=0 for any free one"
    return PortUnavailable(getattr(error, "errno", None), text)


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
