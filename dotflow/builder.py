"""`workflow.task`: the list of tasks, as the user builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dotflow.errors import InvalidOption
from dotflow.model.step import Step
from dotflow.model.task import Task
from dotflow.model.text import is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.model.run import Run

__all__ = ["TaskBuilder"]


class TaskBuilder:
    """The tasks of a workflow, in the order they run. Iterating gives them as entries that have not run."""

    def __init__(self, describe: Callable[[], dict[str, Any]], added: Callable[[list[str]], None]) -> None:
        self._tasks: list[Task] = []
        self._ids: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._describe = describe
        self._added = added
        self.latest: Run | None = None

    def add(
        self,
        step: Any,
        *,
        initial_context: Any = None,
        callback: Callable[..., Any] | None = None,
        group_name: str = "default",
        name: str | None = None,
    ) -> TaskBuilder:
        """Add a step, or each of a list of steps; all of them or, if one is wrong, none.

        Args:
            step: what `@action` marked, its dotted path (`package.module:step`), or a list of these.
            initial_context: the value that the step gets as `initial_context.storage`.
            callback: called as `callback(task=...)` after the task, in the coordinator.
            group_name: tasks of one group run in order; groups run side by side.
            name: default: the step's own name. It is a metric label: one of few, never an id.

        Raises:
            MissingActionDecorator: the step was not marked.
            StepSignatureError: it asks for parameters that dotflow does not supply.
            ImportModuleError: a dotted path leads nowhere.
            InvalidOption: a callback that cannot be called, a name that is no text.
        """
        if callback is not None and not callable(callback):
            raise InvalidOption(f"callback={callback!r}: it is called as callback(task=...), this cannot be")
        _check_text("group_name", group_name)
        if name is not None:
            _check_text("name", name)
        steps = [Step.of(each) for each in step] if isinstance(step, (list, tuple)) else [Step.of(step)]
        for each in steps:
            self._append(each, initial_context, callback, group_name, name)
        self._added([name or each.name for each in steps])
        return self

    def count(self) -> int:
        """How many tasks there are."""
        return len(self._tasks)

    def clear(self) -> TaskBuilder:
        """Remove all tasks."""
        self._tasks.clear()
        self._ids.clear()
        self._repeats.clear()
        return self

    def reverse(self) -> TaskBuilder:
        """Turn the order around. Tasks keep their ids."""
        self._tasks.reverse()
        return self

    def schema(self) -> dict[str, Any]:
        """The workflow as plain data: its name and id, and of each task the step and its options. No values."""
        return {**self._describe(), "tasks": [_schema_of(task) for task in self._tasks]}

    def result(self) -> dict[str, Any]:
        """The latest run as plain data: of each task status, duration (s), errors and its value; empty before a run."""
        run = self.latest
        if run is None:
            return {}
        return {
            **self._describe(),
            "run_id": run.run_id,
            "trace_id": run.trace_id,
            "status": run.status.value,
            "duration": run.duration,
            "tasks": [_result_of(task) for task in run.tasks],
        }

    def _append(
        self, step: Step, initial: Any, callback: Callable[..., Any] | None, group_name: str, name: str | None
    ) -> None:
        chosen = name or step.name
        task = Task(
            step,
            initial_context=initial,
            callback=callback,
            group_name=group_name,
            name=chosen,
            task_id=self._unique(chosen),
        )
        self._tasks.append(task)

    def _unique(self, name: str) -> str:
        """The name, or the name with the first free number behind it: the same at every start of the program."""
        candidate, number = name, self._repeats.get(name, 1)
        while candidate in self._ids:
            number += 1
            candidate = f"{name}-{number}"
        self._ids.add(candidate)
        self._repeats[name] = number
        return candidate

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _check_text(field: str, value: object) -> None:
    if not is_text(value):
        raise InvalidOption(f"{field}={value!r}: a non-empty text that UTF-8 can hold")


def _schema_of(task: Task) -> dict[str, Any]:
    options = task.spec.options
    return {
        "task_id": task.task_id,
        "name": task.name,
        "group_name": task.group_name,
        "step": task.spec.function_name,
        "retry": options.retry,
        "retry_delay": options.retry_delay,
        "backoff": options.backoff,
        "timeout": options.timeout,
    }


def _result_of(task: Task) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "name": task.name,
        "group_name": task.group_name,
        "status": task.status.value,
        "attempt": task.attempt,
        "retry_count": task.retry_count,
        "duration": task.duration,
        "recorded": dict(task.recorded),
        "errors": [
            {"attempt": e.attempt, "exception": e.exception, "message": e.message, "traceback": e.traceback}
            for e in task.errors
        ],
        "current_context": task.current_context.storage,
    }
