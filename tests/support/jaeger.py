"""A real Jaeger on free ports of the loopback, started by the tests and stopped by them.

The program comes from the PATH or from a cache outside the tree; where there is neither but a Go toolchain, it is built
once, which takes some minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.cached import folder, made_once
from support.ports import free_ports

VERSION = "v1.76.0"  # the same program as 2.x: its module path has no /v2, so newer tags do not resolve
_MODULE = f"github.com/jaegertracing/jaeger@{VERSION}"
_READY_SECONDS = 60

_CONFIGURATION = """
service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  pipelines:
    traces: {{receivers: [otlp], processors: [], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: "127.0.0.1:{health}"}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: 10000}}}}}}}}
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{otlp}"}}
      grpc: {{endpoint: "127.0.0.1:{otlp_grpc}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"""


def find() -> Path | None:
    """The program, built if need be; None where there is neither it nor a Go toolchain."""
    on_path = shutil.which("jaeger")
    if on_path:
        return Path(on_path)
    program = folder() / f"jaeger-{VERSION}"
    takes = "some minutes, a Go toolchain downloads its source"
    return made_once(program, f"Jaeger {VERSION}", takes, lambda: _build(program), can=shutil.which("go") is not None)


def _build(target: Path) -> None:
    downloaded = subprocess.run(["go", "mod", "download", "-json", _MODULE], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        # Built as the main module: `go install` refuses a module whose go.mod replaces others.
        source = Path(shutil.copytree(json.loads(downloaded.stdout)["Dir"], Path(scratch, "jaeger")))
        subprocess.run(["chmod", "-R", "u+w", source], check=True)
        part = target.with_suffix(".part")
        subprocess.run(["go", "build", "-buildvcs=false", "-o", part, "./cmd/jaeger"], cwd=source, check=True)
        part.rename(target)


@dataclass(frozen=True)
class StoredSpan:
    """A span as Jaeger gives it back. Times are microseconds since the epoch; `tags` are attributes."""

    name: str
    span_id: str
    parent_id: str
    start_us: int
    duration_us: int
    tags: dict[str, Any]
    events: list[dict[str, Any]]
    links: list[tuple[str, str]]
    service: str
    process: dict[str, Any] = field(repr=False)

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us


class Jaeger:
    """Listens from `with` on, with its storage in memory."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def __enter__(self) -> Jaeger:
        names = ("health", "query", "query_grpc", "otlp", "otlp_grpc")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._directory = tempfile.TemporaryDirectory()
        configuration = Path(self._directory.name, "jaeger.yaml")
        configuration.write_text(_CONFIGURATION.format(**self._ports))
        self._log = Path(self._directory.name, "log").open("wb")
        self._process = subprocess.Popen(
            [self._binary, "--config", configuration], stdout=self._log, stderr=subprocess.STDOUT
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # asked politely it waits for its clients; there is nothing that it could lose
        self._process.wait()
        self._log.close()
        self._directory.cleanup()

    @property
    def endpoint(self) -> str:
        """For OTLP over HTTP."""
        return f"http://127.0.0.1:{self._ports['otlp']}"

    @property
    def grpc_endpoint(self) -> str:
        """For OTLP over gRPC."""
        return f"http://127.0.0.1:{self._ports['otlp_grpc']}"

    def trace(self, trace_id: str) -> list[StoredSpan]:
        """The spans of a trace in the order they started; empty if Jaeger does not know it."""
        try:
            data = self._get(f"/api/traces/{trace_id}")["data"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        return sorted((span for trace in data for span in _spans(trace)), key=lambda span: span.start_us)

    def find(self, service: str, **query: str) -> set[str]:
        """The ids of the traces of a service that a search in the UI would show, for instance by `tags`."""
        text = urllib.parse.urlencode({"service": service, "limit": "1000", "lookback": "1h", **query})
        return {trace["traceID"] for trace in self._get(f"/api/traces?{text}")["data"]}

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['query']}{path}", timeout=30) as answer:
            return json.load(answer)

    def _wait_until_ready(self) -> None:
        url, deadline = f"http://127.0.0.1:{self._ports['health']}/status", time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if json.load(answer)["healthy"]:
                        return
            except OSError:
                time.sleep(0.05)  # polled until it answers, or the deadline
        raise RuntimeError(f"Jaeger did not start: {Path(self._log.name).read_text()[-2000:]}")


def _spans(trace: dict[str, Any]) -> list[StoredSpan]:
    return [
        StoredSpan(
            name=span["operationName"],
            span_id=span["spanID"],
            parent_id=next((r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"), ""),
            start_us=span["startTime"],
            duration_us=span["duration"],
            tags=_values(span["tags"]),
            events=[_values(entry["fields"]) for entry in span["logs"]],
            links=[(r["traceID"], r["spanID"]) for r in span["references"] if r["refType"] == "FOLLOWS_FROM"],
            service=trace["processes"][span["processID"]]["serviceName"],
            process=_values(trace["processes"][span["processID"]]["tags"]),
        )
        for span in trace["spans"]
    ]


def _values(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: pair["value"] for pair in pairs}
