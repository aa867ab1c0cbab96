"""A real OpenTelemetry Collector of the release that docker-compose.yml names, with the components that it needs.

Found in a cache outside the tree; where it is not there but a Go toolchain is, it is built once, in two minutes or so.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from support.cached import folder, made_once

VERSION = "v0.162.0"
_CORE, _CONTRIB = "go.opentelemetry.io/collector", "github.com/open-telemetry/opentelemetry-collector-contrib"
_MODULES = [
    *(f"{_CORE}/{name}@{VERSION}" for name in ("otelcol", "receiver/otlpreceiver", "processor/batchprocessor")),
    *(f"{_CORE}/{name}@{VERSION}" for name in ("processor/memorylimiterprocessor", "exporter/nopexporter")),
    *(f"{_CORE}/{name}@{VERSION}" for name in ("exporter/otlpexporter", "exporter/otlphttpexporter")),
    *(f"{_CONTRIB}/{name}@{VERSION}" for name in ("connector/spanmetricsconnector", "extension/healthcheckextension")),
    f"{_CONTRIB}/exporter/prometheusexporter@v0.161.0",  # of v0.162.0 not every module proxy has this one
]
_SOURCE = Path(__file__).with_name("otelcol") / "main.go"


def find() -> Path | None:
    """The program, built if need be; None where there is neither it nor a Go toolchain."""
    program = folder() / f"otelcol-{VERSION}"
    takes = "two minutes or so, a Go toolchain downloads its source"
    return made_once(
        program, f"a Collector {VERSION}", takes, lambda: _build(program), can=shutil.which("go") is not None
    )


def _build(target: Path) -> None:
    part = target.with_suffix(".part")
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(_SOURCE, scratch)
        for command in (
            ["go", "mod", "init", "dotflow.example/collector"],
            ["go", "get", *_MODULES],
            ["go", "mod", "tidy"],
            ["go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", str(part), "."],
        ):
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(command[:3])}: {done.stderr[-2000:]}"
    part.rename(target)
