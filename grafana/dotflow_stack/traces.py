"""dotflow / Traces: the latest traces of a workflow, and rate, errors and duration of its spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table

from dotflow.names import spans
from dotflow_stack import variables
from dotflow_stack.board import SHARED, board, link, row
from dotflow_stack.jaeger import JAEGER, Search, Trace, search_url
from dotflow_stack.panels import durations, lines, query, sized
from dotflow_stack.promql import RATE
from dotflow_stack.variables import CALLS, WORKFLOW_OF_SPAN

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dotflow_stack.board import Row

__all__ = ["traces"]

# The Collector's histogram of spans; the unit is set in its configuration.
_DURATION = "traces_span_metrics_duration_seconds_bucket"
_SCOPE = f'service_name="$service", {WORKFLOW_OF_SPAN}="$workflow"'
_OPERATION = spans.WORKFLOW_SPAN.format(name="$workflow")
# Not error=true: what Jaeger makes of that depends on its storage. This is an attribute like any other.
_FAILED = f"{spans.RESULT}=failure"


def traces() -> Dashboard:
    """The dashboard."""
    return board(
        "dotflow-traces",
        "Traces",
        "The latest runs of a workflow as traces, those that failed, and its spans by name.",
        [
            variables.data_source(),
            variables.jaeger(),
            variables.job(),
            variables.instance(),
            variables.workflow(all_of_them=False),
            variables.service(hidden=False),
            variables.trace_id(),
        ],
        [_latest(), _spans(), _one()],
        [
            link("Its metrics", f"/d/dotflow-workflow?{SHARED}&${{workflow:queryparam}}"),
            link("Search in Jaeger", search_url(), new_tab=True),
        ],
    )


def _latest() -> Row:
    return row(
        "Runs",
        _found("Latest runs", "The 20 latest runs. A click on a trace id opens it.", ""),
        _found("Latest failed runs", "The 20 latest runs that failed.", _FAILED),
    )


def _spans() -> Row:
    errors = f'{CALLS}{{{_SCOPE}, status_code="STATUS_CODE_ERROR"}}'
    panels = [
        lines(
            "Spans a second",
            "By name: the run, its tasks and their attempts.",
            "ops",
            query(f"sum by (span_name) (rate({CALLS}{{{_SCOPE}}}[{RATE}]))", "{{span_name}}"),
        ),
        lines(
            "Errors a second",
            "Spans with the status error. A failed attempt that a retry has cured counts; its task does not.",
            "ops",
            query(f"sum by (span_name) (rate({errors}[{RATE}]))", "{{span_name}}"),
        ),
        durations(
            "Span duration, p95",
            "A diamond leads to a trace with such a span.",
            query(
                f"histogram_quantile(0.95, sum by (span_name, le) (rate({_DURATION}{{{_SCOPE}}}[{RATE}])))",
                "{{span_name}}",
                exemplars=True,
            ),
        ),
    ]
    return row("Spans", *(sized(panel, 8, 8) for panel in panels))


def _one() -> Row:
    viewer = (
        build.Panel()
        .type("traces")
        .title("One trace")
        .description("The trace whose id stands above: a run's id, from a log line, an exemplar or an alert.")
        .datasource(JAEGER)
        .with_target(Trace("$trace"))
    )
    return row("One trace", viewer.span(24).height(16))


def _found(title: str, description: str, tags: str) -> table.Panel:
    panel = table.Panel().title(title).description(description).datasource(JAEGER).unit("short")
    return sized(panel.with_target(Search(_OPERATION, tags)), 12, 10)
