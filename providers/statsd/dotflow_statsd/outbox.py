"""Lines on their way out: together in packets, from whichever thread fills one, and never waited for."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from typing import Final

from dotflow_statsd.line import Line

__all__ = ["Outbox"]

_PACKET: Final = 1432  # bytes: an Ethernet frame of 1500 without the headers of IP, UDP and what a tunnel may add
_BACKLOG: Final = 1000  # packets that wait as long as the host is not known
_LINGER: Final = 0.05  # seconds that a line waits at most for others
_RETRY: Final = 30.0  # seconds from one failed look-up of the host to the next
_EXIT: Final = 0.5  # seconds that the end of the program waits for a host that is not known yet


class Outbox:
    """Puts lines into packets and sends them.

    A packet that is full is sent at once, by the thread that has filled it: a UDP socket takes it or refuses it. A daemon
    thread sends what lingers, and looks up the host, for which nobody waits but `flush`, and that once.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._size = 0
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._line: Line | None = None
        self._unknown = f"the host {host!r} is not known yet"
        self._retry_at = 0.0
        self._lost: dict[str, int] = {}
        self._sender: _Sender | None = None

    def put(self, *lines: bytes) -> None:
        """Take lines in. One that has a newline in it is two that stay together."""
        with self._lock:
            for line in lines:
                if self._size + len(line) > _PACKET:
                    self._pack()
                self._lines.append(line)
                self._size += len(line) + 1
            sender = self._sender
            if sender is None or not sender.is_alive():  # not alive: in a fork of the process that has started it
                sender = self._sender = _Sender(self)
                sender.start()
                atexit.register(self.flush, _EXIT)
        sender.wake.set()

    def flush(self, seconds: float) -> None:
        """Send what is there. What cannot be, because the host is not known after `seconds`, is counted as lost."""
        sender = self._sender
        if self._line is None and sender is not None:
            sender.has_looked.wait(seconds)
            sender.has_looked.set()
        with self._lock:
            self._pack()
            if self._line is None:
                self._give_up()
            else:
                self._note(*self._line.settle())

    def take_lost(self) -> list[tuple[int, str]]:
        """How many lines were lost since this was last asked, and why."""
        with self._lock:
            lost, self._lost = self._lost, {}
        return [(items, why) for why, items in lost.items()]

    def close(self, seconds: float) -> None:
        """Send what is there and let go of the socket and the thread, within `seconds`; who puts more begins again."""
        deadline = time.monotonic() + seconds
        self.flush(seconds)
        with self._lock:
            sender, self._sender = self._sender, None
            line, self._line = self._line, None
            self._retry_at = 0.0
        atexit.unregister(self.flush)
        if line is not None:
            line.close()
        if sender is not None:
            sender.stop.set()
            sender.wake.set()
            sender.join(max(0.0, deadline - time.monotonic()))

    # --- for the sender

    def look_up(self) -> None:
        """Find the host, unless that has failed a moment ago."""
        if self._line is not None or time.monotonic() < self._retry_at:
            return
        try:
            line = Line(self._host, self._port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a text that cannot be a name
            self._unknown = f"the host {self._host!r} is not known ({error})"
            self._retry_at = time.monotonic() + _RETRY
        else:
            self._connected(line)

    def send_lingering(self) -> None:
        """Send a packet that is not full."""
        with self._lock:
            self._pack()
            if self._line is None:
                self._give_up()

    def _connected(self, line: Line) -> None:
        with self._lock:
            if self._sender is not threading.current_thread():  # closed, or given up, while it was looking
                line.close()
                return
            self._line = line
            while self._backlog:
                self._note(*line.send(*self._backlog.popleft()))

    # --- with the lock

    def _pack(self) -> None:
        if not self._lines:
            return
        packet = b"\n".join(self._lines)
        count = 1 + packet.count(b"\n")
        self._lines, self._size = [], 0
        if self._line is not None:
            self._note(*self._line.send(packet, count))
        elif len(self._backlog) < _BACKLOG:
            self._backlog.append((packet, count))
        else:
            self._count(count, self._unknown)

    def _give_up(self) -> None:
        self._count(sum(count for _, count in self._backlog), self._unknown)
        self._backlog.clear()

    def _note(self, lost: int, why: OSError | None) -> None:
        self._count(lost, f"not taken at {self._host}:{self._port} ({why.strerror if why else ''})")

    def _count(self, lost: int, why: str) -> None:
        if lost:
            self._lost[why] = self._lost.get(why, 0) + lost


class _Sender(threading.Thread):
    """Waits for lines, looks up the host before the first, and lets them linger for a moment."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(name="dotflow-statsd", daemon=True)
        self.wake = threading.Event()
        self.stop = threading.Event()
        self.has_looked = threading.Event()
        self._outbox = outbox

    def run(self) -> None:
        while not self.stop.is_set():
            self.wake.wait()
            self.wake.clear()
            self._outbox.look_up()
            self.has_looked.set()
            if not self.stop.wait(_LINGER):
                self._outbox.send_lingering()
