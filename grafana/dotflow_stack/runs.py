"""The panels about runs that more than one dashboard shows: of all workflows, or of the one that is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.names import metrics as names
from dotflow_stack.panels import COUNT, RED_TO_GREEN, SECONDS, number
from dotflow_stack.promql import RANGE, gauge, increase, observed, quantile

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat

__all__ = ["run_duration", "running", "success_ratio"]


def running() -> stat.Panel:
    """How many runs go on."""
    return number("Running", "Runs going on now.", f"sum({gauge(names.WORKFLOW_ACTIVE)})", COUNT)


def success_ratio() -> stat.Panel:
    """The share of the runs that ended well."""
    good = increase(names.WORKFLOW_COMPLETED, window=RANGE)
    return number(
        "Success ratio",
        "Of the runs that ended in the time shown, the share that ended well.",
        f"{good} / {observed(names.WORKFLOW_DURATION, window=RANGE)}",
        "percentunit",
        RED_TO_GREEN,
    )


def run_duration() -> stat.Panel:
    """How long nearly all runs took at most."""
    return number(
        "Run duration, p95",
        "95 % of the runs in the time shown took no longer.",
        quantile(0.95, names.WORKFLOW_DURATION, window=RANGE),
        SECONDS,
    )
