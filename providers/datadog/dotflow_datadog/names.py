"""What Datadog knows spans by: operation names, resources and types; the tags are those of `dotflow.names.spans`.

An operation name says what kind of work it is and is the same for all workflows, a resource says which one:
https://docs.datadoghq.com/tracing/glossary/
"""

from __future__ import annotations

from typing import Final

OPERATION_WORKFLOW: Final = "dotflow.workflow"
OPERATION_TASK: Final = "dotflow.task"
OPERATION_ATTEMPT: Final = "dotflow.attempt"

# The type of the spans that ddtrace itself makes for Celery, RQ and Dramatiq: `ddtrace.ext.SpanTypes.WORKER`.
TYPE: Final = "worker"

# Which integration a span is from: https://docs.datadoghq.com/tracing/trace_collection/tracing_naming_convention/
COMPONENT: Final = "component"
COMPONENT_VALUE: Final = "dotflow"
SPAN_KIND: Final = "span.kind"
SPAN_KIND_VALUE: Final = "internal"

# Has Datadog count and time spans that are not the first of their service, by resource (`trace.dotflow.task.*`):
# https://docs.datadoghq.com/tracing/metrics/metrics_namespace/
MEASURED: Final = "_dd.measured"

# https://docs.datadoghq.com/tracing/error_tracking/
ERROR_TYPE: Final = "error.type"
ERROR_MESSAGE: Final = "error.message"
ERROR_STACK: Final = "error.stack"

# How a sampling decision travels: https://docs.datadoghq.com/tracing/trace_collection/trace_context_propagation/
DECISION_MAKER: Final = "_dd.p.dm"
