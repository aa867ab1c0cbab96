"""DotFlow: a named list of tasks, and how it is started."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from dotflow.abc.hooks import overridden
from dotflow.builder import TaskBuilder
from dotflow.config import Config
from dotflow.engine.background import background
from dotflow.engine.background_queue import BackgroundQueue
from dotflow.engine.belonging import Around, Belonging, OwnSurroundings
from dotflow.engine.checked import report
from dotflow.engine.checkpoints import Checkpoints
from dotflow.engine.containment import Containment
from dotflow.engine.coordinator import Coordinator
from dotflow.engine.dispatch import Dispatch
from dotflow.engine.ending import close_all, providers_of
from dotflow.engine.graph import build
from dotflow.engine.interrupts import Interrupts
from dotflow.engine.open import open_workflows
from dotflow.engine.scheduled import Scheduled
from dotflow.errors import InvalidOption, ProgramImportedAgain, StepSignatureError, StorageNotPersistent, WorkflowClosed
from dotflow.executors.selection import ExecutorSelection
from dotflow.model.modes import MANUAL, RERUN, RESUME, SCHEDULE, SEQUENTIAL
from dotflow.model.run import Run
from dotflow.model.text import is_text, storable
from dotflow.names import logs
from dotflow.options import StartOptions
from dotflow.providers.defaults import SchedulerDefault

if TYPE_CHECKING:
    import uuid
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from typing_extensions import Unpack

    from dotflow.engine.checkpoints import Fingerprint
    from dotflow.engine.graph import Graph
    from dotflow.model.context import Context
    from dotflow.model.modes import ExecutorName, Mode, OnInputChange
    from dotflow.model.task import Task
    from dotflow.options import ScheduleKeywords, StartKeywords

__all__ = ["DotFlow"]

_logger = logging.getLogger(logs.LOGGER)


class DotFlow:
    """A named list of tasks with a Config. Every `start` is a run of its own.

    Args:
        config: the providers; default: in a step those of the run around it, elsewhere none, which costs nothing.
        name: the workflow's name in traces, metrics and logs; default: the stem of the program's file.
        workflow_id: stable across runs and processes, the key for resume: any text or a UUID; default: `WORKFLOW_ID`
            from the environment, else a new UUID. In a step `{workflow_id}/{task_id}/{name}` of the run around it, with `-2` and so on
            behind a second one of that name; it then also resumes when that run does.

    Raises:
        InvalidOption: a name or an id that is no text.
    """

    def __init__(
        self, config: Config | None = None, *, name: str | None = None, workflow_id: str | uuid.UUID | None = None
    ) -> None:
        if config is not None and not isinstance(config, Config):
            raise _no_config(config)
        around = Around()
        self.config = config or around.config or Config()
        self.name = _text("name", name) or _program_name()
        given_id = _text("workflow_id", workflow_id)
        self.workflow_id = (
            given_id or around.workflow_id(self.name) or storable(os.environ.get("WORKFLOW_ID", "")) or _new_id()
        )
        self._resumes = given_id is None and around.resumes
        self._is_borrowing = self.config is around.config
        self._use = open_workflows.enter(self, providers_of(self.config))
        self.task = TaskBuilder(self._describe, self._declare)
        self._containment = Containment(self.config.metrics)
        self._background_queue = BackgroundQueue(self._containment, on_change=self._measure_queue())
        self._surroundings = OwnSurroundings(self.config)
        self._executors = ExecutorSelection(
            self.config, surroundings=self._surroundings, contain=self._containment.call
        )
        self._scheduled = Scheduled(self.name, self.config, self._containment)
        self._has_run = False
        self._closed = False
        self._declare([])

    def start(
        self,
        mode: Mode = SEQUENTIAL,
        *,
        background: bool = False,
        params: Mapping[str, Any] | None = None,
        keep_going: bool = False,
        on_success: Callable[..., Any] | None = None,
        on_failure: Callable[..., Any] | None = None,
        resume: bool = False,
        rerun: Sequence[str] = (),
        on_input_change: OnInputChange = RERUN,
        fingerprint: Fingerprint | None = None,
        executor: ExecutorName | Executor | None = None,
        max_workers: int | None = None,
    ) -> Run:
        """Run the tasks, and return the run; a step that fails does not raise, it makes the run `Failed`.

        Args:
            mode: `sequential` runs the tasks one after another, here; with several groups, the groups side by side and the
                tasks of each in order, in worker processes. `sequential_group` does so for a single group too.
                `parallel` runs each task as soon as its parents have ended, in worker processes; in a workflow where no
                task names `after`, there are none, and all run at once. `background` is `sequential` with `background`.
            background: return at once; `Run.wait` joins.
            params: values for the parameters of steps, by name; they come before those of `add`.
            keep_going: after a failure, go on with the tasks behind it; default: nothing new starts in its group.
            on_success, on_failure: called as `f(tasks=...)` after the run. One that raises is logged, and changes nothing.
            resume: continue the latest run of this `workflow_id`: the results of tasks that had ended well come from the
                storage, the others run.
            rerun: names or ids of tasks, families or items that run again although their results are there, and with them what
                comes after; implies `resume`.
            on_input_change: what a resumed run does with results whose input has changed since: `rerun` what they belong to,
                and what comes after it; `reset` and run everything, or `raise`, if an initial context is another; `reuse` the
                results all the same.
            fingerprint: makes a text of an initial value, the same exactly when the value is; default: its SHA-256.
            executor: where attempts run, whatever the mode says: `inline`, in the thread of this call; `thread`;
                `process`; or any `concurrent.futures.Executor`, which stays the caller's to shut down.
            max_workers: how many threads or processes there are at most, default: one for each processor; of an
                executor of your own, how many attempts it is given at a time.

        Raises:
            InvalidChoice: a mode, an executor or an `on_input_change` that is not known.
            InvalidOption: a callback that cannot be called.
            StepSignatureError: a parameter that nothing fills; a key of `params` that no task takes, or for what a parent
                fills; a task that does not say what it comes after, where others do.
            StorageNotPersistent: a resume with a storage that has forgotten everything.
            InputChanged: see `on_input_change`.
            StorageError: the record of the run to be continued cannot be read, or that of this one not be written.
            WorkflowClosed: after `close`.
            AttemptCancelled: in a step whose attempt was given up (timed out, cancelled), before this run or during it.
            ProgramImportedAgain: in a child of a process pool that imports an unguarded program.
            KeyboardInterrupt, SystemExit: raised in a step; the run has been ended as failed and flushed.
        """
        options = StartOptions(
            mode=mode,
            background=background,
            params=params,
            keep_going=keep_going,
            on_success=on_success,
            on_failure=on_failure,
            resume=resume,
            rerun=rerun,
            on_input_change=on_input_change,
            fingerprint=fingerprint,
            executor=executor,
            max_workers=max_workers,
        )
        return self._start(RESUME if options.resumes else MANUAL, options)

    async def start_async(self, mode: Mode = SEQUENTIAL, **kwargs: Unpack[StartKeywords]) -> Run:
        """As `start`, without standing in the way of the event loop that runs; the keywords are the same.

        Async steps run on this very loop, so they may use what belongs to it (sessions, connection pools), unless they run
        in worker processes; others run in threads. Cancelling the task that awaits it cancels the run, and is raised again
        once the run has been ended and flushed.

        Raises:
            As `start`. An interrupt of the program (`sys.exit` in a step) is raised here too.
        """
        from dotflow.engine.asynchronous import in_thread

        options = StartOptions.of("start_async()", {"mode": mode, **kwargs})
        return await in_thread(
            lambda loop, began: self._start(RESUME if options.resumes else MANUAL, options, loop=loop, began=began)
        )

    def schedule(self, **kwargs: Unpack[ScheduleKeywords]) -> None:
        """Hand `start` with these keywords to `Config.scheduler`, which calls it at every tick. Blocks until it ends.

        `params` may be a function here: it is called with the time of each tick (aware) and returns those of its run.

        Raises:
            InvalidChoice, InvalidOption, UnknownKeyword: a keyword that `start` would refuse, before the first tick.
            StepSignatureError: as `start`, before the first tick.
        """
        options = StartOptions.of("schedule()", kwargs)
        if callable(options.params):  # what fills the parameters is known at each tick
            build(self._entries(), options.mode, binds=False)
        else:
            build(self._entries(), options.mode, options.values)
        if type(self.config.scheduler) is SchedulerDefault:
            _logger.warning("nothing is scheduled: give DotFlow a Config(scheduler=...)")
        self._scheduled.open()
        try:
            self.config.scheduler.start(self._tick, **kwargs)
        finally:
            self._executors.clear()

    def check(self, mode: Mode = SEQUENTIAL, *, params: Mapping[str, Any] | None = None) -> str:
        """What `start` would do with these keywords, as a text to print; runs nothing.

        It says what each task comes after, how often it could run, and what fills each parameter (`load.rows ← transform`);
        it warns where a parent's step returns one class and the parameter is annotated with another.

        Raises:
            InvalidChoice, InvalidOption: as `start`.
            StepSignatureError: everything that is wrong with the parameters and parents, one line each.
        """
        options = StartOptions(mode=mode, params=params)
        tasks = [task.for_run(self.workflow_id, self.name, "") for task in self.task]
        return report(build(tasks, options.mode, options.values), self.name, options.mode)

    def mermaid(self, mode: Mode = SEQUENTIAL) -> str:
        """The workflow as the text of a Mermaid flowchart, with the arrows that this mode implies where tasks name none.

        https://mermaid.js.org/syntax/flowchart.html

        Raises:
            InvalidChoice: a mode that is not known.
            StepSignatureError: tasks that do not fit together; see `start`.
        """
        from dotflow.model.mermaid import flowchart

        StartOptions(mode=mode)
        tasks = self._entries()
        build(tasks, mode, binds=False)
        return flowchart(tasks, has_run=False)

    def close(self) -> None:
        """Close the providers and end the worker processes. The workflow cannot be started again; may be repeated.

        A provider that another open workflow of this process uses stays open, and so do all of the run around this workflow,
        if a step has made it with that run's config.
        """
        self._closed = True
        self._executors.close()
        in_use = self._use.end()
        if not self._is_borrowing:
            close_all(self.config, self._containment, in_use)

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

    def _repr_html_(self) -> str:
        """What a notebook shows: the tasks as they were added."""
        from dotflow.model.html import workflow_page

        tasks = self._entries()
        with contextlib.suppress(StepSignatureError):  # `start` tells it; what does fit together is shown
            build(tasks, SEQUENTIAL, binds=False)
        return workflow_page(self.name, self.workflow_id, tasks)

    def _entries(self) -> list[Task]:
        """The tasks as of a run that has not begun."""
        return [task.for_run(self.workflow_id, self.name, "") for task in self.task]

    def _measure_queue(self) -> Callable[[int], None] | None:
        metrics, contain = self.config.metrics, self._containment
        if not overridden(metrics, "background_queued"):
            return None
        return lambda change: contain.call_apart(
            None, "metrics", "background_queued", lambda: metrics.background_queued(change)
        )

    def _tick(self, **kwargs: Any) -> Run:
        """One run of a schedule, waited for in every mode: the scheduler must know whether it is still going on."""
        options = self._scheduled.options(StartOptions(**kwargs))
        with self._scheduled.run() as began:
            return self._start(SCHEDULE, options, began=began).wait()

    def _start(
        self,
        trigger: str,
        options: StartOptions,
        *,
        loop: AbstractEventLoop | None = None,
        began: Callable[[Run], None] | None = None,
    ) -> Run:
        if self._closed:
            raise WorkflowClosed(
                f"workflow {self.name!r} was closed, and its providers with it: start it before close()"
            )
        _refuse_while_imported_again()
        if self._resumes and trigger == MANUAL:
            trigger = RESUME
        run = self._new_run(options.mode, trigger)
        belonging = Belonging(run)
        belonging.check()
        graph = build(run.tasks, options.mode, options.values, keep_going=options.keep_going)
        checkpoints = self._checkpoints(run, options)
        self.task.latest = run
        belonging.begin()

        def on_end(ended: Run) -> None:
            callback = options.on_failure if ended.failed else options.on_success
            if callback is not None:
                name = "on_failure" if ended.failed else "on_success"
                self._containment.call(ended, "callback", name, lambda: callback(tasks=ended.tasks))

        with belonging.starting():
            coordinator = self._coordinate(run, graph, checkpoints, options, loop)
            if began is not None:
                began(run)
            if options.is_background:
                _in_background(run, lambda: belonging.execute(coordinator.execute, on_end))
                return run
            belonging.execute(coordinator.execute, on_end)
        belonging.check()
        return run

    def _new_run(self, mode: Mode, trigger: str) -> Run:
        run_id = self.config.ids.run_id()
        tasks = [task.for_run(self.workflow_id, self.name, run_id) for task in self.task]
        return Run(
            run_id=run_id,
            workflow_id=self.workflow_id,
            workflow_name=self.name,
            mode=mode,
            trigger=trigger,
            tasks=tasks,
        )

    def _checkpoints(self, run: Run, options: StartOptions) -> Checkpoints:
        checkpoints = Checkpoints(self.config.storage, run, options.fingerprint)
        if options.resumes or self._resumes:
            if options.resumes and not self.config.storage.persistent and not self._has_run:
                raise StorageNotPersistent(
                    f"{type(self.config.storage).__name__} has nothing of an earlier process to resume from: "
                    "use a storage that keeps it, such as Config(storage=StorageFile())"
                )
            checkpoints.resume(options.on_input_change, options.rerun)
        return checkpoints

    def _coordinate(
        self, run: Run, graph: Graph, checkpoints: Checkpoints, options: StartOptions, loop: AbstractEventLoop | None
    ) -> Coordinator:
        make_executor = self._executors.executor(run, options, lines=graph.lines, loop=loop)
        first, self._has_run = not self._has_run, True
        return Coordinator(
            run,
            graph,
            config=self.config,
            dispatch=Dispatch(self.config, self, run, self._containment, self._background_queue, first=first),
            containment=self._containment,
            background_queue=self._background_queue,
            make_executor=make_executor,
            interrupts=Interrupts,
            checkpoints=checkpoints,
            surroundings=self._surroundings,
            keep_going=options.keep_going,
        )

    def _describe(self) -> dict[str, Any]:
        return {"workflow_id": self.workflow_id, "name": self.name}

    def _declare(self, tasks: list[Task]) -> None:
        metrics = self.config.metrics
        if overridden(metrics, "declare"):
            names = [task.name for task in tasks]
            self._containment.call(None, "metrics", "declare", lambda: metrics.declare(self.name, names))


def _no_config(given: object) -> InvalidOption:
    hint = f"; a name is name={given!r}" if isinstance(given, str) else ""
    return InvalidOption(f"config={given!r}: write config=Config(...){hint}")


def _in_background(run: Run, execute: Callable[[], None]) -> None:
    """In a thread of its own, which the program waits for at its end: nothing is lost when the last line is reached."""

    def work() -> None:
        try:
            execute()
        except (KeyboardInterrupt, SystemExit):
            return  # the run has failed, `Run.result` says why; there is no caller left to raise it to
        finally:
            background.remove(run)

    background.add(run)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"dotflow-run-{run.run_id[:8]}", daemon=False).start()


def _refuse_while_imported_again() -> None:
    """A child of `multiprocessing` (spawn, forkserver) imports the program again before it works: no second run of it.

    Raises:
        ProgramImportedAgain: it does, and the program is not guarded.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ProgramImportedAgain(
            "a process pool imports this program again in each of its processes, which must not start the workflow a "
            "second time: put what starts it under `if __name__ == '__main__':`"
        )


def _text(field: str, value: object) -> str | None:
    if value is None:
        return None
    if "uuid" in sys.modules and isinstance(value, sys.modules["uuid"].UUID):
        return str(value)
    if not is_text(value):
        raise InvalidOption(f"{field}={value!r}: a non-empty text that UTF-8 can hold")
    return value


def _new_id() -> str:
    import uuid

    return str(uuid.uuid4())


def _program_name() -> str:
    """The stem of the program's file; of a package run with -m, the package's name; `workflow` where there is neither."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return "workflow"
    stem, _ = os.path.splitext(os.path.basename(path))  # noqa: PTH119, PTH122 - pathlib takes as long to import as the engine
    if stem == "__main__":
        stem = os.path.basename(os.path.dirname(os.path.realpath(path)))  # noqa: PTH119, PTH120
    return storable(stem)
