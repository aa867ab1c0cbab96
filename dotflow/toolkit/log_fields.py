"""The fields of a log line, for every Log provider alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.model.status import TypeResult, TypeStatus
from dotflow.model.text import LONGEST_MESSAGE, LONGEST_TRACEBACK, shorten
from dotflow.names import logs

if TYPE_CHECKING:
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["Fields", "fields_of", "ids_of"]

Fields = dict[str, "str | int | float | dict[str, float]"]

_ENDED = (TypeStatus.COMPLETED, TypeStatus.FAILED)
_NOT_DONE = (TypeResult.SKIP, TypeResult.UPSTREAM_FAILED)
_WITH_ERROR = (TypeStatus.FAILED, TypeStatus.RETRY)


def fields_of(task: Task | None = None, run: Run | None = None) -> Fields:
    """The fields that a line about a task or a run carries; those without a value are left out. Never a context value.

    `duration` is seconds. `error` is the message of the latest failed attempt. Of a message of megabytes it
    is the begin and the end, with how many characters are left out between them.
    """
    if task is not None:
        return _task_fields(task)
    return _run_fields(run) if run is not None else {}


def ids_of(task: Task) -> dict[str, str | int]:
    """The fields that the lines of a step itself carry: who wrote them, and in which trace and innermost span."""
    span = task.innermost_span
    ids: dict[str, str | int] = {
        logs.WORKFLOW: task.workflow_name,
        logs.WORKFLOW_ID: task.workflow_id,
        logs.RUN_ID: task.run_id,
        logs.TASK: task.name,
        logs.TASK_ID: task.task_id,
        logs.ATTEMPT: task.attempt,
        logs.TRACE_ID: span.trace_id if span else task.run_id,
    }
    if span:
        ids[logs.SPAN_ID] = span.span_id
    return ids


def _task_fields(task: Task) -> Fields:
    status = task.status
    # The error of an attempt that is retried stands on the attempt's own span.
    span = task.innermost_span if status is TypeStatus.RETRY else task.span
    fields: Fields = {
        logs.WORKFLOW: task.workflow_name,
        logs.WORKFLOW_ID: task.workflow_id,
        logs.RUN_ID: task.run_id,
        logs.TASK: task.name,
        logs.TASK_ID: task.task_id,
        logs.ATTEMPT: task.attempt,
        logs.STATUS: status.value,
        logs.TRACE_ID: span.trace_id if span else task.run_id,
    }
    if span:
        fields[logs.SPAN_ID] = span.span_id
    if task.duration is not None:
        fields[logs.DURATION] = round(task.duration, 6)
    if task.result in _NOT_DONE:
        fields[logs.RESULT] = str(task.result)
    if task.reason:
        fields[logs.REASON] = shorten(task.reason, LONGEST_MESSAGE)
    if status is TypeStatus.RETRY:
        fields[logs.RETRY_IN] = task.retry_in
    if task.recorded and status is not TypeStatus.IN_PROGRESS:
        fields[logs.RECORDED] = dict(task.recorded)
    error = task.error
    if error is not None and status in _WITH_ERROR:
        fields[logs.ERROR_TYPE] = error.exception
        fields[logs.ERROR] = shorten(error.message, LONGEST_MESSAGE)
        fields[logs.TRACEBACK] = shorten(error.traceback, LONGEST_TRACEBACK)
    return fields


def _run_fields(run: Run) -> Fields:
    fields: Fields = {
        logs.WORKFLOW: run.workflow_name,
        logs.WORKFLOW_ID: run.workflow_id,
        logs.RUN_ID: run.run_id,
        logs.STATUS: run.status.value,
        logs.TRACE_ID: run.trace_id,
    }
    if run.span:
        fields[logs.SPAN_ID] = run.span.span_id
    if run.duration is not None:
        fields[logs.DURATION] = round(run.duration, 6)
    return fields
