"""DotFlow: a named list of tasks, and how it is started."""

from __future__ import annotations

import contextvars
import inspect
import logging
import os
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotflow.builder import TaskBuilder
from dotflow.config import Config
from dotflow.engine.contain import Containment
from dotflow.engine.coordinator import Coordinator, Lane
from dotflow.engine.courier import Courier
from dotflow.engine.dispatch import Dispatch, overridden
from dotflow.engine.ending import close_all
from dotflow.engine.inline import InlineExecutor
from dotflow.engine.interrupts import Interrupts
from dotflow.errors import InvalidChoice, InvalidOption, WorkflowClosed
from dotflow.modes import BACKGROUND, EXECUTORS, MODES, SEQUENTIAL, lanes_of
from dotflow.names import logs
from dotflow.providers.defaults import SchedulerDefault
from dotflow.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.context import Context
    from dotflow.task import Task

__all__ = ["DotFlow"]

_logger = logging.getLogger(logs.LOGGER)


class DotFlow:
    """A named list of tasks with a Config. Every `start` is a run of its own.

    Args:
        config: the providers; default: none, which costs nothing.
        name: the workflow's name in traces, metrics and logs; default: the stem of the program's file.
        workflow_id: stable across runs and processes, the key for resume: any text or a UUID; default: `WORKFLOW_ID`
            from the environment, else a new UUID.

    Raises:
        InvalidOption: a name or an id that is no text.
    """

    def __init__(
        self, config: Config | None = None, *, name: str | None = None, workflow_id: str | uuid.UUID | None = None
    ) -> None:
        if config is not None and not isinstance(config, Config):
            raise InvalidOption(f"config={config!r}: write config=Config(...)")
        self.config = config or Config()
        self.name = _text("name", name) or _program_name()
        self.workflow_id = _text("workflow_id", workflow_id) or os.environ.get("WORKFLOW_ID") or str(uuid.uuid4())
        self.task = TaskBuilder(self._describe, self._declare)
        self._containment = Containment(self.config.metrics)
        self._courier = Courier(self._containment)
        self._has_run = False
        self._closed = False
        self._declare([])

    def start(
        self,
        mode: str = SEQUENTIAL,
        *,
        keep_going: bool = False,
        on_success: Callable[..., Any] | None = None,
        on_failure: Callable[..., Any] | None = None,
        executor: str | None = None,
    ) -> Run:
        """Run the tasks, and return the run; a step that fails does not raise, it makes the run `Failed`.

        Args:
            mode: `sequential` runs the tasks here, one after another; `background` returns at once, `Run.wait` joins.
            keep_going: after a failure, go on with the tasks behind it; default: nothing new starts in its group.
            on_success, on_failure: called as `f(tasks=...)` after the run. One that raises is logged, and changes nothing.
            executor: where attempts run: `inline`, in this process.

        Raises:
            InvalidChoice: a mode or an executor that is not known.
            InvalidOption: a callback that cannot be called.
            WorkflowClosed: after `close`.
            KeyboardInterrupt, SystemExit: raised in a step; the run has been ended as failed and flushed.
        """
        return self._start("manual", mode, keep_going, on_success, on_failure, executor)

    def schedule(self, **kwargs: Any) -> None:
        """Hand `start` with these keywords to `Config.scheduler`, which calls it at every tick. Blocks until it ends.

        Raises:
            InvalidChoice, InvalidOption, TypeError: a keyword that `start` would refuse, before the first tick.
        """
        inspect.signature(self.start).bind(**kwargs)
        _check(**{"mode": SEQUENTIAL, "on_success": None, "on_failure": None, "executor": None, **kwargs})
        if type(self.config.scheduler) is SchedulerDefault:
            _logger.warning("nothing is scheduled: give DotFlow a Config(scheduler=...)")
        self._measure_schedule()
        self.config.scheduler.start(self._tick, **kwargs)

    def close(self) -> None:
        """Close the providers: ports, threads, files. The workflow cannot be started again; may be repeated."""
        self._closed = True
        close_all(self.config, self._containment)

    def result_task(self) -> list[Task]:
        """The tasks of the latest run; before the first, the tasks as they were added."""
        return list(self.task.latest.tasks if self.task.latest else self.task)

    def result_context(self) -> list[Context]:
        """The contexts that the tasks of the latest run produced, in order; an empty one where there is no result."""
        return [task.current_context for task in self.result_task()]

    def result_storage(self) -> list[Any]:
        """The values that the tasks of the latest run produced, in order; None where there is no result."""
        return [context.storage for context in self.result_context()]

    def result(self) -> dict[str, Any]:
        """The latest run as plain data; see `TaskBuilder.result`."""
        return self.task.result()

    def __enter__(self) -> DotFlow:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DotFlow({self.name!r}, {self.task.count()} tasks)"

    def _measure_schedule(self) -> None:
        scheduler, metrics, contain = self.config.scheduler, self.config.metrics, self._containment
        if overridden(metrics, "schedule_skipped"):

            def skipped(reason: str, count: int = 1) -> None:
                contain.call(
                    None, "metrics", "schedule_skipped", lambda: metrics.schedule_skipped(self.name, reason, count)
                )

            for reason in scheduler.skipped:
                skipped(reason, 0)
            scheduler.on_skip = skipped
        seconds = scheduler.expected_interval
        if seconds is not None and overridden(metrics, "expected_interval"):
            contain.call(None, "metrics", "expected_interval", lambda: metrics.expected_interval(self.name, seconds))

    def _tick(self, **kwargs: Any) -> Run:
        """One run of a schedule, waited for in every mode: the scheduler must know whether it is still going on."""
        return self._start("schedule", **{**_START_DEFAULTS, **kwargs}).wait()

    def _start(
        self,
        trigger: str,
        mode: str,
        keep_going: bool,  # noqa: FBT001 - the public method takes it by name
        on_success: Callable[..., Any] | None,
        on_failure: Callable[..., Any] | None,
        executor: str | None,
    ) -> Run:
        _check(mode=mode, on_success=on_success, on_failure=on_failure, executor=executor)
        if self._closed:
            raise WorkflowClosed(
                f"workflow {self.name!r} was closed, and its providers with it: start it before close()"
            )
        run = self._new_run(mode, trigger)
        coordinator = self._coordinate(run, keep_going=keep_going)

        def on_end(ended: Run) -> None:
            callback, name = (on_failure, "on_failure") if ended.failed else (on_success, "on_success")
            if callback is not None:
                self._containment.call(ended, "callback", name, lambda: callback(tasks=ended.tasks))

        if mode == BACKGROUND:
            _in_background(run, lambda: coordinator.execute(on_end))
        else:
            coordinator.execute(on_end)
        return run

    def _new_run(self, mode: str, trigger: str) -> Run:
        run_id = self.config.ids.run_id()
        tasks = [task.for_run(self.workflow_id, self.name, run_id) for task in self.task]
        run = Run(
            run_id=run_id,
            workflow_id=self.workflow_id,
            workflow_name=self.name,
            mode=mode,
            trigger=trigger,
            tasks=tasks,
        )
        self.task.latest = run
        return run

    def _coordinate(self, run: Run, *, keep_going: bool) -> Coordinator:
        first, self._has_run = not self._has_run, True
        clock, detached = self.config.clock, run.mode == BACKGROUND
        return Coordinator(
            run,
            [Lane(tasks) for tasks in lanes_of(run.tasks)],
            config=self.config,
            dispatch=Dispatch(self.config, self, run, self._containment, self._courier, first=first),
            containment=self._containment,
            courier=self._courier,
            make_executor=lambda interrupts: InlineExecutor(clock, interrupts, detached=detached),
            interrupts=Interrupts,
            keep_going=keep_going,
        )

    def _describe(self) -> dict[str, Any]:
        return {"workflow_id": self.workflow_id, "name": self.name}

    def _declare(self, task_names: list[str]) -> None:
        metrics = self.config.metrics
        if overridden(metrics, "declare"):
            self._containment.call(None, "metrics", "declare", lambda: metrics.declare(self.name, task_names))


_START_DEFAULTS: dict[str, Any] = {
    "mode": SEQUENTIAL,
    "keep_going": False,
    "on_success": None,
    "on_failure": None,
    "executor": None,
}


def _in_background(run: Run, execute: Callable[[], None]) -> None:
    """In a thread of its own, which the program waits for at its end: nothing is lost when the last line is reached."""

    def work() -> None:
        try:
            execute()
        except (KeyboardInterrupt, SystemExit):
            return  # the run has failed, `Run.result` says why; there is no caller left to raise it to

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"dotflow-run-{run.run_id[:8]}", daemon=False).start()


def _check(
    *,
    mode: str,
    on_success: Callable[..., Any] | None,
    on_failure: Callable[..., Any] | None,
    executor: str | None,
    **_: Any,
) -> None:
    if mode not in MODES:
        raise InvalidChoice("mode", mode, MODES)
    if executor is not None and executor not in EXECUTORS:
        raise InvalidChoice("executor", executor, EXECUTORS)
    for name, callback in (("on_success", on_success), ("on_failure", on_failure)):
        if callback is not None and not callable(callback):
            raise InvalidOption(f"{name}={callback!r}: it is called as {name}(tasks=...), this cannot be")


def _text(field: str, value: object) -> str | None:
    if value is None or isinstance(value, uuid.UUID):
        return None if value is None else str(value)
    if not isinstance(value, str) or not value.strip():
        raise InvalidOption(f"{field}={value!r}: a non-empty text")
    return value


def _program_name() -> str:
    """The stem of the program's file; of a package run with -m, the package's name; `workflow` where there is neither."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return "workflow"
    file = Path(path)
    return file.resolve().parent.name if file.stem == "__main__" else file.stem
