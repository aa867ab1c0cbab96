"""An S3 on a free port of the loopback: moto's server in a process of its own, so that tests can halt and kill it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request

from support.ports import free_port

_READY_SECONDS = 60
_PROGRAM = """
import sys
from moto.server import ThreadedMotoServer

ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False).start()
import threading
threading.Event().wait()
"""


class S3Server:
    """Answers from `with` on; has a bucket of the name `dotflow`."""

    key = "AKIAEXAMPLE"
    secret = "a-secret-that-nobody-may-see"
    bucket = "dotflow"

    def __enter__(self) -> S3Server:
        self.port = free_port()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def options(self) -> dict:
        """What s3fs needs to find it."""
        return self.options_at(self.port)

    @classmethod
    def options_at(cls, port: int) -> dict:
        """As `options`, for a server on another port."""
        return {"endpoint_url": f"http://127.0.0.1:{port}", "key": cls.key, "secret": cls.secret}

    def start(self) -> None:
        """Start it, again on the same port, with an empty bucket; returns when it answers."""
        command = [sys.executable, "-c", _PROGRAM, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        guard = time.monotonic() + _READY_SECONDS
        while not self._has_a_bucket():
            assert time.monotonic() < guard, "moto's server did not start"
            assert self._process.poll() is None, "moto's server has ended"
            time.sleep(0.02)  # polled until it answers, or the guard

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        self._process.kill()
        self._process.wait()

    def halt(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def _has_a_bucket(self) -> bool:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{self.bucket}", method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except OSError:
            return False
