"""A real Prometheus that takes OTLP as well as it scrapes, so that both roads to it can be compared.

Debian 12's is too old for that (the receiver came with 2.47, its flag with 3.0), so the program comes from the PATH if it
is new enough, or from a cache outside the tree; where there is neither but a Go toolchain, it is built once, which takes
some minutes. What it leaves out is service discovery and the pages for people.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.cached import folder, made_once
from support.prometheus_server import Prometheus, scraping

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "v0.315.0"  # of the Go module: this is Prometheus 3.15.0
_MODULE = f"github.com/prometheus/prometheus@{VERSION}"
_FLAG = "--web.enable-otlp-receiver"


def find() -> Path | None:
    """The program, built if need be; None where there is neither it nor a Go toolchain."""
    on_path = shutil.which("prometheus")
    if on_path and _FLAG[2:] in subprocess.run([on_path, "--help"], capture_output=True, text=True, check=False).stdout:
        return Path(on_path)
    program = folder() / f"prometheus-{VERSION}"
    takes = "some minutes, a Go toolchain downloads its source"
    return made_once(
        program, f"Prometheus {VERSION}", takes, lambda: _build(program), can=shutil.which("go") is not None
    )


def _build(target: Path) -> None:
    downloaded = subprocess.run(["go", "mod", "download", "-json", _MODULE], capture_output=True, text=True, check=True)
    part = target.with_suffix(".part")
    build = ["go", "build", "-buildvcs=false", "-tags", "remove_all_sd", "-o", part, "./cmd/prometheus"]
    with tempfile.TemporaryDirectory() as scratch:
        # Built as the main module: `go install` refuses a module whose go.mod replaces others.
        source = Path(shutil.copytree(json.loads(downloaded.stdout)["Dir"], Path(scratch, "prometheus")))
        subprocess.run(["chmod", "-R", "u+w", source], check=True)
        subprocess.run(build, cwd=source, env={**os.environ, "GOWORK": "off"}, check=True)
        part.rename(target)


class OtlpPrometheus(Prometheus):
    """Scrapes these targets, by job, and takes in what is sent to `endpoint`."""

    def __init__(self, binary: Path, targets: Mapping[str, str]) -> None:
        self._binary = binary
        self._configuration = scraping(targets)
        self._flags = (_FLAG,)

    @property
    def endpoint(self) -> str:
        """For OTLP over HTTP."""
        return f"{self.url}/api/v1/otlp"
