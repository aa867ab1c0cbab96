"""A run: one execution of a workflow, seen from outside."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from dotflow.errors import RunFailed, RunTimeout
from dotflow.model.clock import SystemClock
from dotflow.model.context import from_ns
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.model.text import LONGEST_MESSAGE, LONGEST_TRACEBACK, shorten

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dotflow.model.modes import Mode
    from dotflow.model.outcome import TaskError
    from dotflow.model.task import SpanContext, Task

__all__ = ["Run"]

_NEWLINE = "\n"
_OF_THIS_PROCESS = (
    "ended",
    "cancelled",
    "on_cancel",
    "cause",
)  # of the exception, which need not pickle, the text goes along
_LONGEST = 65_536  # characters of what is raised for a run, of which thousands of tasks may have failed


class _TaskTraceback(Exception):
    """The traceback of the first task that failed, so that the reader of the other one sees it too."""

    def __init__(self, traceback: str) -> None:
        super().__init__(f"\n{shorten(traceback.rstrip(), LONGEST_TRACEBACK)}")


class Run:
    """One execution of a workflow.

    `run_id` is 32 lower-case hex digits and, unless the run joined its caller's trace, also its `trace_id`. `duration`
    is seconds (monotonic), None until the run has ended. `trigger` is `manual`, `schedule` or `resume`.
    `continues` is the span of the run that a resumed one continues; `resumes` says that it takes over what an earlier one has
    finished. `now_ns` is the time of its latest event, which never goes back. `provider_errors` counts the contained errors of providers, by `(provider, method)`; `dropped` counts the
    telemetry that did not leave in time, by signal.
    `first_error` is of the first task or item that failed, and `cause` a copy of its exception, without a traceback, if there is one.
    """

    def __init__(
        self,
        *,
        run_id: str,
        workflow_id: str,
        workflow_name: str,
        mode: Mode,
        trigger: str,
        tasks: list[Task],
    ) -> None:
        self.run_id = run_id
        self.workflow_id = workflow_id
        self.workflow_name = workflow_name
        self.mode = mode
        self.trigger = trigger
        self.tasks = tasks
        self.status = TypeStatus.NOT_STARTED
        self.result: TypeResult | None = None
        self.span: SpanContext | None = None
        self.continues: SpanContext | None = None
        self.resumes = False
        self.now_ns = 0
        self.started_ns: int | None = None
        self.finished_ns: int | None = None
        self.duration: float | None = None
        self.provider_errors: dict[tuple[str, str], int] = {}
        self.dropped: dict[str, int] = {}
        self.first_error: TaskError | None = None
        self.cause: BaseException | None = None
        self.ended = threading.Event()
        self.cancelled = threading.Event()
        self.on_cancel: Callable[[], None] | None = None

    @property
    def trace_id(self) -> str:
        """The trace of this run, 32 hex digits: the run id, or the trace of the caller that the run joined."""
        return self.span.trace_id if self.span else self.run_id

    @property
    def started_at(self) -> datetime | None:
        """When the run started, as an aware datetime."""
        return from_ns(self.started_ns)

    @property
    def finished_at(self) -> datetime | None:
        """When the run ended, as an aware datetime, or None."""
        return from_ns(self.finished_ns)

    @property
    def failed(self) -> bool:
        """True once the run has ended badly."""
        return self.status is TypeStatus.FAILED

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run has ended and its providers are flushed; at most `timeout` seconds. Returns the run.

        Ctrl-C while waiting cancels the run, and is raised again when it has ended; a second one is raised at once.

        Raises:
            RunTimeout: (a `TimeoutError`) the run is still going on.
        """
        try:
            ended = SystemClock().wait(self.ended, math.inf if timeout is None else timeout)
        except KeyboardInterrupt:
            self.cancel()
            SystemClock().wait(self.ended, math.inf)
            raise
        if not ended:
            raise RunTimeout(f"run {self.run_id} is still going on after {timeout:g} s")
        return self

    def cancel(self) -> None:
        """Ask the run to end: nothing new starts, waits are cut short, what can be given up is given up.

        A step that runs in the thread of `start` itself cannot be stopped from outside; it finishes first.
        """
        self.cancelled.set()
        tell = self.on_cancel  # looked at once: it is taken away when the run has ended
        if tell is not None:
            tell()

    def raise_for_status(self) -> Run:
        """Raise if the run failed, return it otherwise.

        Raises:
            RunFailed: naming the tasks that failed and their errors; `run` is this run. Its cause is the exception of the first that failed, with the
                traceback as text; of one that cannot be copied or pickled, or with a message that is far too long, it is only the text.
        """
        if not self.failed:
            return self
        failed = [(task, task.error) for task in self.tasks if task.status is TypeStatus.FAILED and task.error]
        texts = [
            f"{task.task_id}: {error.exception}: {shorten(error.message, LONGEST_MESSAGE)}" for task, error in failed
        ]
        text = f"run {self.run_id} of {self.workflow_name!r} failed ({self.result})"
        if texts:
            more = f", and {len(texts) - 1:,} more" if len(texts) > 1 else ""
            text = f"{text}: {texts[0].partition(_NEWLINE)[0]}{more}"
        if len(texts) > 1 or _NEWLINE in "".join(texts):
            text = _NEWLINE.join([text, *(f"  {each.replace(_NEWLINE, _NEWLINE + '  ')}" for each in texts)])
        raise RunFailed(shorten(text, _LONGEST), self) from self._cause()

    def _cause(self) -> BaseException | None:
        if self.first_error is None:
            return None
        told = _TaskTraceback(self.first_error.traceback)
        if self.cause is None or len(self.first_error.message) > LONGEST_MESSAGE:
            return told
        self.cause.__cause__ = told  # what was raised is shown below the text of where
        return self.cause

    def tree(self, *, full: bool = False) -> str:
        """The run as a text: its tasks, how they ended and what they came after, and its trace id.

        Of more than 100 tasks it shows the first, the last and those that failed, and counts the others; `full` shows all.
        """
        from dotflow.model.tree import render

        return render(self, full=full)

    def __getstate__(self) -> dict[str, Any]:
        """All but what ties it to the process that drives it: a copy tells how the run went, it cannot cancel it."""
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.ended, self.cancelled, self.on_cancel, self.cause = threading.Event(), threading.Event(), None, None
        if self.finished_ns is not None:
            self.ended.set()

    def mermaid(self) -> str:
        """The run as the text of a Mermaid flowchart, each task in the colour of how it ended.

        https://mermaid.js.org/syntax/flowchart.html
        """
        from dotflow.model.mermaid import flowchart

        return flowchart(self.tasks, has_run=True)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from dotflow.model.html import run_page

        return run_page(self)

    def __repr__(self) -> str:
        return f"Run({self.run_id!r}, {self.workflow_name!r}, {str(self.status)!r})"
