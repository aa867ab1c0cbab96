"""A program that serves on the loopback, started by a test and stopped by it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass

_Found = TypeVar("_Found")


def get(url: str) -> Any:
    """The JSON behind a URL."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def wait_for(
    condition: Callable[[], _Found | None], what: str, why_not: Callable[[], object] | None = None, limit: float = LIMIT
) -> _Found:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: it never is; with what `why_not` says.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)  # polled until it answers, or the deadline
    raise AssertionError(f"{what}: waited in vain; {why_not() if why_not else ''}")


class Service:
    """Runs from `with` on, in a directory of its own, `ready` being the URL that answers 200 once it is up.

    `files` are written into the directory, by their names; the command is run there.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        ready: str,
        *,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._ready = ready
        self._files = files or {}
        self._env = {**os.environ, **(env or {})}

    def __enter__(self) -> Service:
        self._directory = tempfile.TemporaryDirectory()
        for name, text in self._files.items():
            Path(self._directory.name, name).write_text(text)
        self._log = Path(self._directory.name, "log").open("wb")
        self._process = subprocess.Popen(
            self._command, cwd=self._directory.name, env=self._env, stdout=self._log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(self._is_ready, f"{self._command[0]} is ready", lambda: self.log[-2000:])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # there is nothing that it could lose
        self._process.wait()
        self._log.close()
        self._directory.cleanup()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return Path(self._log.name).read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, as a user or Docker would, and wait; returns the exit status."""
        self._process.send_signal(number)
        return self._process.wait(LIMIT)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"{self._command[0]} ended: {self.log[-2000:]}"
        try:
            with urllib.request.urlopen(self._ready, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
