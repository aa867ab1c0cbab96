"""A run as a text that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.status import TypeResult, TypeStatus

if TYPE_CHECKING:
    from dotflow.run import Run
    from dotflow.task import Task

__all__ = ["render", "seconds"]

_MARKS = {TypeStatus.COMPLETED: "✓", TypeStatus.FAILED: "✗", TypeStatus.NOT_STARTED: "·"}
_MINUTE, _HOUR = 60, 3600


def render(run: Run) -> str:
    """The tasks of a run with status, duration and failed attempts, under a line that tells how the run went."""
    width = max((len(task.task_id) for task in run.tasks), default=0)
    lines = [f"workflow {run.workflow_name}  {run.status.value.lower()}{_how(run)}"]
    for number, task in enumerate(run.tasks, 1):
        last = number == len(run.tasks)
        lines.append(f"{'└─' if last else '├─'} {_line(task, width)}")
        lines += [f"{'  ' if last else '│ '}    {text}" for text in _errors(task)]
    lines.append(f"trace {run.trace_id}")
    return "\n".join(lines)


def seconds(duration: float | None) -> str:
    """A duration as a person writes it: `420 µs`, `12.3 ms`, `4.56 s`, `2 min 5 s`, `1 h 2 min`."""
    if duration is None:
        return "-"
    for limit, factor, unit in ((0.001, 1e6, "µs"), (1, 1e3, "ms"), (_MINUTE, 1, "s")):
        if duration < limit:
            return f"{duration * factor:.3g} {unit}"
    minutes, rest = divmod(round(duration), 60)
    if duration < _HOUR:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _how(run: Run) -> str:
    if run.duration is None:
        return ""
    why = f" ({run.result})" if run.result not in (None, TypeResult.SUCCESS, TypeResult.FAILURE) else ""
    return f" in {seconds(run.duration)}{why}"


def _line(task: Task, width: int) -> str:
    mark = _MARKS.get(task.status, "…")
    if task.result is TypeResult.SKIP:
        return f"{mark} {task.task_id:<{width}}  restored"
    if task.started_ns is None:
        return f"{mark} {task.task_id:<{width}}  not started"
    attempts = f"  {task.attempt} attempts" if task.attempt > 1 else ""
    return f"{mark} {task.task_id:<{width}}  {seconds(task.duration):>9}{attempts}"


def _errors(task: Task) -> list[str]:
    return [f"attempt {error.attempt}: {error.exception}: {_first_line(error.message)}" for error in task.errors]


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
