"""The line to the server: a connected UDP socket that never blocks."""

from __future__ import annotations

import os
import socket

__all__ = ["Line"]


class Line:
    """Sends packets. It is connected, so that the kernel tells when nobody listens at the other end (ICMP).

    Raises:
        OSError: the host does not resolve, or cannot be reached. To find that out may take a while.
    """

    def __init__(self, host: str, port: int) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        # IPv4 first: "localhost" is often both, and statsd servers listen at 0.0.0.0.
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.settimeout(0.0)
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._latest = 0

    def send(self, packet: bytes, lines: int) -> tuple[int, OSError | None]:
        """Send a packet of so many lines. How many lines are known to be lost since it was last asked, and why."""
        lost, why = self.settle()
        try:
            self._socket.send(packet)
        except OSError as error:  # no room in the kernel's buffer, no route, or refused just now
            return lost + lines, error
        self._latest = lines
        return lost, why

    def settle(self) -> tuple[int, OSError | None]:
        """As `send`, with nothing to send: what the kernel has heard of the latest packet."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        lost, self._latest = (self._latest if number else 0), 0
        return lost, OSError(number, os.strerror(number)) if number else None

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
