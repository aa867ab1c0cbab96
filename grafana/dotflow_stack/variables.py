"""The variables at the top of a dashboard."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import VariableHide, VariableOption, VariableRefresh, VariableSort

from dotflow.names import metrics as names
from dotflow.names import spans
from dotflow_stack.promql import SCOPE, WORKFLOW, total

__all__ = ["CALLS", "PROMETHEUS", "data_source", "instance", "jaeger", "job", "service", "task", "trace_id", "workflow"]

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

# What the Collector makes of spans; its label for a span's attribute is the attribute's name without dots.
CALLS: Final = "traces_span_metrics_calls_total"
WORKFLOW_OF_SPAN: Final = spans.WORKFLOW_NAME.replace(".", "_")

_KNOWN = total(names.WORKFLOW_STARTED)
_ALL = VariableOption(text="All", value="$__all", selected=True)


def data_source() -> build.DatasourceVariable:
    """Which Prometheus."""
    return _source("datasource", "Metrics", "prometheus", "Prometheus")


def jaeger() -> build.DatasourceVariable:
    """Which Jaeger."""
    return _source("jaeger", "Traces", "jaeger", "Jaeger")


def job() -> build.QueryVariable:
    """The programs, by the job that Prometheus scrapes them under, or by service.name if they push."""
    return _any_of("job", "Job", f"label_values({_KNOWN}, job)")


def instance() -> build.QueryVariable:
    """The processes."""
    # What a Pushgateway holds has no instance, so all of them are `.*` and not `.+`.
    return _any_of("instance", "Instance", f'label_values({_KNOWN}{{job=~"$job"}}, instance)').all_value(".*")


def workflow(*, all_of_them: bool) -> build.QueryVariable:
    """The workflows; one of them, or any number."""
    query = f"label_values({_KNOWN}{{{SCOPE}}}, workflow)"
    return _any_of("workflow", "Workflow", query) if all_of_them else _one_of("workflow", "Workflow", query)


def task() -> build.QueryVariable:
    """The tasks of the workflow."""
    return _any_of("task", "Task", f"label_values({total(names.TASK_STARTED)}{{{SCOPE}, {WORKFLOW}}}, task)")


def service(*, hidden: bool) -> build.QueryVariable:
    """The service.name under which the traces of the workflow are found."""
    query = f'label_values({CALLS}{{{WORKFLOW_OF_SPAN}="$workflow"}}, service_name)'
    variable = _one_of("service", "Service", query)
    return variable.hide(VariableHide.HIDE_VARIABLE) if hidden else variable


def trace_id() -> build.TextBoxVariable:
    """A trace id that somebody pastes: a run id, from a log line or an alert."""
    return (
        build.TextBoxVariable("trace")
        .label("Trace or run id")
        .default_value("")
        .current(VariableOption(text="", value="", selected=True))
    )


def _source(name: str, label: str, kind: str, first: str) -> build.DatasourceVariable:
    option = VariableOption(text=first, value=kind, selected=True)
    return build.DatasourceVariable(name).label(label).type(kind).current(option)


def _any_of(name: str, label: str, query: str) -> build.QueryVariable:
    return _one_of(name, label, query).multi(True).include_all(True).all_value(".+").current(_ALL)


def _one_of(name: str, label: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": name})
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
