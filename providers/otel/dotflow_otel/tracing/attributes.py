"""What stands on the spans: the vocabulary of `dotflow.names.spans`, and what is added to it on request."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, NamedTuple

from dotflow.names import spans as names
from dotflow.toolkit.text import storable

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.status import TypeResult
    from dotflow.model.task import Task

__all__ = ["MOST_LINKS", "Attributes", "Capture"]

Values = dict[str, "str | int | float | tuple[str, ...]"]

_MORE = "…"
MOST_LINKS = 128
"""How many parents a span is linked to, and names; it is what the SDK keeps of a span's links."""


class Capture(NamedTuple):
    """How contexts are put on spans: at most `limit` characters of each, of what `redact(name, value)` returns."""

    limit: int
    redact: Callable[[str, Any], Any] | None = None

    def text(self, name: str, value: Any) -> str:
        """A value as text, cut short at every level, so that a large one costs no more than a small one."""
        if self.redact is not None:
            try:
                value = self.redact(name, value)
            except Exception as error:  # noqa: BLE001 - then nothing of the value may be seen
                return f"<not shown: redact raised {type(error).__name__}>"
        short = reprlib.Repr()
        short.maxstring = short.maxother = short.maxlong = self.limit
        short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = short.maxdeque = 50
        try:
            text = storable(value if isinstance(value, str) and len(value) <= self.limit else short.repr(value))
        except Exception as error:  # noqa: BLE001 - values are the user's; the span must not be lost with one
            text = f"<not shown: its repr raised {type(error).__name__}>"
        return text if len(text) <= self.limit else text[: self.limit - len(_MORE)] + _MORE


class Attributes:
    """Makes the attributes of spans. `cicd` repeats some of them under OpenTelemetry's names for CI/CD pipelines.

    https://opentelemetry.io/docs/specs/semconv/registry/attributes/cicd/
    """

    def __init__(self, *, cicd: bool = False, capture: Capture | None = None) -> None:
        self._cicd = cicd
        self._capture = capture

    def of_run(self, workflow_id: str, name: str, run_id: str, mode: str, trigger: str) -> Values:
        """What is known of a run when it starts."""
        values: Values = {
            names.WORKFLOW_NAME: name,
            names.WORKFLOW_ID: workflow_id,
            names.RUN_ID: run_id,
            names.RUN_MODE: mode,
            names.RUN_TRIGGER: trigger,
        }
        if self._cicd:
            values |= {names.CICD_PIPELINE_NAME: name, names.CICD_RUN_ID: run_id}
        return values

    def of_ended_run(self, result: TypeResult) -> Values:
        """What is known of a run when it has ended."""
        values: Values = {names.RESULT: result.value}
        if self._cicd:
            values[names.CICD_RESULT] = result.value
        return values

    def of_task(self, task: Task) -> Values:
        """What is known of a task, or of an attempt, when it starts."""
        values: Values = {
            names.WORKFLOW_NAME: task.workflow_name,
            names.WORKFLOW_ID: task.workflow_id,
            names.RUN_ID: task.run_id,
            names.TASK_NAME: task.name,
            names.TASK_ID: task.task_id,
            names.TASK_GROUP: task.group_name,
            names.ATTEMPT: task.attempt,
            names.CODE_FUNCTION_NAME: task.spec.function_name,
        }
        if self._cicd:
            values |= {
                names.CICD_PIPELINE_NAME: task.workflow_name,
                names.CICD_RUN_ID: task.run_id,
                names.CICD_TASK_NAME: task.name,
                names.CICD_TASK_RUN_ID: f"{task.run_id}/{task.task_id}",
            }
        return values

    def of_input(self, task: Task) -> Values:
        """The contexts that a task starts with, if they are to be shown."""
        if self._capture is None:
            return {}
        found = {names.INITIAL_CONTEXT: task.initial_context, names.PREVIOUS_CONTEXT: task.previous_context}
        return {
            name: self._capture.text(name, context.storage)
            for name, context in found.items()
            if context.storage is not None
        }

    def of_output(self, task: Task) -> Values:
        """The context that a task ends with, if it is to be shown."""
        if self._capture is None or task.current_context.storage is None:
            return {}
        return {names.CURRENT_CONTEXT: self._capture.text(names.CURRENT_CONTEXT, task.current_context.storage)}

    def of_end(self, task: Task, result: TypeResult) -> Values:
        """What is known of a task, or of an attempt, when it has ended."""
        values: Values = {names.RESULT: result.value}
        if self._cicd:
            values[names.CICD_TASK_RESULT] = result.value
        if task.reason:
            values[names.TASK_REASON] = task.reason
        if task.attempt > 1:
            values[names.ATTEMPT] = task.attempt
        outcome = task.outcome
        if outcome is not None:
            values[names.PROCESS_PID] = outcome.pid
            values[names.HOST_NAME] = outcome.host
            if outcome.recorded:
                values |= {names.RECORDED_PREFIX + name: value for name, value in outcome.recorded.items()}
        return values
