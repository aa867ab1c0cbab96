"""The checkpoints of a run: written as its tasks end, read when a later run continues it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dotflow.abc.hooks import overridden
from dotflow.errors import InputChanged, SerializationError, StorageError, StorageUnavailable
from dotflow.model.context import Context, from_ns
from dotflow.model.task import SpanContext
from dotflow.names import logs

if TYPE_CHECKING:
    from dotflow.abc import Storage
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["Checkpoints", "Fingerprint"]

_logger = logging.getLogger(logs.LOGGER)

Fingerprint = Callable[[Any], str]
"""From an initial value to a text that is the same exactly when the value is."""


class Checkpoints:
    """What a run keeps of its tasks, and what it takes over from the run that it continues.

    A storage that keeps records of runs (`Storage.post_run`) knows which checkpoints belong together: those of the first
    run and of all that continued it have its id as their `origin`. What is of another run is not taken. The record also has
    fingerprints of the initial contexts. With a storage that keeps no records, every checkpoint that is found is taken, and
    where it forgets the origin, every one that is not older than the first run, by the clocks.
    """

    def __init__(self, storage: Storage, run: Run, fingerprint: Fingerprint | None = None) -> None:
        self._storage = storage
        self._post, self._key = storage.post, storage.key
        self._run = run
        self._fingerprint = fingerprint or _fingerprint
        self.resumes = False
        """Whether there may be results to take over."""
        self._began_ns: int | None = None
        self.origin = run.run_id
        """The first of the runs that this one continues, or itself."""

    def resume(self, on_input_change: str) -> None:
        """Continue the latest run of this workflow, if there is one.

        Raises:
            InputChanged: `on_input_change` is `raise`, and initial contexts differ from those of that run.
            StorageError: the record of that run is torn or corrupt.
        """
        self.resumes = self._run.resumes = True
        record = self._storage.get_run(self._run.workflow_id).storage
        if not isinstance(record, dict):
            return
        changed = self._changed(record["inputs"])
        if changed and on_input_change == "raise":
            raise InputChanged(
                f"the initial context of {', '.join(changed)} differs from that of run {record['run_id']}; "
                "use on_input_change='reuse' to continue all the same, or 'reset' to run everything again"
            )
        if on_input_change == "reuse":
            self._tell_of_reuse([task_id for task_id in changed if task_id in record["inputs"]], record["run_id"])
        self.resumes = self._run.resumes = not changed or on_input_change == "reuse"
        if self.resumes:
            self._began_ns, self.origin = record["began_ns"], record.get("origin") or record["run_id"]
            self._run.continues = SpanContext(record["trace_id"], record["span_id"], sampled=record["sampled"])

    def _tell_of_reuse(self, changed: list[str], run_id: str) -> None:
        found = [task.task_id for task in self._run.tasks if task.task_id in changed]
        if found:
            _logger.warning(
                "the initial context of %s differs from that of run %s, whose results are reused all the same"
                " (on_input_change='reuse')",
                ", ".join(found),
                run_id,
            )

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
            "inputs": {task.task_id: self._fingerprint(task.initial_context.storage) for task in run.tasks},
        }
        self._storage.post_run(run.workflow_id, Context(record, workflow_id=run.workflow_id, time=run.started_ns))

    def find(self, task: Task) -> Context | None:
        """The context that the task produced in the run that is continued, or None if it has to run.

        Raises:
            OSError: the storage does not answer. To run the task again might be to run twice what has ended well.
        """
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
        return None if context.is_empty or not self._is_of_this(context, task) else context

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
        now = {task.task_id: self._fingerprint(task.initial_context.storage) for task in self._run.tasks}
        return [task_id for task_id in {**inputs, **now} if inputs.get(task_id) != now.get(task_id)]


def _fingerprint(value: object) -> str:
    """SHA-256 over the value as exact JSON, else as a pickle; of a value that is neither, its type."""
    import hashlib  # here, because few storages keep what this is for
    import pickle

    from dotflow.toolkit import codec

    try:
        data = codec.encode(value)
    except (SerializationError, StorageError):
        try:
            data = pickle.dumps(value)
        except Exception:  # noqa: BLE001 - pickling runs the value's own code
            return f"a {type(value).__module__}.{type(value).__qualname__} that cannot be compared"
    return hashlib.sha256(data).hexdigest()
