"""The rules as Prometheus reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from dotflow_stack.alerts import GRAFANA, alerts
from dotflow_stack.rules import recordings

if TYPE_CHECKING:
    from dotflow_stack.alerts import Alert
    from dotflow_stack.pace import Pace

__all__ = ["rule_file"]

_HEAD = "# Written by grafana/generate.py from grafana/dotflow_stack: edit those.\n"


def rule_file(pace: Pace) -> str:
    """The text of a rule file: what is recorded, and below it the alerts, at a pace."""
    groups = [
        {
            "name": "dotflow-recordings",
            "interval": pace.interval,
            "rules": [{"record": each.record, "expr": each.expr} for each in recordings(pace)],
        },
        {"name": "dotflow-alerts", "interval": pace.interval, "rules": [_alert(each) for each in alerts(pace)]},
    ]
    return _HEAD + yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "dashboard_url": GRAFANA + alert.dashboard,
            "runbook_url": alert.runbook,
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
