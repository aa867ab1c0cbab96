"""Who takes statsd lines: a socket that keeps what it gets, and the real servers, started by the tests and stopped by them.

The programs come from the PATH or from a cache outside the tree, into which they are put once: npm's `statsd` by npm, and
Prometheus's `statsd_exporter`, which understands DogStatsD's tags, by Go.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.cached import folder, made_by
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STATSD_VERSION = "0.9.0"
EXPORTER_VERSION = "v0.31.0"
_SECONDS = 30


class UdpListener:
    """A UDP socket that keeps the packets it gets, from `with` on."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def __enter__(self) -> UdpListener:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    @property
    def lines(self) -> list[str]:
        return [line for packet in list(self.packets) for line in packet.decode().split("\n")]

    def wait_for(self, line: str) -> None:
        """Wait until a line has come; UDP to the loopback arrives at once, but the thread has to take it."""
        until(lambda: line in self.lines, f"no line {line!r}")

    def _receive(self) -> None:
        while packet := self._socket.recv(1 << 16):
            self.packets.append(packet)


class StatsdServer:
    """npm's statsd, from `with` on; it never flushes, so it keeps all it gets."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def __enter__(self) -> StatsdServer:
        self.port, self._management = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        configuration = {
            "address": "127.0.0.1",
            "port": self.port,
            "mgmt_address": "127.0.0.1",
            "mgmt_port": self._management,
            "flushInterval": 3_600_000,
            "backends": [],
        }
        self._directory = tempfile.TemporaryDirectory()
        path = Path(self._directory.name, "config.js")
        path.write_text(json.dumps(configuration))
        self._process = subprocess.Popen(["node", self._program, path], stdout=subprocess.DEVNULL)
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    @property
    def counters(self) -> dict[str, float]:
        return self._ask("counters")

    @property
    def gauges(self) -> dict[str, float]:
        return self._ask("gauges")

    @property
    def timers(self) -> dict[str, list[float]]:
        """The values of each timer, in ms. (The console shows a hundred of them.)"""
        return self._ask("timers")

    def _ask(self, command: str) -> Any:
        """What the management console says, which is JavaScript's way to write an object, and Python's too."""
        with socket.create_connection(("127.0.0.1", self._management), timeout=_SECONDS) as console:
            console.sendall(command.encode() + b"\n")
            text = ""
            while not text.endswith("END\n\n"):
                text += console.recv(1 << 16).decode()
        return ast.literal_eval(re.sub(r",?\s*\.\.\. \d+ more items?", "", text.removesuffix("END\n\n")))

    def _wait_until_ready(self) -> None:
        def answers() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError("statsd did not start")
            send(self.port, b"tests.ready:1|c")
            try:
                return "tests.ready" in self.counters
            except OSError:
                return False

        until(answers, "statsd did not start")


class StatsdExporter:
    """Prometheus's statsd_exporter, from `with` on."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def __enter__(self) -> StatsdExporter:
        self.port, self._web = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        self._process = subprocess.Popen(
            [
                self._program,
                f"--statsd.listen-udp=127.0.0.1:{self.port}",
                "--statsd.listen-tcp=",
                f"--web.listen-address=127.0.0.1:{self._web}",
                "--log.level=error",
            ]
        )
        try:
            until(self._answers, "statsd_exporter did not start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def metrics(self) -> str:
        """Its page for Prometheus."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._web}/metrics", timeout=_SECONDS) as answer:
            return str(answer.read().decode())

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError("statsd_exporter did not start")
        send(self.port, b"tests.ready:1|c")
        try:
            return "tests_ready" in self.metrics()
        except OSError:
            return False


def find_statsd() -> Path | None:
    """The program of npm's statsd, installed if need be; None where there is no npm, or it cannot install it."""
    if shutil.which("node") is None:
        return None
    home = folder() / f"npm-statsd-{STATSD_VERSION}"
    install = ["npm", "install", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]
    return made_by(
        [*install, str(home), f"statsd@{STATSD_VERSION}"],
        home / "node_modules" / "statsd" / "stats.js",
        f"statsd {STATSD_VERSION}",
        "some seconds, npm downloads it",
    )


def find_exporter() -> Path | None:
    """The program of statsd_exporter, built if need be; None where there is neither it nor a Go toolchain."""
    on_path = shutil.which("statsd_exporter") or shutil.which("prometheus-statsd-exporter")
    if on_path:
        return Path(on_path)
    home = folder() / f"statsd_exporter-{EXPORTER_VERSION}"
    return made_by(
        ["go", "install", f"github.com/prometheus/statsd_exporter@{EXPORTER_VERSION}"],
        home / "statsd_exporter",
        f"statsd_exporter {EXPORTER_VERSION}",
        "a minute, a Go toolchain downloads its source",
        GOBIN=str(home),
    )


def send(port: int, packet: bytes) -> None:
    """Send one packet to the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(packet, ("127.0.0.1", port))


@contextmanager
def nobody_listens() -> Iterator[int]:
    """A UDP port that answers with ICMP "port unreachable", and that nobody else gets meanwhile."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.connect(("127.0.0.1", 9))  # from now on it takes packets from there only
        yield bound.getsockname()[1]


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise)
        time.sleep(0.01)  # polled until it holds, or the deadline
