"""The words for how a task or a run stands."""

from __future__ import annotations

from enum import Enum

__all__ = ["TypeResult", "TypeStatus"]


class _Word(str, Enum):
    """A string with a name; prints as its text in every Python version."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(str(self.value), spec)


class TypeStatus(_Word):
    """How a task or a run stands. Each member is its text: `task.status == "Completed"`."""

    NOT_STARTED = "Not started"
    IN_PROGRESS = "In progress"
    COMPLETED = "Completed"
    PAUSED = "Paused"
    RETRY = "Retry"
    FAILED = "Failed"


class TypeResult(_Word):
    """How an attempt, a task or a run ended.

    The words of OpenTelemetry's `cicd.pipeline.result`, and two of our own: `restored` (the result was taken from its
    checkpoint) and `upstream_failed` (not run, because something before it failed).
    https://opentelemetry.io/docs/specs/semconv/registry/attributes/cicd/
    """

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    CANCELLATION = "cancellation"
    SKIP = "skip"
    RESTORED = "restored"
    UPSTREAM_FAILED = "upstream_failed"
