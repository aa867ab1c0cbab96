"""The coordinator: the one writer of a run's state."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from dotflow.abc.hooks import overridden
from dotflow.engine.ending import flush_all
from dotflow.engine.graph import FAILED, NOT_STARTED, RUN, SKIPPED, WELL, Items, Node, Scope, decide
from dotflow.engine.inputs import NodeFacts, inputs_of, value_of
from dotflow.engine.mapped import items_of, summary
from dotflow.errors import AttemptCancelled
from dotflow.executors.attempt import Attempt, blank_outcome
from dotflow.executors.inner import PATIENCE_SECONDS, inner_runs_of
from dotflow.model.context import Context, Pickled
from dotflow.model.outcome import ErrorInfo, TaskError, end_of_program
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.model.wiring import ALWAYS, HANDLERS, SUCCESS
from dotflow.toolkit.log_fields import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dotflow.config import Config
    from dotflow.engine.background_queue import BackgroundQueue
    from dotflow.engine.checkpoints import Checkpoints
    from dotflow.engine.containment import Containment
    from dotflow.engine.dispatch import Dispatch
    from dotflow.engine.graph import Graph, Line
    from dotflow.engine.interrupts import Interrupts
    from dotflow.executors.base import Executor
    from dotflow.executors.inner import Surroundings
    from dotflow.executors.inputs import Source
    from dotflow.executors.relay import RelayedCall
    from dotflow.model.outcome import Outcome
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["Coordinator"]

_NOTHING: Mapping[str, str | int] = {}
_NAMED = 3  # parents in the reason why a task did not run


class Coordinator:
    """Drives one run from start to end: decides what is ready, keeps the retry loop, writes the storage, emits.

    A node of the graph is in exactly one place: it waits for its parents; in its line, for its turn; in `_ready`, for a slot;
    with the executor (`_running`); or between two attempts (`_retries`). `_done` are those that have ended, or that will
    not run any more, and `_opened` the mapped ones that have got their items, whose children have not been told yet.
    """

    # In slots, as an instance with more than 30 attributes in a dict is slow to read.
    __slots__ = (
        "_background_queue",
        "_cancelling",
        "_checkpoints",
        "_clock",
        "_config",
        "_containment",
        "_dispatch",
        "_done",
        "_draining",
        "_ending",
        "_executor",
        "_failed",
        "_graph",
        "_has_handlers",
        "_interrupts",
        "_keep_going",
        "_left",
        "_log_attaches",
        "_monotonic_ns",
        "_open_mapped",
        "_opened",
        "_ready",
        "_retries",
        "_retry_count",
        "_run",
        "_running",
        "_surroundings",
        "_time_ns",
        "_tracer_attaches",
        "_wake",
    )

    def __init__(
        self,
        run: Run,
        graph: Graph,
        *,
        config: Config,
        dispatch: Dispatch,
        containment: Containment,
        background_queue: BackgroundQueue,
        make_executor: Callable[[Interrupts], Executor],
        interrupts: Callable[[Callable[[], None]], Interrupts],
        checkpoints: Checkpoints,
        surroundings: Surroundings,
        keep_going: bool,
    ) -> None:
        self._run = run
        self._graph = graph
        self._has_handlers = any(node.when in HANDLERS for node in graph.nodes)
        self._config = config
        self._clock = config.clock
        self._time_ns = config.clock.time_ns
        self._monotonic_ns = config.clock.monotonic_ns
        self._checkpoints = checkpoints
        self._surroundings = surroundings
        self._dispatch = dispatch
        self._containment = containment
        self._background_queue = background_queue
        self._keep_going = keep_going
        self._wake = threading.Event()
        # Not `self.wake`: a signal handler must not set an Event, whose lock the interrupted thread may hold.
        self._interrupts = interrupts(self._wake_executor)
        self._executor = make_executor(self._interrupts)
        self._ready: deque[Node] = deque()
        self._running: dict[Attempt, Node] = {}
        self._retries: list[tuple[int, int, Node]] = []
        self._retry_count = 0
        self._done: deque[Node] = deque()
        self._opened: deque[Items] = deque()
        self._left: deque[Line] = deque()
        self._open_mapped: dict[Node, None] = {}
        self._failed = 0
        self._cancelling = False
        self._draining = False
        self._ending = False
        self._tracer_attaches = overridden(config.tracer, "attach")
        self._log_attaches = overridden(config.log, "attach")
        run.on_cancel = self.wake

    def wake(self) -> None:
        """Look again at what is to be done: called from any thread, when the run is cancelled or interrupted."""
        self._wake.set()
        if self._run.cancelled.is_set():
            self._executor.cancel_inner()
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
            self._run.on_cancel = None
            self._run.ended.set()

    def _drive_to_the_end(self) -> BaseException | None:
        started = self._monotonic_ns()
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
        for node in self._graph.nodes:
            if not node.waiting and node.ending is None:
                self._settle(node)
        self._tell_children()
        ready, running, interrupts, dispatch = self._ready, self._running, self._interrupts, self._dispatch
        executor = self._executor  # how many it takes at a time may change while it works
        while ready or running or self._retries:
            if interrupts.pending or dispatch.interrupt is not None:
                self._check()
            if self._run.cancelled.is_set() and not self._cancelling:
                self._cancel()
            while ready and len(running) < executor.slots and not self._draining:
                self._take(ready.popleft())
            if interrupts.pending or dispatch.interrupt is not None:
                self._check()
            self._await_something()
        self._check()

    def _take(self, node: Node) -> None:
        """A node has a slot: run it, unless its result is there already, or it must not start any more."""
        if not node.task.attempt:
            if (node.scope.stopped or self._cancelling or node.owner is not None) and self._must_not_start(node):
                self._leave_out(node, NOT_STARTED)
                self._tell_children()
                return
            if self._checkpoints.resumes and self._restore(node):
                return
        attempt = self._begin(node)
        self._running[attempt] = node
        self._executor.submit(attempt)

    def _check(self) -> None:
        """Raise what is to end the program: a Ctrl-C that was held back, or what a provider raised."""
        if self._interrupts.pending:
            self._interrupts.check()
        if self._dispatch.interrupt is not None:
            interrupt, self._dispatch.interrupt = self._dispatch.interrupt, None
            raise interrupt

    def _await_something(self) -> None:
        wait = self._until_next_retry() if self._retries else None
        if self._running:
            found = self._executor.next(wait)
            if found is not None:
                attempt, outcome = found
                self._end_attempt(self._running.pop(attempt), outcome)
                if self._draining:
                    self._draining = bool(self._running)
        elif wait is not None and wait > 0:
            with self._interrupts.let_through():
                self._interrupts.check()
                self._clock.wait(self._wake, wait)
            self._wake.clear()
        if self._retries:
            self._take_back_what_is_due()

    def _take_back_what_is_due(self) -> None:
        due: list[Node] = []
        while self._retries and self._retries[0][0] <= self._monotonic_ns():
            due.append(heapq.heappop(self._retries)[2])
        self._ready.extendleft(reversed(due))  # before what has not begun: its delay is over, however much waits

    def _until_next_retry(self) -> float:
        return max(0.0, (self._retries[0][0] - self._monotonic_ns()) / 1e9)

    def _close(self, started_monotonic_ns: int) -> None:
        run, dispatch = self._run, self._dispatch
        not_run = any(task.status is TypeStatus.NOT_STARTED and task.result is None for task in run.tasks)
        cancelled = run.result is TypeResult.CANCELLATION or (
            self._run.cancelled.is_set() and (self._failed or not_run)
        )
        failed = bool(cancelled or self._failed or run.result)
        run.status = TypeStatus.FAILED if failed else TypeStatus.COMPLETED
        run.result = TypeResult.CANCELLATION if cancelled else (TypeResult.FAILURE if failed else TypeResult.SUCCESS)
        run.duration = (self._monotonic_ns() - started_monotonic_ns) / 1e9
        run.finished_ns = self._now()
        try:
            self._checkpoints.close()
        except BaseException as error:  # noqa: BLE001 - ends the program, when all providers know how the run ended
            dispatch.interrupt = dispatch.interrupt or error
        dispatch.emit(dispatch.workflow_failed if failed else dispatch.workflow_completed, run)

    # --- the graph

    def _settle(self, node: Node) -> None:
        """All parents of a node have ended: decide what becomes of it. If it runs, it goes to its line, and from there to a slot."""
        if self._has_handlers and node.owner is None:
            parents = node.parents if node.items is None else node.all_parents()
            node.after_handlers = bool(parents) and _lead_handlers(parents)
        decision = self._decision(node)
        if decision != RUN:
            self._leave_out(node, decision)
            return
        if node.items is None:
            node.task.queued_ns = self._now()
            if self._dispatch.task_queued:
                self._dispatch.emit(self._dispatch.task_queued, node.task)
        if node.line is not None:
            node.entered = True
            if not node.line.enter(node):
                return  # until its turn comes
        if node.items is None:
            self._ready.append(node)
        else:
            self._take_turn(node)

    def _decision(self, node: Node) -> str:
        stopped = node.scope.stopped or (node.owner is not None and self._is_stopped(node))
        if node.when == SUCCESS and not stopped and not self._cancelling and node.items is None:
            for parent in node.parents:
                if parent.ending != WELL:
                    break
            else:
                return RUN  # as nearly always
        if self._cancelling and (self._ending or node.when != ALWAYS):
            return NOT_STARTED
        endings = [parent.ending or WELL for parent in node.parents]
        if node.orders_only:
            endings = [WELL if ending == FAILED else ending for ending in endings]
        if node.items is not None:
            goes_on = not stopped or node.after_handlers
            endings += [
                WELL if goes_on and parent.items is not None and parent.items.opened else parent.ending or WELL
                for parent in node.along()
            ]
        required = [
            each.ending or WELL
            for parent, nodes in node.edges
            if any(filling.parent is parent and not filling.has_default for filling in node.fillings)
            for each in nodes
        ]
        return decide(node.when, endings, required, stopped=stopped, after_handlers=node.after_handlers)

    def _is_stopped(self, node: Node) -> bool:
        """Whether something has failed in its scope, and for an item in that of its task."""
        if node.owner is None:
            return node.scope.stopped
        return node.scope.stopped or (node.owner.scope.stopped and not node.owner.after_handlers)

    def _must_not_start(self, node: Node) -> bool:
        if self._cancelling and (self._ending or (node.owner or node).when != ALWAYS):
            return True
        return self._is_stopped(node) and not node.is_exempt

    def _leave_out(self, node: Node, decision: str) -> None:
        """A node will not run."""
        task = node.task
        if decision == NOT_STARTED:
            node.ending = FAILED
        else:
            node.ending = SKIPPED if decision == TypeResult.SKIP else FAILED
            task.result = TypeResult(decision)
            task.reason = _why_not(node, decision)
            task.queued_ns = self._now()
            task.span = self._run.span
            self._dispatch.emit(self._dispatch.task_skipped, task)
        self._done.append(node)

    def _tell_children(self) -> None:
        """Tell the children of what has ended, and what that ends in turn."""
        done, opened, left = self._done, self._opened, self._left
        while done or opened or left:
            if opened:
                self._tell_followers(opened.popleft())
            elif done:
                self._let_go_of(done.popleft())
            else:  # not before: who is next is known when all who could be have entered
                head = left.popleft().leave()
                if head is not None:
                    self._take_turn(head)

    def _take_turn(self, node: Node) -> None:
        """A node is at the head of its line: it goes on, or, if it is mapped, its items do."""
        if node.items is None:
            self._ready.append(node)
            return
        decision = self._decision(node) if self._must_not_start(node) else RUN
        if decision == RUN:
            self._open_items(node)
            self._leave_line(node)
        else:
            self._leave_out(node, decision)

    def _leave_line(self, node: Node) -> None:
        """Once: a mapped task leaves to its items, any other when it has ended."""
        if node.entered and node.line is not None:
            node.entered = False
            self._left.append(node.line)

    def _let_go_of(self, node: Node) -> None:
        """A node has ended: its children, its parents' values, its line and the task that it is an item of are told."""
        if node.child is not None:
            self._tell(node.child)
            for child in node.more_children:
                self._tell(child)
        if node.items is not None and not node.items.opened:
            self._tell_followers(node.items)
        for parent in node.parents:
            if parent.value is not None and parent.value._pickled is not None:  # noqa: SLF001 - ours, beside the value
                parent.value._pickled.release()  # noqa: SLF001
        if node.entered:
            self._leave_line(node)
        if node.owner is not None and node.owner.items is not None:
            node.owner.items.left -= 1
            if not node.owner.items.left:
                self._close_items(node.owner, node.owner.items)

    def _tell_followers(self, items: Items) -> None:
        for node in items.followers:
            self._tell(node)

    def _tell(self, node: Node) -> None:
        """One of those that a node waits for has ended, or has got its items."""
        node.waiting -= 1
        if not node.waiting:
            self._settle(node)

    # --- a mapped task

    def _open_items(self, node: Node) -> None:
        """All that a mapped task needs is there: it starts, and so do its items, as far as they do not go along with others."""
        task, dispatch = node.task, self._dispatch
        task.queued_ns = task.started_ns = self._now()
        task.status = TypeStatus.IN_PROGRESS
        node.started_monotonic_ns = self._monotonic_ns()
        dispatch.emit(dispatch.task_queued, task)
        dispatch.emit(dispatch.mapped_started, task)
        self._open_mapped[node] = None
        try:
            found = items_of(node)
        except BaseException as error:
            if end_of_program(error) is not None:
                raise
            # It fails the task, whatever it is: keys come from the user's code.
            self._end_mapped(node, ErrorInfo.of(error))
            return
        initial = task._initial_context = task.initial_context.copy()  # noqa: SLF001 - that of the workflow stays as it is
        initial._pickled = Pickled(len(found))  # noqa: SLF001
        items, scope = node.items or Items(), Scope()
        for number, item in enumerate(found):
            child = node.item(task.item(item.key), number, scope, item.given)
            child.task.parents = tuple([parent.task for parent in item.parents])
            child.follow(item.parents)
            items.nodes.append(child)
        task.items, items.left, items.opened = [child.task for child in items.nodes], len(items.nodes), True
        for child in items.nodes:
            if not child.waiting:
                self._settle(child)
        self._opened.append(items)
        if not items.nodes:
            self._close_items(node, items)

    def _close_items(self, node: Node, items: Items) -> None:
        """The last item of a mapped task has ended."""
        node.value = Context([value.storage if (value := item.value) is not None else None for item in items.nodes])
        if any(item.ending not in (WELL, SKIPPED) for item in items.nodes):
            text = summary(node)
            cancelled = any(item.task.result is TypeResult.CANCELLATION for item in items.nodes)
            error = ErrorInfo("ItemsFailed", text, f"ItemsFailed: {text}\n")
            self._end_mapped(node, error, TypeResult.CANCELLATION if cancelled else TypeResult.FAILURE)
        elif items.nodes and all(item.ending == SKIPPED for item in items.nodes):
            node.value = None
            self._end_mapped(node, None, TypeResult.SKIP)
        else:
            self._end_mapped(node, None, TypeResult.SUCCESS)

    def _end_mapped(self, node: Node, error: ErrorInfo | None, result: TypeResult = TypeResult.FAILURE) -> None:
        task, dispatch = node.task, self._dispatch
        self._open_mapped.pop(node, None)
        node.has_run = True
        task.result, task.finished_ns = result, self._now()
        task.duration = (self._monotonic_ns() - node.started_monotonic_ns) / 1e9
        if node.value is not None:
            task._current_context = Context(  # noqa: SLF001 - the coordinator is the one writer of a task
                node.value, task_id=task.task_id, workflow_id=task.workflow_id, time=task.finished_ns
            )
        if error is not None:
            task.status = TypeStatus.FAILED
            task.errors.append(_task_error(1, error))
            self._run.first_error = self._run.first_error or task.errors[-1]
            node.ending = FAILED
            self._failed += 1
            dispatch.emit(dispatch.mapped_failed if task.items is not None else dispatch.mapped_failed_at_once, task)
            self._stop(node)
        else:
            task.status = TypeStatus.COMPLETED
            node.ending = SKIPPED if result is TypeResult.SKIP else WELL
            dispatch.emit(dispatch.mapped_completed, task)
        self._share(node)
        if task.callback is not None:
            self._call_back(task, task.callback)
        self._done.append(node)

    # --- a task

    def _restore(self, node: Node) -> bool:
        """Take a task's result from its checkpoint, if the run resumes and there is one.

        A storage that does not answer fails the task, without running it.
        """
        task = node.task
        try:
            context = self._checkpoints.find(node)
        except BaseException as error:
            if end_of_program(error) is not None:
                raise
            self._refuse(node, error)  # whatever it is
            return True
        if context is None:
            return False
        task._current_context = context  # noqa: SLF001
        task.status, task.result = TypeStatus.COMPLETED, TypeResult.RESTORED
        task.finished_ns = self._now()
        task.span = self._run.span  # nobody was told of its own: what is written about it belongs to the run's trace
        self._dispatch.emit(self._dispatch.task_restored, task)
        node.ending, node.has_run, node.value = WELL, True, value_of(task)
        self._share(node)
        self._done.append(node)
        self._tell_children()
        return True

    def _refuse(self, node: Node, error: BaseException) -> None:
        """Fail a task in place of running it."""
        self._begin(node)
        outcome = blank_outcome(self._clock).fail(error)
        outcome.final = True
        self._end_attempt(node, outcome)

    def _begin(self, node: Node) -> Attempt:
        task = node.task
        task.attempt += 1
        now = self._now()
        previous, arguments = inputs_of(node)
        if task.started_ns is None:
            task.started_ns = now
            task.status = TypeStatus.IN_PROGRESS
            node.started_monotonic_ns = self._monotonic_ns()
            if self._dispatch.task_started:
                self._dispatch.emit(self._dispatch.task_started, task)
                now = self._now()
        return self._begin_attempt(node, now, previous, arguments)

    def _begin_attempt(
        self, node: Node, now: int, previous: Source = None, arguments: dict[str, Source] | None = None
    ) -> Attempt:
        task = node.task
        task.status = TypeStatus.IN_PROGRESS
        task.attempt_started_ns = now
        calls = self._dispatch.attempt_started if task.spec.options.retry > 1 else self._dispatch.only_attempt_started
        if calls:
            self._dispatch.emit(calls, task)
        return Attempt(
            task.spec,
            task._initial_context,  # noqa: SLF001
            previous,
            arguments,
            task.task_id,
            task.workflow_id,
            task.carrier if self._tracer_attaches else _NOTHING,
            ids_of(task) if self._log_attaches else _NOTHING,
            NodeFacts(self._run, node),
            task.attempt,
            self._surroundings,
        )

    def _end_attempt(self, node: Node, outcome: Outcome) -> None:
        """An attempt has come back: store its value or note its error, then retry or end the task."""
        task = node.task
        self._place_in_time(task, outcome)
        for provider, method, error in outcome.provider_errors:
            self._containment.caught(self._run, provider, method, error)
        if outcome.inner is not None:
            self._take_over(task, *outcome.inner)
            outcome.inner = None
        retry = task.spec.options.retry
        may_retry = outcome.error is not None and outcome.result is not TypeResult.CANCELLATION and not outcome.final
        if outcome.error is None and outcome.result is not TypeResult.SKIP:
            self._store(node, outcome)
        if outcome.error is not None:
            task.errors.append(_task_error(task.attempt, outcome.error))
        task.outcome = outcome
        calls = self._dispatch.attempt_ended if retry > 1 else self._dispatch.only_attempt_ended
        if calls:
            self._dispatch.emit(calls, task)
        may_retry = may_retry and task.attempt < retry and not outcome.interrupt
        if may_retry and (not self._cancelling or ((node.owner or node).when == ALWAYS and not self._draining)):
            self._retry(node, outcome.retry_after)
        else:
            self._finish(node, outcome)
        if outcome.interrupt is not None:
            raise outcome.interrupt

    def _take_over(self, task: Task, records: list[Run], relayed: list[RelayedCall]) -> None:
        """The step has started runs in another process: they belong to the task, and what they had to tell is told here."""
        from dotflow.engine.replay import replay  # here, because few steps start runs

        task.inner_runs.extend(records)
        self._dispatch.emit(replay(relayed, self._config, self._dispatch, task.carrier), task)

    def _store(self, node: Node, outcome: Outcome) -> None:
        """Write the checkpoint; a value that cannot be kept turns the attempt into a failed one, without a retry."""
        task = node.task
        context = Context(
            outcome.value,
            task_id=task.task_id,
            workflow_id=task.workflow_id,
            time=outcome.started_ns + outcome.duration_ns,
            origin=self._checkpoints.origin,
        )
        try:
            context.provenance = self._checkpoints.provenance(node)
            self._checkpoints.keep(task, context)
        except BaseException as error:  # noqa: BLE001 - it fails the task, whatever it is
            outcome.interrupt = end_of_program(error)  # raised when the task has been ended
            outcome.fail(error, TypeResult.FAILURE if outcome.interrupt is None else TypeResult.CANCELLATION)
        else:
            task._current_context = context  # noqa: SLF001

    def _retry(self, node: Node, asked: float | None) -> None:
        task = node.task
        task.status = TypeStatus.RETRY
        task.retry_count += 1
        delay = task.retry_in = task.spec.options.delay_before(task.attempt + 1, self._config.rng, asked)
        self._dispatch.emit(self._dispatch.task_retrying, task)
        if delay <= 0:
            self._ready.appendleft(node)
            return
        self._retry_count += 1
        due = self._monotonic_ns() + round(delay * 1e9)
        heapq.heappush(self._retries, (due, self._retry_count, node))

    def _finish(self, node: Node, outcome: Outcome) -> None:
        task, dispatch = node.task, self._dispatch
        task.result = outcome.result
        task.finished_ns = self._now()
        task.duration = (self._monotonic_ns() - node.started_monotonic_ns) / 1e9
        node.has_run = True
        if outcome.error is not None:
            task.status = TypeStatus.FAILED
            node.ending = FAILED
            if node.owner is None:
                self._failed += 1
            if self._run.first_error is None:
                self._run.first_error, self._run.cause = task.errors[-1], outcome.cause
            outcome.cause = None
            dispatch.emit(dispatch.task_failed, task)
            self._stop(node)
        else:
            task.status = TypeStatus.COMPLETED
            if outcome.result is TypeResult.SKIP:
                task.reason = outcome.reason
                node.ending = SKIPPED
            else:
                node.ending = WELL
                node.value = task._current_context if not task.spec.is_class else value_of(task)  # noqa: SLF001
                if node.child is not None:
                    self._share(node)
            if dispatch.task_completed:
                dispatch.emit(dispatch.task_completed, task)
        if task.callback is not None:
            self._call_back(task, task.callback)
        if outcome.interrupt is not None:
            self._done.append(node)
        else:
            self._let_go_of(node)
            self._tell_children()

    def _stop(self, node: Node) -> None:
        """After a failure nothing more starts in its scope, unless the run keeps going."""
        if self._keep_going:
            return
        node.scope.stopped = True
        if node.owner is not None:
            node.owner.scope.stopped = True

    def _share(self, node: Node) -> None:
        """A value that several attempts get is pickled once."""
        child, more = node.child, node.more_children
        if child is not None and node.value is not None and (more or child.items is not None):
            node.value._pickled = Pickled(1 + len(more))  # noqa: SLF001

    def _call_back(self, task: Task, callback: Callable[..., object]) -> None:
        with self._interrupts.let_through():
            self._containment.call(self._run, "callback", task.task_id, lambda: callback(task=task))

    # --- ends before the end

    def _cancel(self) -> None:
        """Nothing new starts but what is to run always; what can be given up is."""
        self._cancelling = True
        self._draining = bool(self._running)
        self._executor.cancel()
        waiting = [node for _, _, node in self._retries] + [node for node in self._ready if node.task.attempt]
        not_begun = [node for node in self._ready if not node.task.attempt]
        self._retries.clear()
        self._ready.clear()
        for node in waiting:
            if node.when == ALWAYS and not self._ending:  # it was to run in any case, and still has an attempt
                self._ready.append(node)
                continue
            node.task.attempt += 1
            self._begin_attempt(node, self._now())
            self._end_as_cancelled(node, AttemptCancelled("the run was cancelled before this attempt began"))
        for node in not_begun:
            if self._must_not_start(node):
                self._leave_out(node, NOT_STARTED)
            else:
                self._ready.append(node)
        self._tell_children()

    def _abandon(self, cause: BaseException) -> None:
        """The program is being ended, or the engine itself has failed: end everything that was begun."""
        self._cancelling = self._ending = True
        self._run.result = TypeResult.FAILURE if isinstance(cause, Exception) else TypeResult.CANCELLATION
        running = [(node, self._executor.pid_of(attempt)) for attempt, node in self._running.items()]
        self._executor.cancel()
        patience = time.monotonic() + PATIENCE_SECONDS
        for attempt in self._running:
            inner_runs_of(attempt).settle(patience)
        self._running.clear()
        for node, pid in running:
            self._end_as_cancelled(node, cause, pid)
        self._cancel()
        while self._ready:  # what has come to the head of its line
            self._leave_out(self._ready.popleft(), NOT_STARTED)
            self._tell_children()
        for node in list(self._open_mapped):
            if node.task.items is None:  # what makes the keys of its items has ended the program
                self._end_mapped(node, ErrorInfo.of(cause), TypeResult.CANCELLATION)
            else:
                self._close_items(node, node.items or Items())

    def _end_as_cancelled(self, node: Node, cause: BaseException, pid: int | None = None) -> None:
        outcome = blank_outcome(self._clock)
        outcome.pid = pid or outcome.pid
        outcome.duration_ns = max(0, outcome.started_ns - node.task.attempt_started_ns)
        outcome.started_ns = node.task.attempt_started_ns
        outcome.fail(cause, TypeResult.CANCELLATION)
        if isinstance(cause, (KeyboardInterrupt, SystemExit)):
            outcome.error = _ended_with_the_program(cause)
        self._end_attempt(node, outcome)

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


def _lead_handlers(parents: Sequence[Node]) -> bool:
    """Whether what follows only these starts although something has failed."""
    for parent in parents:  # noqa: SIM110 - all() takes longer, and this is asked for every task
        if not parent.leads_handlers:
            return False
    return True


def _why_not(node: Node, decision: str) -> str:
    """Which parents are the reason that a task does not run."""
    ending = FAILED if decision == TypeResult.UPSTREAM_FAILED else SKIPPED
    parents = node.all_parents()
    names = [parent.task.task_id for parent in parents if parent.ending == ending]
    if not names:
        return "no parent failed" if decision == TypeResult.SKIP else ""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    word = "did not end well" if ending == FAILED else "skipped"
    return f"{', '.join(names[:_NAMED])}{more} {word}"


def _task_error(attempt: int, error: ErrorInfo) -> TaskError:
    return TaskError(attempt=attempt, exception=error.exception, message=error.message, traceback=error.traceback)
