"""A run as a text that a person reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from dotflow.model.status import TypeResult, TypeStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.model.task import Task

__all__ = ["render", "seconds"]

_SIGNS = {"ok": "✓", "bad": "✗", "none": "·", "other": "…", "branch": "├─", "last": "└─", "down": "│ ", "micro": "µ"}
_ASCII = {"ok": "+", "bad": "x", "none": ".", "other": "~", "branch": "|-", "last": "`-", "down": "| ", "micro": "u"}
_MARKS = {TypeStatus.COMPLETED: "ok", TypeStatus.FAILED: "bad", TypeStatus.NOT_STARTED: "none"}
_MINUTE, _HOUR = 60, 3600


class Run(Protocol):
    """What is shown of a run."""

    workflow_name: str
    status: TypeStatus
    result: TypeResult | None
    duration: float | None

    @property
    def tasks(self) -> Sequence[Task]:
        """Its tasks, in the order they were added."""

    @property
    def trace_id(self) -> str:
        """The id of its trace."""


def render(run: Run) -> str:
    """The tasks of a run with status, duration and failed attempts, under a line that tells how the run went."""
    signs = _signs()
    width = max((len(task.task_id) for task in run.tasks), default=0)
    lines = [f"workflow {run.workflow_name}  {run.status.value.lower()}{_how(run)}"]
    for number, task in enumerate(run.tasks, 1):
        last = number == len(run.tasks)
        mark = signs[_MARKS.get(task.status, "other")]
        lines.append(f"{signs['last' if last else 'branch']} {mark} {task.task_id:<{width}}  {_outcome(task)}")
        lines += [f"{'  ' if last else signs['down']}    {text}" for text in _errors(task)]
    lines.append(f"trace {run.trace_id}")
    return "\n".join(lines)


def _signs() -> dict[str, str]:
    """Lines and ticks, or plain ASCII where standard output could not write them: a report must never fail a program."""
    try:
        "".join(_SIGNS.values()).encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _SIGNS


def seconds(duration: float | None) -> str:
    """A duration as a person writes it: `420 µs`, `12.3 ms`, `4.56 s`, `2 min 5 s`, `1 h 2 min`."""
    if duration is None:
        return "-"
    for limit, factor, unit in ((0.001, 1e6, f"{_signs()['micro']}s"), (1, 1e3, "ms"), (_MINUTE, 1, "s")):
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


def _outcome(task: Task) -> str:
    if task.result is TypeResult.RESTORED:
        return f"{'restored':>11}"
    if task.started_ns is None:
        return f"{'not started':>11}"
    attempts = f"  {task.attempt} attempts" if task.attempt > 1 else ""
    recorded = "".join(f"  {name}={value:,.12g}" for name, value in task.recorded.items())
    return f"{seconds(task.duration):>11}{attempts}{recorded}"


def _errors(task: Task) -> list[str]:
    return [f"attempt {e.attempt}: {e.exception}: {_first_line(e.message)}".rstrip(": ") for e in task.errors]


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
