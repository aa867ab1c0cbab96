"""Everything that is generated, by the path under which it is committed."""

from __future__ import annotations

from dotflow_stack.board import written
from dotflow_stack.overview import overview
from dotflow_stack.pace import DEMO, PRODUCTION
from dotflow_stack.rule_file import rule_file
from dotflow_stack.traces import traces
from dotflow_stack.workflow import workflow

__all__ = ["generated"]


def generated() -> dict[str, str]:
    """Text by path, relative to the top of the repository."""
    return {
        "grafana/dashboards/overview.json": written(overview()),
        "grafana/dashboards/workflow.json": written(workflow()),
        "grafana/dashboards/traces.json": written(traces()),
        "stack/prometheus/rules/dotflow.yml": rule_file(PRODUCTION),
        "stack/prometheus/rules-demo/dotflow.yml": rule_file(DEMO),
    }
