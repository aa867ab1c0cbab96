"""A real Redis on a free port of the loopback, in memory only, that tests can stop, halt and start again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from support.ports import free_port

_READY_SECONDS = 20


def find() -> str | None:
    """The program, from the PATH."""
    return shutil.which("redis-server")


class RedisServer:
    """Answers from `with` on. `arguments` are more of the program's own options."""

    def __init__(self, *arguments: str, password: str | None = None) -> None:
        self._arguments = [*arguments, *(("--requirepass", password) if password else ())]
        self._password = password

    def __enter__(self) -> RedisServer:
        self._directory = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()

    @property
    def socket_path(self) -> str:
        """Its Unix socket."""
        return str(Path(self._directory.name, "redis.sock"))

    def client(self) -> redis.Redis:
        """A client of the test's own, to look at what is really there."""
        return redis.Redis(port=self.port, password=self._password)

    def start(self) -> None:
        """Start it, again on the same port, with nothing in it; returns when it answers."""
        command = [find(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--unixsocket", self.socket_path, "--dir", self._directory.name, *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        guard = time.monotonic() + _READY_SECONDS
        while not self._answers():
            assert time.monotonic() < guard, "redis-server did not start"
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.01)  # polled until it answers, or the guard

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        self._process.kill()
        self._process.wait()

    def halt(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again, also what it was asked meanwhile."""
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False
