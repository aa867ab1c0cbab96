"""Names of spans and of their attributes.

The `dotflow.*` namespace is dotflow's own, because no generic workflow convention is merged yet
(https://github.com/open-telemetry/semantic-conventions/issues/1688). The rest is OpenTelemetry's:
https://opentelemetry.io/docs/specs/semconv/registry/attributes/
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "dotflow"
SIGNAL: Final = "spans"

WORKFLOW_SPAN: Final = "workflow {name}"
TASK_SPAN: Final = "task {name}"
ATTEMPT_SPAN: Final = "attempt"

WORKFLOW_NAME: Final = "dotflow.workflow.name"
WORKFLOW_ID: Final = "dotflow.workflow.id"
RUN_ID: Final = "dotflow.run.id"
RUN_MODE: Final = "dotflow.run.mode"
RUN_TRIGGER: Final = "dotflow.run.trigger"
TASK_NAME: Final = "dotflow.task.name"
TASK_ID: Final = "dotflow.task.id"
TASK_GROUP: Final = "dotflow.task.group"
TASK_KEY: Final = "dotflow.task.key"
TASK_PARENTS: Final = "dotflow.task.parents"
TASK_REASON: Final = "dotflow.task.reason"
TASK_STATUS: Final = "dotflow.task.status"
ATTEMPT: Final = "dotflow.attempt"
RESULT: Final = "dotflow.result"

ERROR_TYPE: Final = "error.type"
CODE_FUNCTION_NAME: Final = "code.function.name"
PROCESS_PID: Final = "process.pid"
HOST_NAME: Final = "host.name"

# What a step recorded itself: this and the name that it gave.
RECORDED_PREFIX: Final = "dotflow.recorded."

# Only where contexts are captured.
INITIAL_CONTEXT: Final = "dotflow.task.initial_context"
PREVIOUS_CONTEXT: Final = "dotflow.task.previous_context"
CURRENT_CONTEXT: Final = "dotflow.task.current_context"

# Only where they are asked for; a release candidate: https://opentelemetry.io/docs/specs/semconv/registry/attributes/cicd/
CICD_PIPELINE_NAME: Final = "cicd.pipeline.name"
CICD_RUN_ID: Final = "cicd.pipeline.run.id"
CICD_RESULT: Final = "cicd.pipeline.result"
CICD_TASK_NAME: Final = "cicd.pipeline.task.name"
CICD_TASK_RUN_ID: Final = "cicd.pipeline.task.run.id"
CICD_TASK_RESULT: Final = "cicd.pipeline.task.run.result"

EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
