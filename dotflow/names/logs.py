"""Names of log events and of their fields."""

from __future__ import annotations

from typing import Final

LOGGER: Final = "dotflow"

WORKFLOW_STARTED: Final = "workflow.started"
WORKFLOW_COMPLETED: Final = "workflow.completed"
WORKFLOW_FAILED: Final = "workflow.failed"
TASK_STARTED: Final = "task.started"
TASK_RETRYING: Final = "task.retrying"
TASK_COMPLETED: Final = "task.completed"
TASK_FAILED: Final = "task.failed"
TASK_RESTORED: Final = "task.restored"
TASK_SKIPPED: Final = "task.skipped"

TIMESTAMP: Final = "timestamp"
LEVEL: Final = "level"
EVENT: Final = "event"
LOGGER_NAME: Final = "logger"
WORKFLOW: Final = "workflow"
WORKFLOW_ID: Final = "workflow_id"
RUN_ID: Final = "run_id"
TASK: Final = "task"
TASK_ID: Final = "task_id"
ATTEMPT: Final = "attempt"
STATUS: Final = "status"
DURATION: Final = "duration"
RETRY_IN: Final = "retry_in"
RESULT: Final = "result"
REASON: Final = "reason"
RECORDED: Final = "recorded"
ERROR_TYPE: Final = "error_type"
ERROR: Final = "error"
TRACEBACK: Final = "traceback"
TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"
