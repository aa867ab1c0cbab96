"""The module of stack/smoke.py, which is a script."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from support.compose import ROOT


def module() -> Any:
    """It, freshly loaded."""
    spec = importlib.util.spec_from_file_location("dotflow_smoke", ROOT / "stack/smoke.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded
