"""The coordinator: the one writer of a run's state."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from typing import TYPE_CHECKING

from dotflow.abc.hooks import overridden
from dotflow.engine.ending import flush_all
from dotflow.errors import AttemptCancelled
from dotflow.executors.attempt import Attempt, blank_outcome
from dotflow.model.context import Context
from dotflow.model.outcome import ErrorInfo, TaskError
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.toolkit.log_fields import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dotflow.config import Config
    from dotflow.engine.background_queue import BackgroundQueue
    from dotflow.engine.checkpoints import Checkpoints
    from dotflow.engine.containment import Containment
    from dotflow.engine.dispatch import Dispatch
    from dotflow.engine.interrupts import Interrupts
    from dotflow.executors.base import Executor
    from dotflow.model.outcome import Outcome
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["Coordinator", "Lane"]

_NOTHING: Mapping[str, str | int] = {}


class Lane:
    """Tasks that run one after another, each seeing the result of the one before."""

    __slots__ = ("previous", "tasks")

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = deque(tasks)
        self.previous = Context()


class _Flight:
    """A task on its way, and the lane it came from."""

    __slots__ = ("lane", "started_monotonic_ns", "task")

    def __init__(self, task: Task, lane: Lane) -> None:
        self.task = task
        self.lane = lane
        self.started_monotonic_ns = 0

    def __lt__(self, other: object) -> bool:
        return False  # equal due times are retried in the order they came


class Coordinator:
    """Drives one run from start to end: decides what is ready, keeps the retry loop, writes the storage, emits.

    A task is in exactly one place: waiting in its lane, `_ready` for a slot, with the executor (`_running`), or between
    two attempts (`_retries`).
    """

    def __init__(
        self,
        run: Run,
        lanes: list[Lane],
        *,
        config: Config,
        dispatch: Dispatch,
        containment: Containment,
        background_queue: BackgroundQueue,
        make_executor: Callable[[Interrupts], Executor],
        interrupts: Callable[[Callable[[], None]], Interrupts],
        checkpoints: Checkpoints,
        keep_going: bool,
    ) -> None:
        self._run = run
        self._lanes = lanes
        self._config = config
        self._clock = config.clock
        self._time_ns = config.clock.time_ns
        self._checkpoints = checkpoints
        self._dispatch = dispatch
        self._containment = containment
        self._background_queue = background_queue
        self._keep_going = keep_going
        self._wake = threading.Event()
        # Not `self.wake`: a signal handler must not set an Event, whose lock the interrupted thread may hold.
        self._interrupts = interrupts(self._wake_executor)
        self._executor = make_executor(self._interrupts)
        self._ready: deque[_Flight] = deque()
        self._running: dict[Attempt, _Flight] = {}
        self._retries: list[tuple[int, int, _Flight]] = []
        self._retry_count = 0
        self._failed = 0
        self._cancelling = False
        self._tracer_attaches = overridden(config.tracer, "attach")
        self._log_attaches = overridden(config.log, "attach")
        run.on_cancel = self.wake

    def wake(self) -> None:
        """Look again at what is to be done: called from any thread, when the run is cancelled or interrupted."""
        self._wake.set()
        self._wake_executor()

    def _wake_executor(self) -> None:
        self._executor.wake()

    def execute(self, on_end: Callable[[Run], None]) -> None:
        """Drive the run to its end; then tell `on_end`, send what is buffered and let the waiters go.

        Raises:
            KeyboardInterrupt, SystemExit: what interrupted the run, once it has been ended and flushed.
        """
        with self._interrupts:
            self._background_queue.open(self._run)
            interrupt = self._drive_to_the_end()
            try:
                with self._interrupts.let_through():
                    on_end(self._run)
            finally:
                self._interrupts.open = False
                self._let_go()
        if interrupt is not None:
            raise interrupt
        self._check()

    def _let_go(self) -> None:
        try:
            flush_all(self._config, self._run, self._containment, self._background_queue, self._executor)
        finally:
            self._executor.close()
            self._run.ended.set()

    def _drive_to_the_end(self) -> BaseException | None:
        started = self._clock.monotonic_ns()
        interrupt: BaseException | None = None
        try:
            self._open()
            self._drive()
        except BaseException as error:  # noqa: BLE001 - raised again when everything that was begun is ended
            self._interrupts.open = False
            interrupt = error
            self._abandon(error)
        self._close(started)
        return interrupt

    # --- the run

    def _open(self) -> None:
        self._run.status = TypeStatus.IN_PROGRESS
        self._run.started_ns = self._now()
        self._dispatch.emit(self._dispatch.workflow_started, self._run)
        self._checkpoints.open()

    def _drive(self) -> None:
        for lane in self._lanes:
            self._advance(lane)
        while self._ready or self._running or self._retries:
            self._check()
            if self._run.cancelled.is_set() and not self._cancelling:
                self._cancel()
            while self._ready and len(self._running) < self._executor.slots:
                flight = self._ready.popleft()
                if not self._restore(flight):
                    self._launch(flight)
            self._check()
            self._await_something()
        self._check()

    def _check(self) -> None:
        """Raise what is to end the program: a Ctrl-C that was held back, or what a provider raised."""
        if self._interrupts.pending:
            self._interrupts.check()
        if self._dispatch.interrupt is not None:
            interrupt, self._dispatch.interrupt = self._dispatch.interrupt, None
            raise interrupt

    def _await_something(self) -> None:
        wait = self._until_next_retry()
        if self._running:
            found = self._executor.next(wait)
            if found is not None:
                attempt, outcome = found
                self._settle(self._running.pop(attempt), outcome)
        elif wait is not None and wait > 0:
            with self._interrupts.let_through():
                self._interrupts.check()
                self._clock.wait(self._wake, wait)
            self._wake.clear()
        due: list[_Flight] = []
        while self._retries and self._retries[0][0] <= self._clock.monotonic_ns():
            due.append(heapq.heappop(self._retries)[2])
        self._ready.extendleft(reversed(due))  # before what has not begun: its delay is over, however much waits

    def _until_next_retry(self) -> float | None:
        if not self._retries:
            return None
        return max(0.0, (self._retries[0][0] - self._clock.monotonic_ns()) / 1e9)

    def _close(self, started_monotonic_ns: int) -> None:
        run, dispatch = self._run, self._dispatch
        not_run = any(task.status is TypeStatus.NOT_STARTED for task in run.tasks)
        cancelled = run.result is TypeResult.CANCELLATION or (
            self._run.cancelled.is_set() and (self._failed or not_run)
        )
        failed = bool(cancelled or self._failed or run.result)
        run.status = TypeStatus.FAILED if failed else TypeStatus.COMPLETED
        run.result = TypeResult.CANCELLATION if cancelled else (TypeResult.FAILURE if failed else TypeResult.SUCCESS)
        run.duration = (self._clock.monotonic_ns() - started_monotonic_ns) / 1e9
        run.finished_ns = self._now()
        dispatch.emit(dispatch.workflow_failed if failed else dispatch.workflow_completed, run)

    # --- a task

    def _advance(self, lane: Lane) -> None:
        """Make the next task of a lane ready."""
        if not lane.tasks:
            return
        task = lane.tasks.popleft()
        task._previous_context = lane.previous  # noqa: SLF001 - the coordinator is the one writer of a task
        task.queued_ns = self._now()
        if self._dispatch.task_queued:
            self._dispatch.emit(self._dispatch.task_queued, task)
        self._ready.append(_Flight(task, lane))

    def _restore(self, flight: _Flight) -> bool:
        """Take a task's result from its checkpoint, if the run resumes and there is one.

        A storage that does not answer fails the task, without running it.
        """
        task, lane = flight.task, flight.lane
        try:
            context = self._checkpoints.find(task) if not task.attempt else None
        except Exception as error:  # noqa: BLE001 - it fails the task, whatever it is
            self._refuse(flight, error)
            return True
        if context is None:
            return False
        task._current_context = context  # noqa: SLF001
        task.status, task.result = TypeStatus.COMPLETED, TypeResult.RESTORED
        task.finished_ns = self._now()
        task.span = self._run.span  # nobody was told of its own: what is written about it belongs to the run's trace
        self._dispatch.emit(self._dispatch.task_restored, task)
        lane.previous = context
        self._advance(lane)
        return True

    def _launch(self, flight: _Flight) -> None:
        attempt = self._begin(flight)
        self._running[attempt] = flight
        self._executor.submit(attempt)

    def _refuse(self, flight: _Flight, error: Exception) -> None:
        """Fail a task in place of running it."""
        self._begin(flight)
        outcome = blank_outcome(self._clock).fail(error)
        outcome.final = True
        self._settle(flight, outcome)

    def _begin(self, flight: _Flight) -> Attempt:
        task = flight.task
        task.attempt += 1
        if task.started_ns is None:
            task.started_ns = self._now()
            task.status = TypeStatus.IN_PROGRESS
            flight.started_monotonic_ns = self._clock.monotonic_ns()
            self._dispatch.emit(self._dispatch.task_started, task)
        return self._begin_attempt(flight)

    def _begin_attempt(self, flight: _Flight) -> Attempt:
        task = flight.task
        task.status = TypeStatus.IN_PROGRESS
        task.attempt_started_ns = self._now()
        calls = self._dispatch.attempt_started if task.spec.options.retry > 1 else self._dispatch.only_attempt_started
        if calls:
            self._dispatch.emit(calls, task)
        return Attempt(
            task.spec,
            task.initial_context.copy(),  # a step may write to what it is given; the task's own is the coordinator's
            task.previous_context.copy(),
            task.task_id,
            task.workflow_id,
            task.carrier if self._tracer_attaches else _NOTHING,
            ids_of(task) if self._log_attaches else _NOTHING,
        )

    def _settle(self, flight: _Flight, outcome: Outcome) -> None:
        """An attempt has come back: store its value or note its error, then retry or end the task."""
        task = flight.task
        self._place_in_time(task, outcome)
        for provider, method, error in outcome.provider_errors:
            self._containment.caught(self._run, provider, method, error)
        may_retry = outcome.error is not None and outcome.result is not TypeResult.CANCELLATION and not outcome.final
        if outcome.error is None:
            self._store(task, outcome)
        if outcome.error is not None:
            task.errors.append(_task_error(task.attempt, outcome.error))
        task.outcome = outcome
        calls = self._dispatch.attempt_ended if task.spec.options.retry > 1 else self._dispatch.only_attempt_ended
        if calls:
            self._dispatch.emit(calls, task)
        if may_retry and task.attempt < task.spec.options.retry and not self._cancelling and not outcome.interrupt:
            self._retry(flight)
        else:
            self._finish(flight, outcome)
        if outcome.interrupt is not None:
            raise outcome.interrupt

    def _store(self, task: Task, outcome: Outcome) -> None:
        """Write the checkpoint; a value that cannot be kept turns the attempt into a failed one, without a retry."""
        context = Context(
            outcome.value,
            task_id=task.task_id,
            workflow_id=task.workflow_id,
            time=outcome.started_ns + outcome.duration_ns,
            origin=self._checkpoints.origin,
        )
        try:
            self._checkpoints.keep(task, context)
        except Exception as error:  # noqa: BLE001 - it fails the task, whatever it is
            outcome.fail(error)
        except BaseException as error:  # noqa: BLE001 - ends the program, once the task is ended
            outcome.fail(error, TypeResult.CANCELLATION)
            outcome.interrupt = error
        else:
            task._current_context = context  # noqa: SLF001

    def _retry(self, flight: _Flight) -> None:
        task = flight.task
        task.status = TypeStatus.RETRY
        task.retry_count += 1
        delay = task.retry_in = task.spec.options.delay_before(task.attempt + 1)
        self._dispatch.emit(self._dispatch.task_retrying, task)
        if delay <= 0:
            self._ready.appendleft(flight)
            return
        self._retry_count += 1
        due = self._clock.monotonic_ns() + round(delay * 1e9)
        heapq.heappush(self._retries, (due, self._retry_count, flight))

    def _finish(self, flight: _Flight, outcome: Outcome) -> None:
        task, lane, dispatch = flight.task, flight.lane, self._dispatch
        task.result = outcome.result
        task.finished_ns = self._now()
        task.duration = (self._clock.monotonic_ns() - flight.started_monotonic_ns) / 1e9
        failed = outcome.error is not None
        task.status = TypeStatus.FAILED if failed else TypeStatus.COMPLETED
        if failed:
            self._failed += 1
            dispatch.emit(dispatch.task_failed, task)
        else:
            dispatch.emit(dispatch.task_completed, task)
        if task.callback is not None:
            self._call_back(task, task.callback)
        lane.previous = task.current_context
        if failed and not self._keep_going:
            self._start_no_more_of(task.group_name)
        elif not self._cancelling and outcome.interrupt is None:
            self._advance(lane)

    def _start_no_more_of(self, group_name: str) -> None:
        """Take back what is ready but has not started; the lanes of the group advance only from a task that ended well."""
        self._ready = deque(f for f in self._ready if f.task.attempt or f.task.group_name != group_name)

    def _call_back(self, task: Task, callback: Callable[..., object]) -> None:
        with self._interrupts.let_through():
            self._containment.call(self._run, "callback", task.task_id, lambda: callback(task=task))

    # --- ends before the end

    def _cancel(self) -> None:
        """Nothing new starts; what can be given up is."""
        self._cancelling = True
        self._executor.cancel()
        waiting = [flight for _, _, flight in self._retries] + [f for f in self._ready if f.task.attempt]
        self._retries.clear()
        self._ready.clear()
        for flight in waiting:
            flight.task.attempt += 1
            self._begin_attempt(flight)
            self._settle_as_cancelled(flight, AttemptCancelled("the run was cancelled before this attempt began"))

    def _abandon(self, cause: BaseException) -> None:
        """The program is being ended, or the engine itself has failed: end everything that was begun."""
        self._cancelling = True
        self._run.result = TypeResult.FAILURE if isinstance(cause, Exception) else TypeResult.CANCELLATION
        running = [(flight, self._executor.pid_of(attempt)) for attempt, flight in self._running.items()]
        self._executor.cancel()
        self._running.clear()
        for flight, pid in running:
            self._settle_as_cancelled(flight, cause, pid)
        self._cancel()

    def _settle_as_cancelled(self, flight: _Flight, cause: BaseException, pid: int | None = None) -> None:
        outcome = blank_outcome(self._clock)
        outcome.pid = pid or outcome.pid
        outcome.duration_ns = max(0, outcome.started_ns - flight.task.attempt_started_ns)
        outcome.started_ns = flight.task.attempt_started_ns
        outcome.fail(cause, TypeResult.CANCELLATION)
        if isinstance(cause, (KeyboardInterrupt, SystemExit)):
            outcome.error = _ended_with_the_program(cause)
        self._settle(flight, outcome)

    # --- time

    def _now(self) -> int:
        """Wall-clock time in ns that never goes back within the run, so that what came later also looks later."""
        run, now = self._run, self._time_ns()
        if now <= run.now_ns:  # `max` would take as long as all the rest of this, which is done five times a task
            return run.now_ns
        run.now_ns = now
        return now

    def _place_in_time(self, task: Task, outcome: Outcome) -> None:
        """Put an attempt between its sending and now, also if the clock of its host or ours is wrong."""
        latest_start = self._now() - outcome.duration_ns
        if not task.attempt_started_ns <= outcome.started_ns <= latest_start:
            outcome.started_ns = max(task.attempt_started_ns, min(outcome.started_ns, latest_start))
            self._run.now_ns = max(self._run.now_ns, outcome.started_ns + outcome.duration_ns)


def _ended_with_the_program(cause: KeyboardInterrupt | SystemExit) -> ErrorInfo:
    """What became of an attempt somewhere else, when this program was interrupted: no traceback of ours explains it."""
    name = type(cause).__name__
    why = "Ctrl-C" if isinstance(cause, KeyboardInterrupt) else f"exit status {cause.code}"
    message = f"the program that started the run was ended ({why})"
    return ErrorInfo(name, message, f"{name}: {message}\n")


def _task_error(attempt: int, error: ErrorInfo) -> TaskError:
    return TaskError(attempt=attempt, exception=error.exception, message=error.message, traceback=error.traceback)
