"""The scripts in benchmarks/, as modules to test."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


def script(name: str) -> ModuleType:
    """The script of that name, as a module.

    The scripts import each other by their bare names, as they do when Python starts one in their folder.
    """
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
