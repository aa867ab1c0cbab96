"""What the panels of a dashboard would show: their queries as Grafana would send them, asked of the real services."""

from __future__ import annotations

import math
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.generated import Panel
    from support.live_stack import LiveStack
    from support.prometheus_server import Sample, StoredExemplar

__all__ = ["Chosen", "exemplars", "samples", "traces", "variable"]

_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Chosen:
    """What somebody has chosen at the top of a dashboard, and how long a time it shows."""

    workflow: str
    service: str = "dotflow-demo"
    trace: str = ""
    seconds: int = 60

    def put_into(self, text: str, *, all_workflows: bool) -> str:
        """A query with Grafana's variables replaced, as Grafana replaces them; "All" is `.+`, of instances `.*`."""
        values = {
            "$__rate_interval": "20s",
            "$__range": f"{self.seconds}s",
            "$job": ".+",
            "$instance": ".*",
            "$task": ".+",
            "$workflow": ".+" if all_workflows else self.workflow,
            "$service": self.service,
            "$trace": self.trace,
        }
        for name, value in values.items():
            text = text.replace(name, value)
        assert "$" not in text, text
        return text

    def query(self, panel: Panel, target: dict[str, Any]) -> str:
        """The PromQL of a target."""
        return self.put_into(target["expr"], all_workflows=panel.board == "overview")


def samples(stack: LiveStack, chosen: Chosen, panel: Panel, target: dict[str, Any]) -> list[Sample]:
    """What a target shows at its right end, values that are none left out."""
    found = stack.prometheus.query(chosen.query(panel, target))
    return [sample for sample in found if math.isfinite(sample.value)]


def exemplars(
    stack: LiveStack, chosen: Chosen, panel: Panel, target: dict[str, Any], end: float
) -> list[StoredExemplar]:
    """The diamonds over a target."""
    return stack.prometheus.exemplars(chosen.query(panel, target), end - chosen.seconds, end)


def traces(stack: LiveStack, chosen: Chosen, panel: Panel, target: dict[str, Any]) -> list[dict[str, Any]]:
    """The traces that a query to Jaeger finds, as Grafana's data source asks for them."""
    if "query" in target:
        return [stack.jaeger.trace(chosen.put_into(target["query"], all_workflows=False))]
    search = {name: chosen.put_into(target[name], all_workflows=False) for name in ("service", "operation")}
    if target["tags"]:
        search["tags"] = str(dict(pair.split("=") for pair in target["tags"].split())).replace("'", '"')
    quoted = {name: urllib.parse.quote(value) for name, value in search.items()}
    return stack.jaeger.traces(**quoted, limit=target["limit"], lookback="1h")


def variable(stack: LiveStack, chosen: Chosen, definition: str) -> list[str]:
    """The values that a variable offers: Grafana's `label_values`, over Prometheus' API of series."""
    found = _LABEL_VALUES.fullmatch(chosen.put_into(definition, all_workflows=False))
    assert found, definition
    matched = {"match[]": found["series"]}
    return stack.prometheus.api(f"label/{found['label']}/values", **matched)
