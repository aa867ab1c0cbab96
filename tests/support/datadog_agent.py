"""The real `ddapm-test-agent` on free ports of the loopback, started by the tests and stopped by them.

It pins libraries that conflict with ours, so it lives in a virtual environment of its own, in a cache outside the tree,
which is made once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cached import folder, made_once
from support.ports import free_ports

VERSION = "1.69.1"
_CHECKS = "trace_count_header,meta_tracer_version_header,trace_content_length,trace_stall,trace_peer_service,meta_events_is_valid_json"
_READY_SECONDS = 60


def find() -> Path:
    """The program, installed if need be.

    Raises:
        RuntimeError: it could not be installed; says why.
    """
    home = folder() / f"ddapm-test-agent-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    complete = home / "complete"
    # An environment whose interpreter is gone has its programs, and none of them starts.
    if not (home / "bin" / "python").exists():
        complete.unlink(missing_ok=True)
    made_once(complete, f"ddapm-test-agent {VERSION}", "half a minute, pip downloads it", lambda: _install(home))
    return home / "bin" / "ddapm-test-agent"


def _install(home: Path) -> None:
    """Make the environment of the interpreter that ours is of, for it outlives ours.

    Before Python 3.11, `venv` called from within a virtual environment links to that environment's own `python`.
    """
    shutil.rmtree(home, ignore_errors=True)
    pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([os.path.realpath(sys.executable), "-m", "venv", home], [*pip, f"ddapm-test-agent=={VERSION}"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ddapm-test-agent could not be installed: {done.stderr.strip()[-300:]}")
    (home / "complete").touch()


@dataclass(frozen=True)
class AgentSpan:
    """A span as the agent has taken it in. Times are nanoseconds since the epoch; `meta` are texts and `metrics` numbers."""

    name: str
    resource: str
    service: str
    type: str | None
    trace_id: int
    span_id: int
    parent_id: int
    start_ns: int
    duration_ns: int
    error: int
    meta: dict[str, str]
    metrics: dict[str, float]

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns


class DatadogAgent:
    """Listens from `with` on, and judges what it gets by its own checks."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def __enter__(self) -> DatadogAgent:
        self._port, otlp_http, otlp_grpc = free_ports(3)
        ports = ["--port", self._port, "--otlp-http-port", otlp_http, "--otlp-grpc-port", otlp_grpc]
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            self._log = Path(directory, "log")
            self._process = subprocess.Popen(
                [self._program, *map(str, ports), "--pool-trace-check-failures", "true"],
                stdout=stack.enter_context(self._log.open("wb")),
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, "ENABLED_CHECKS": _CHECKS},  # the option of this name does not take a list
            )
            stack.callback(self._process.wait)
            stack.callback(self._process.kill)
            self._wait_until_ready()
            self._started = stack.pop_all()  # had it not started, nothing would be left of it
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def trace(self, run_id: str) -> list[AgentSpan]:
        """The spans of a trace, from whatever process they came, in the order they started."""
        low = int(run_id, 16) & (1 << 64) - 1  # the upper half of an id is the tag _dd.p.tid of a payload's first span
        spans = [_span(span) for trace in self._get("/test/session/traces") for span in trace]
        return sorted((s for s in spans if s.trace_id == low), key=lambda span: (span.start_ns, -span.duration_ns))

    def spans(self) -> list[AgentSpan]:
        """All that it got."""
        return [_span(span) for trace in self._get("/test/session/traces") for span in trace]

    def checks(self) -> dict[str, dict[str, int]]:
        """How often each of its checks has passed, failed and been skipped."""
        found: dict[str, dict[str, int]] = self._get("/test/trace_check/summary?return_all=true")
        return found

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._get("/info")
            except OSError:
                time.sleep(0.05)  # polled until it answers, or the deadline
            else:
                return
        raise RuntimeError(f"ddapm-test-agent did not start: {self._log.read_text()[-2000:]}")


def _span(found: dict[str, Any]) -> AgentSpan:
    return AgentSpan(
        name=found["name"],
        resource=found["resource"],
        service=found["service"],
        type=found.get("type"),
        trace_id=found["trace_id"],
        span_id=found["span_id"],
        parent_id=found.get("parent_id") or 0,
        start_ns=found["start"],
        duration_ns=found["duration"],
        error=found.get("error", 0),
        meta=found.get("meta") or {},
        metrics=found.get("metrics") or {},
    )
