"""The environments that the benchmark makes for what it compares: one each, kept in .bench/, filled only once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".bench"
CANDIDATES = Path(__file__).with_name("candidates")
# Nothing of what is compared reports its use to its makers, or writes more than errors.
SILENT = {
    "DAGSTER_DISABLE_TELEMETRY": "true",
    "DBOS__CLOUD": "false",
    "DO_NOT_TRACK": "1",
    "HAMILTON_TELEMETRY_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
PROGRAM_SECONDS = 300


class Failed(Exception):
    """An installation or a program ended badly; the text is its last line."""


class Environment(NamedTuple):
    """A place where one thing is installed, and what that took."""

    folder: Path
    package: str
    version: str
    megabytes: float

    def run(self, *command: str) -> str:
        """What Python prints there. Failed with its last line if it ends badly or takes too long."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        paths = f"{CANDIDATES}{os.pathsep}{CANDIDATES.parent}"
        here = {"HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PYTHONPATH": paths}
        return _run([str(_python(self.folder)), *command], home, {**kept, **SILENT, **here})


def environment(name: str, requirement: str) -> Environment:
    """The environment for that requirement: as it was left by an earlier benchmark, or a new one."""
    package = re.split(r"[=\[]", requirement)[0]
    folder = CACHE / name
    if _stamp(folder) != [requirement, sys.version]:
        _new(folder, requirement)
        _write_stamp(folder, [requirement, sys.version])
    return _described(folder, package)


def our_environment(name: str, extras: str, wheel: Path) -> Environment:
    """The environment with this tree's wheel, renewed every time; its dependencies only if they have changed."""
    folder = CACHE / name
    stamp = [_needs(wheel), extras, sys.version]
    if _stamp(folder) != stamp:
        _new(folder, f"{wheel}{extras}")
        _write_stamp(folder, stamp)
    else:
        _pip(folder, "install", "--no-index", "--no-deps", "--force-reinstall", str(wheel))
    return _described(folder, wheel.name.split("-")[0].replace("_", "-"))


def our_wheel() -> Path:
    """The wheel of this tree, built anew with tools that are downloaded once."""
    tools, made = environment("build", "hatchling==1.28.0").folder, CACHE / "build" / "wheels"
    shutil.rmtree(made, ignore_errors=True)
    _pip(tools, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(made), str(ROOT))
    return next(made.glob("*.whl"))


def _needs(wheel: Path) -> list[str]:
    """What the wheel says that it depends on."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        lines = files.read(name).decode("utf-8").splitlines()
    return sorted(line for line in lines if line.startswith("Requires-Dist:"))


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _new(folder: Path, requirement: str) -> None:
    print(f"installing {Path(requirement).name} in {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
    venv.EnvBuilder(clear=True, symlinks=True).create(folder)
    _pip(folder, "install", requirement)


def _pip(folder: Path, *arguments: str) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--python", str(_python(folder))]
    _run([sys.executable, "-m", "pip", *options, *arguments], CACHE, dict(os.environ))


def _stamp(folder: Path) -> object:
    path = folder / "bench.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _write_stamp(folder: Path, stamp: object) -> None:
    (folder / "bench.json").write_text(json.dumps(stamp), encoding="utf-8")


def _described(folder: Path, package: str) -> Environment:
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    said = _run([str(_python(folder)), "-c", VERSION, package], folder, dict(os.environ))
    # Compiled files are left out: how many there are depends on what has run.
    sizes = (path.stat().st_size for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return Environment(folder, package, said.strip(), sum(sizes) / 1e6)


VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What the command prints; it and all that it started are ended if it takes too long."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(  # noqa: S603 - the commands are all written down here
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise Failed(f"took longer than {PROGRAM_SECONDS} s") from None
    if process.returncode:
        last = [line for line in err.splitlines() if line.strip()][-1:] or [f"exit code {process.returncode}"]
        raise Failed(last[0].strip())
    return out
