"""A server on the loopback that passes on what it gets, until a test has it answer nonsense."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

NONSENSE = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n",
    "zeros": bytes(64),
    "a number": b":5\r\n",
    "another word": b"+PERHAPS\r\n",
    "a length that never comes": b"$1000000\r\nabc",
    "a length that is none": b"$many\r\n",
    "an error": b"-ERR no such thing\r\n",
    "half a line": b"+O",
    "nothing": b"",
}


class Garbling:
    """Listens from `with` on. While `nonsense` is bytes, each request is answered by those (by none: hung up)."""

    def __init__(self, target_port: int | None = None, nonsense: bytes | None = None) -> None:
        self.target_port, self.nonsense = target_port, nonsense
        self._open: list[socket.socket] = []

    def __enter__(self) -> Garbling:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target_port)) if self.target_port else None
                self._open += [each for each in (near, far) if each]
                threading.Thread(target=self._requests, args=(near, far), daemon=True).start()
                if far:
                    threading.Thread(target=self._answers, args=(near, far), daemon=True).start()

    def _requests(self, near: socket.socket, far: socket.socket | None) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                if self.nonsense is None and far is not None:
                    far.sendall(data)
                elif self.nonsense:
                    near.sendall(self.nonsense)
                else:
                    break
        _hang_up(near, far)

    def _answers(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)
        _hang_up(near, far)


def _hang_up(*sockets: socket.socket | None) -> None:
    for each in sockets:
        with suppress(OSError):
            if each is not None:
                each.shutdown(socket.SHUT_RDWR)
