"""Messages between the coordinator and a worker process, over a socket: one kind, a length, and so many bytes."""

from __future__ import annotations

import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BEGUN", "DONE", "FLUSH", "FLUSHED", "RUN", "SETUP", "STOP", "Mailbox", "receive", "send"]

# To a worker: how to settle in; an attempt (a payload); flush within so many seconds; end in order.
SETUP: Final = b"S"
RUN: Final = b"R"
FLUSH: Final = b"F"
STOP: Final = b"Q"
# From a worker: the attempt has begun; its report; what the flush did.
BEGUN: Final = b"B"
DONE: Final = b"D"
FLUSHED: Final = b"L"

_HEAD = struct.Struct("!cQ")
_CHUNK = 1 << 20
_LONGEST = 1 << 48
_QUIETLY = getattr(socket, "MSG_NOSIGNAL", 0)  # a program may let SIGPIPE end it: a dead worker must not


def send(sock: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Send a message, and wait until it is on its way.

    Raises:
        OSError: the other side is gone.
    """
    head = _HEAD.pack(kind, len(payload))
    if len(payload) < _CHUNK:
        sock.sendall(head + payload)
    else:
        sock.sendall(head)
        sock.sendall(payload)


def receive(sock: socket.socket) -> tuple[bytes, bytes] | None:
    """Wait for a message; None when the other side is gone."""
    head = _exactly(sock, _HEAD.size)
    if head is None:
        return None
    kind, length = _HEAD.unpack(head)
    payload = _exactly(sock, length)
    return None if payload is None else (kind, bytes(payload))


class Mailbox:
    """The coordinator's end: takes and gives messages without ever waiting for the other side."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.is_gone = False
        self.is_garbled = False
        self.was_unread = False
        self._out: deque[memoryview] = deque()
        self._head = bytearray()
        self._payload: bytearray | None = None
        self._have = 0

    @property
    def has_more_to_send(self) -> bool:
        """Whether `send_more` is to be called when the socket takes more."""
        return bool(self._out)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Queue a message, and send as much as the socket takes now."""
        head = _HEAD.pack(kind, len(payload))
        if len(payload) < _CHUNK:
            self._out.append(memoryview(head + payload))
        else:
            self._out.append(memoryview(head))
            self._out.append(memoryview(payload))
        self.send_more()

    def send_more(self) -> None:
        """Send what the socket takes. A peer that is gone shows in `is_gone`; what it had sent can still be read.

        `was_unread` then says that it has gone without having read all that was sent to it.
        """
        try:
            while self._out:
                sent = self.sock.send(self._out[0], _QUIETLY)
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                else:
                    self._out.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.was_unread = True
            self._out.clear()

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """The messages that have arrived in full."""
        while True:
            try:
                message = self._read()
            except BlockingIOError:
                return
            except OSError:  # a reset: how the system tells of bytes that lay unread when the other side ended
                self.was_unread = True
                message = None
            if message is None:
                self.is_gone = True
                return
            yield message

    def _read(self) -> tuple[bytes, bytes] | None:
        """A message; None at the end, or if it is none. What has come of the next one is kept for when there is more."""
        while len(self._head) < _HEAD.size:
            found = self.sock.recv(_HEAD.size - len(self._head))
            if not found:
                return None
            self._head += found
        kind, length = _HEAD.unpack(self._head)
        if kind not in (BEGUN, DONE, FLUSHED) or length > _LONGEST:
            self.is_garbled = True
            return None
        if self._payload is None:
            self._payload, self._have = bytearray(length), 0
        view = memoryview(self._payload)
        while self._have < length:
            count = self.sock.recv_into(view[self._have : self._have + _CHUNK])
            if not count:
                return None
            self._have += count
        payload = bytes(self._payload)
        view.release()
        self._head.clear()
        self._payload = None
        return kind, payload


def _exactly(sock: socket.socket, length: int) -> bytearray | None:
    data = bytearray(length)
    view, have = memoryview(data), 0
    while have < length:
        try:
            count = sock.recv_into(view[have : have + _CHUNK])
        except OSError:
            return None
        if not count:
            return None
        have += count
    return data
