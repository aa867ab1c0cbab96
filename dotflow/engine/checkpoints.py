"""The checkpoints of a run: written as its tasks end, read when a later run continues it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dotflow.abc.hooks import overridden
from dotflow.engine.provenance import basis_of, has_new_parent
from dotflow.errors import InputChanged, InvalidOption, StorageError, StorageUnavailable
from dotflow.model.context import Context, Provenance, from_ns
from dotflow.model.fingerprint import fingerprint_of
from dotflow.model.modes import SCHEDULE
from dotflow.model.outcome import end_of_program
from dotflow.model.status import TypeResult
from dotflow.model.task import SpanContext
from dotflow.names import logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dotflow.abc import Storage
    from dotflow.engine.graph import Node
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["Checkpoints", "Fingerprint"]

_logger = logging.getLogger(logs.LOGGER)

Fingerprint = Callable[[Any], str]
"""From an initial value to a text that is the same exactly when the value is."""


class Checkpoints:
    """What a run keeps of its tasks, and what it takes over from the run that it continues.

    A storage that keeps records of runs (`Storage.post_run`) knows which checkpoints belong together: those of the first
    run and of all that continued it have its id as their `origin`. What is of another run is not taken, nor is what was
    made of something else than it would be made of now (`Context.provenance`; see `provenance.basis_of`). With a storage
    that keeps no records, every checkpoint that is found is looked at, and where it forgets the origin, every one that is
    not older than the first run, by the clocks; where it forgets the provenance, a result holds unless a parent ran again.
    """

    def __init__(self, storage: Storage, run: Run, fingerprint: Fingerprint | None = None) -> None:
        self._storage = storage
        self._post, self._key = storage.post, storage.key
        self._run = run
        self._of_value = fingerprint or fingerprint_of
        self._rerun: frozenset[str] = frozenset()
        self._record: dict[str, Any] = {}
        self._reuses = False
        self._tracks = storage.persistent
        self.resumes = False
        """Whether there may be results to take over."""
        self._began_ns: int | None = None
        self.origin = run.run_id
        """The first of the runs that this one continues, or itself."""

    def resume(self, on_input_change: str, rerun: Iterable[str] = ()) -> None:
        """Continue the latest run of this workflow, if there is one; run again what `rerun` names.

        Raises:
            InvalidOption: `rerun` names what is no task.
            InputChanged: `on_input_change` is `raise`, and initial contexts differ from those of that run.
            StorageUnavailable: the storage does not answer.
        """
        self._rerun = frozenset(rerun)
        for name in self._rerun:
            _check_name(name, self._run.tasks)
        self.resumes = self._run.resumes = self._tracks = True
        self._reuses = on_input_change == "reuse"
        try:
            record = self._storage.get_run(self._run.workflow_id).storage
        except StorageUnavailable:
            raise
        except StorageError as error:
            _logger.warning(
                "run %s starts afresh, the record of the run before cannot be used: %s", self._run.run_id, error
            )
            self.resumes = self._run.resumes = False
            return
        if not isinstance(record, dict):
            return
        if self._run.trigger == SCHEDULE and record.get("result") == str(TypeResult.SUCCESS):
            self.resumes = self._run.resumes = False
            return
        changed = self._changed(record["inputs"])
        if changed and on_input_change == "raise":
            raise InputChanged(
                f"the initial context of {', '.join(changed)} differs from that of run {record['run_id']}; use "
                "on_input_change='rerun' to run what depends on it again, 'reuse' to keep its results all the same, or "
                "'reset' to run everything again"
            )
        self.resumes = self._run.resumes = not changed or on_input_change != "reset"
        if self.resumes:
            self._began_ns, self.origin = record["began_ns"], record.get("origin") or record["run_id"]
            self._run.continues = SpanContext(record["trace_id"], record["span_id"], sampled=record["sampled"])

    def open(self) -> None:
        """Write the record of the run, now that it has started and its span is known.

        Raises:
            Exception: whatever the storage raises; it holds the user's data, so the run must not go on.
        """
        if not overridden(self._storage, "post_run"):
            return
        run, span = self._run, self._run.span
        record = {
            "run_id": run.run_id,
            "origin": self.origin,
            "trace_id": run.trace_id,
            "span_id": span.span_id if span else "",
            "sampled": bool(span and span.sampled),
            "began_ns": self._began_ns or run.started_ns,
            "inputs": {task.task_id: self._of_value(task.initial_context.storage) for task in run.tasks},
        }
        self._record = record
        self._post_record()

    def close(self) -> None:
        """Note in the record how the run has ended: a schedule does not continue one that ended well.

        Raises:
            KeyboardInterrupt, SystemExit: whatever else the storage raises is told; all results are kept.
        """
        if not self._record:
            return
        self._record["result"] = str(self._run.result)
        try:
            self._post_record()
        except BaseException as error:
            _logger.warning("the record of run %s does not say how it ended: %s", self._run.run_id, error)
            if end_of_program(error) is not None:
                raise

    def _post_record(self) -> None:
        run = self._run
        self._storage.post_run(run.workflow_id, Context(self._record, workflow_id=run.workflow_id, time=run.started_ns))

    def find(self, node: Node) -> Context | None:
        """The context that the task produced in the run that is continued, or None if it has to run.

        Raises:
            OSError: the storage does not answer. To run the task again might be to run twice what has ended well.
        """
        task = node.task
        if not self.resumes or not task.spec.options.keep:
            return None
        try:
            context = self._storage.get(self._storage.key(task))
        except Exception as error:
            if isinstance(error, StorageUnavailable) or (
                isinstance(error, OSError) and not isinstance(error, StorageError)
            ):
                raise
            _logger.warning("task %s runs again, its checkpoint cannot be used: %s", task.task_id, error)
            return None
        if context.is_empty or not self._is_of_this(context, task):
            return None
        task.reason = self._why_not(node, context)
        return None if task.reason else context

    def _why_not(self, node: Node, context: Context) -> str:
        """Why a result does not hold any more; empty if it does."""
        names = {node.task.task_id, node.task.name, *([node.owner.task.task_id] if node.owner is not None else ())}
        if names & self._rerun:
            return "runs again: asked for"
        run_id = self._run.run_id
        anew = has_new_parent(node)
        if context.provenance is None:
            return "runs again: a parent ran again" if anew else ""
        if context.provenance.basis == basis_of(node, run_id, self._fingerprint):
            return ""
        if self._reuses and (node.owner is None or node.owner.task.wiring.item_key is not None):
            _logger.warning(
                "task %s keeps its result of run %s although its input has changed (on_input_change='reuse')",
                node.task.task_id,
                context.provenance.run_id,
            )
            return ""
        return f"runs again: {'a parent ran again' if anew else 'its input changed'}"

    def provenance(self, node: Node) -> Provenance | None:
        """What is kept with a result beside its value; None where nothing could ever ask for it."""
        if not self._tracks or not node.task.spec.options.keep:
            return None
        return Provenance(self._run.run_id, basis_of(node, self._run.run_id, self._fingerprint))

    def _fingerprint(self, context: Context) -> str:
        return "" if context.storage is None else self._of_value(context.storage)

    def keep(self, task: Task, context: Context) -> None:
        """Write the checkpoint of a task that ended well.

        Raises:
            Exception: whatever the storage raises.
        """
        if task.spec.options.keep:
            self._post(self._key(task), context)

    def _is_of_this(self, context: Context, task: Task) -> bool:
        # Two workflows may have one key: task "b:t" of "a", and task "t" of "a:b".
        if context.workflow_id not in (None, task.workflow_id) or context.task_id not in (None, task.task_id):
            return False
        began = from_ns(self._began_ns)
        if began is None:  # there is no record, so nothing tells them apart
            return True
        if context.origin is not None:
            return context.origin == self.origin
        return context.time is None or context.time >= began

    def _changed(self, inputs: dict[str, str]) -> list[str]:
        now = {task.task_id: self._of_value(task.initial_context.storage) for task in self._run.tasks}
        return [task_id for task_id in {**inputs, **now} if inputs.get(task_id) != now.get(task_id)]


def _check_name(name: str, tasks: Sequence[Task]) -> None:
    known = {text for task in tasks for text in (task.task_id, task.name)}
    mapped = {task.task_id for task in tasks if task.wiring.is_mapped}
    if name in known or (name.endswith("]") and name.partition("[")[0] in mapped):
        return
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InvalidOption(f"rerun={name!r}: no task is called that{hint}")
