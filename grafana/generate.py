"""Writes the dashboards and the rules: `python grafana/generate.py`. With `--check` it only says what would change."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

# The SDK prefers Grafana's newer format, which Grafana before 12 cannot read.
warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)

from dotflow_stack.files import generated  # noqa: E402 - it is the import that warns

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Write what has changed, or with `--check` name it; the exit status is then 1 if anything has."""
    changed = [name for name, text in generated().items() if _read(ROOT / name) != text]
    for name in changed:
        print(name)
        if "--check" not in sys.argv:
            (ROOT / name).write_text(generated()[name], encoding="utf-8")
    return int("--check" in sys.argv and bool(changed))


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
