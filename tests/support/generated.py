"""What grafana/generate.py makes: dashboards and rules, with the package that makes them importable."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.compose import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

BOARDS = ("overview", "workflow", "traces")


def package() -> Any:
    """The module `dotflow_stack.files`."""
    pytest.importorskip("grafana_foundation_sdk", reason="SKIPPED: no grafana-foundation-sdk (Python 3.11 or newer)")
    if str(ROOT / "grafana") not in sys.path:
        sys.path.append(str(ROOT / "grafana"))
    with warnings.catch_warnings():
        # The SDK prefers Grafana's newer format, which Grafana before 12 cannot read.
        warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
        from dotflow_stack import files
    return files


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as it is committed."""
    return json.loads((ROOT / f"grafana/dashboards/{name}.json").read_text())


@dataclass(frozen=True)
class Panel:
    """A panel, and the dashboard that it stands on."""

    board: str
    row: str
    fields: dict[str, Any]

    @property
    def title(self) -> str:
        return self.fields["title"]

    @property
    def targets(self) -> list[dict[str, Any]]:
        return self.fields["targets"]

    @property
    def unit(self) -> str:
        return self.fields.get("fieldConfig", {}).get("defaults", {}).get("unit", "")

    def __str__(self) -> str:
        return f"{self.board}: {self.title}"


def panels(*boards: str) -> Iterator[Panel]:
    """The panels of dashboards, rows left out."""
    for board in boards or BOARDS:
        row = ""
        for fields in dashboard(board)["panels"]:
            if fields["type"] == "row":
                row = fields["title"]
            else:
                yield Panel(board, row, fields)


def expressions() -> list[tuple[Panel, dict[str, Any]]]:
    """Every query to Prometheus, with its panel."""
    return [(panel, target) for panel in panels() for target in panel.targets if "expr" in target]
