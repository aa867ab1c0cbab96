"""The record of a run or of a task: how it went, without the values and the steps, so that it can be kept and sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dotflow.model.context import Context
from dotflow.model.run import Run
from dotflow.model.step import Call
from dotflow.model.wiring import UNWIRED, Wiring

if TYPE_CHECKING:
    from dotflow.model.step import Step
    from dotflow.model.task import Task

__all__ = ["record_of_run", "record_of_task"]


def record_of_run(run: Run, *, with_tasks: bool = True) -> Run:
    """The run as it is now. What happens to it later is not seen."""
    record = Run(
        run_id=run.run_id,
        workflow_id=run.workflow_id,
        workflow_name=run.workflow_name,
        mode=run.mode,
        trigger=run.trigger,
        tasks=[record_of_task(task) for task in run.tasks] if with_tasks else [],
    )
    for name in _KEPT:
        setattr(record, name, getattr(run, name))
    record.provider_errors, record.dropped = dict(run.provider_errors), dict(run.dropped)
    record.ended.set()
    return record


def record_of_task(task: Task) -> Task:
    """The task as it is now, with its items and its parents."""
    record = _shallow(task)
    if task.items is not None:
        record.items = [_shallow(item, of=record) for item in task.items]
    elif task.item_of is not None:
        record.item_of = _shallow(task.item_of)
    record.parents = tuple([_shallow(parent) for parent in task.parents])
    return record


_KEPT = (*("status", "result", "span", "continues", "resumes", "now_ns", "started_ns", "finished_ns", "duration"),)


def _shallow(task: Task, of: Task | None = None) -> Task:
    """Without items and parents, which have others in turn."""
    record = task.snapshot()
    record.spec = _without_code(task.spec)
    record.wiring = (
        Wiring(key=task.wiring.key, each=task.wiring.each, when=task.wiring.when) if _is_wired(task) else UNWIRED
    )
    record.callback = None
    record.parents, record.items, record.item_of = (), None, of
    record._initial_context = Context()  # noqa: SLF001 - of our own making
    record._previous_context = record._current_context = None  # noqa: SLF001
    record.span, record._innermost_span = task.span, task.innermost_span  # noqa: SLF001
    record.span_carrier, record.carrier = {}, {}
    if task.outcome is not None:
        record.outcome = replace(task.outcome, value=None, interrupt=None, provider_errors=(), inner=None)
    return record


def _is_wired(task: Task) -> bool:
    return task.wiring is not UNWIRED


def _without_code(step: Step) -> Step:
    """What a step is called and how it is to be run, without anything that could be."""
    return replace(step, source=_not_here, call=_NO_CALL, methods=(), parameters=(), returns=None)


def _not_here(*_: Any, **__: Any) -> None:
    """Stands for the step in a record, which has no code.

    Raises:
        TypeError: always.
    """
    raise TypeError("this task is a record of one that has run: it has no step to be called")


_NO_CALL = Call(_not_here, wants_initial=False, wants_previous=False)
