"""Wheels and environments that are made here: no index is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import dotflow


def make_wheel(folder, name, version, files):
    """A wheel with these files: `{path in site-packages: text or bytes}`."""
    about = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*everything, f"{about}/RECORD"])
    wheel = Path(folder, f"{name}-{version}-py3-none-any.whl")
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in {**everything, f"{about}/RECORD": record}.items():
            archive.writestr(path, content)
    return wheel


def wheel_of_dotflow(folder):
    """The package that is being tested, as a wheel of its distribution."""
    package = Path(dotflow.__file__).parent
    files = {str(file.relative_to(package.parent)): file.read_bytes() for file in package.rglob("*.py")}
    return make_wheel(folder, "dotflow_sdk", dotflow.__version__, files)


class Environment:
    """A virtual environment, and what is in it."""

    def __init__(self, folder):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = Path(folder, "bin", "python")
        (self.packages,) = Path(folder).glob("lib/python*/site-packages")

    def pip(self, *arguments):
        """What the pip of the tests says that it has done here."""
        return _run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python, *arguments)

    def install(self, *wheels, options=()):
        self.pip("install", "--no-index", "--no-deps", "--no-compile", *options, *wheels)

    def add_to_path(self, folder):
        """Have a folder at the end of the path, as an editable install has."""
        with (self.packages / "more.pth").open("a") as file:
            file.write(f"{folder}\n")

    def run(self, program, cwd):
        """How a program ended. It is a file, so that a warning has a line to point at."""
        Path(cwd, "program.py").write_text(program)
        return _run(self.python, "program.py", cwd=cwd)


def _run(*command, cwd=None):
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done
