"""TracerDatadog: runs, tasks and attempts as spans of ddtrace."""

from __future__ import annotations

import copyreg
import os
import sys
from typing import TYPE_CHECKING, Any

import ddtrace
from ddtrace.propagation.http import HTTPPropagator
from ddtrace.trace import Context, Tracer

from dotflow import abc
from dotflow.abc.provider import Dropped
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.names import spans as tags
from dotflow_datadog import names, options
from dotflow_datadog.carriers import Attached, context_of, environment, the_tracer
from dotflow_datadog.delivery import Delivery
from dotflow_datadog.spans import OpenSpan, end_strays, mark_failed, on_grid
from dotflow_datadog.worker import Origin, WorkerTracing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ddtrace.trace import Span

    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["TracerDatadog"]

_MOST_LINKS = 128
_GIVEN_UP = (TypeResult.TIMEOUT, TypeResult.CANCELLATION)


class TracerDatadog(abc.Tracer):
    """Makes `dotflow.workflow` > `dotflow.task` > `dotflow.attempt` (only where `retry` > 1), with the times of the events.

    The tracer is `ddtrace.trace.tracer`, of which a process has one: agent, sampling, `DD_ENV`, `DD_VERSION` and the rest are
    as the application or the `DD_*` variables have set them up. It is flushed at the end of every run and never shut down,
    and nothing is patched. With `DD_TRACE_ENABLED=false` no span is made.

    A run's root span has the run id as its trace id, unless it is started inside a span of the application's.

    Args:
        service: of the spans; default: that of the caller's span, else `DD_SERVICE`, else what ddtrace makes of the
            program's name.
        tags: put on every span that is made here, for instance `{"team": "data"}`.
        shutdown_timeout: seconds that the end of a run waits at most for spans to be sent. (The end of the program is
            ddtrace's own: it waits 3 s for an agent that is not there and 21 s for one that does not answer.)
        worker_setup: called once in every worker process, before its first attempt: to patch libraries there, for instance.
            A program that imports `ddtrace.auto`, or is run by `ddtrace-run`, has its workers patched without it.

    Raises:
        InvalidOption: an option that makes no sense.
    """

    def __init__(
        self,
        service: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        shutdown_timeout: float = 2.0,
        worker_setup: Callable[[], object] | None = None,
    ) -> None:
        options.check_service(service)
        options.check_seconds("shutdown_timeout", shutdown_timeout)
        options.check_worker_setup(worker_setup)
        self._service = service
        self._tags = options.checked_tags(tags)
        self._seconds = shutdown_timeout
        self._worker_setup = worker_setup
        self._tracer = the_tracer()
        self._delivery = Delivery()
        self._runs: dict[str, OpenSpan] = {}
        self._tasks: dict[tuple[str, str], OpenSpan] = {}
        self._attempts: dict[tuple[str, str], OpenSpan] = {}
        self._by_span_id: dict[str, Span] = {}
        # A step of the script whose globals hold the tracer takes it along to a worker, where there is one, too.
        copyreg.pickle(Tracer, _by_reference)

    # --- spans

    def start_workflow(self, workflow_id: str, run: Run | None = None, **kwargs: Any) -> None:
        """Open the span of a run: a child of the active span, else of `TRACEPARENT`, else a root."""
        if not self._tracer.enabled:
            return
        run_id, name = str(kwargs.get("run_id", "")), str(kwargs.get("name", workflow_id))
        self._delivery.begin()
        span = self._start(
            names.OPERATION_WORKFLOW, name, self._parent(run_id), run.started_ns if run else None, self._service
        )
        span.set_tags(
            {
                tags.WORKFLOW_NAME: name,
                tags.WORKFLOW_ID: workflow_id,
                tags.RUN_ID: run_id,
                tags.RUN_MODE: str(kwargs.get("mode", "")),
                tags.RUN_TRIGGER: str(kwargs.get("trigger", "")),
            }
        )
        if run is not None and run.continues is not None and run.continues.span_id:
            span.set_link(int(run.continues.trace_id, 16), int(run.continues.span_id, 16))
        HTTPPropagator.inject(span, {})  # decides whether the trace is sampled, by ddtrace's own rules
        self._runs[run_id] = OpenSpan(span)

    def end_workflow(self, workflow_id: str, run: Run | None = None, **kwargs: Any) -> None:
        """Close the span of a run."""
        del workflow_id
        opened = self._runs.pop(str(kwargs.get("run_id", "")), None)
        if opened is None:
            return
        failed = bool(kwargs.get("failed"))
        result = run.result if run and run.result else (TypeResult.FAILURE if failed else TypeResult.SUCCESS)
        opened.span.set_tag(tags.RESULT, result.value)
        if failed:
            _mark_failed_run(opened.span, run, result)
        end_ns = run.finished_ns if run else None
        if opened.has_strays:
            end_strays(self._tracer, opened.span, end_ns)
        opened.end(end_ns)
        self._delivery.end(opened.spans)

    def start_task(self, task: Task) -> None:
        """Open the span of a task."""
        above = self._above(task)
        if above is not None:
            opened = self._open(names.OPERATION_TASK, task, above, task.started_ns)
            self._link(opened, task)
            opened.span.set_tag(names.MEASURED)
            self._tasks[task.run_id, task.task_id] = opened

    def end_task(self, task: Task) -> None:
        """Close the span of a task; it is an error only if the task finally failed."""
        opened = self._close(self._tasks, task)
        if opened is None:
            return
        opened.span.set_tag(tags.TASK_STATUS, task.status.value)
        self._tag_end(opened.span, task, task.result or TypeResult.SUCCESS)
        if task.status is TypeStatus.FAILED and task.error:
            # With attempts as spans of their own, the stack stands on the attempt, once.
            mark_failed(opened.span, task.error, with_stack=not _has_attempts(task))
        opened.end(task.finished_ns)

    def restore_task(self, task: Task) -> None:
        """A span without duration for a task that was not run, its result `restored`."""
        self._mark(task, TypeResult.RESTORED)

    def skip_task(self, task: Task) -> None:
        """A span without duration for a task that did not run, its result `skip` or `upstream_failed`."""
        self._mark(task, task.result or TypeResult.SKIP)

    def _mark(self, task: Task, result: TypeResult) -> None:
        above = self._above(task)
        if above is None:
            return
        opened = self._open(names.OPERATION_TASK, task, above, task.queued_ns)
        self._link(opened, task)
        self._by_span_id.pop(opened.span_id, None)
        opened.root.marks[task.task_id] = opened.span
        opened.span.set_tag(tags.TASK_STATUS, task.status.value)
        self._tag_end(opened.span, task, result)
        opened.end(task.queued_ns)

    def _above(self, task: Task) -> OpenSpan | None:
        """The span that a task's is below: of an item that of its task, else that of the run."""
        if task.item_of is not None:
            found = self._tasks.get((task.run_id, task.item_of.task_id))
            if found is not None:
                return found
        return self._runs.get(task.run_id)

    @staticmethod
    def _link(opened: OpenSpan, task: Task) -> None:
        """Name its key and what it came after, and link to the spans of that."""
        if (key := task.key) is not None:
            opened.span.set_tag(tags.TASK_KEY, key)
        if not task.parents:
            return
        parents = task.parents[:_MOST_LINKS]
        opened.span.set_tag(tags.TASK_PARENTS, ",".join(parent.task_id for parent in parents))
        for parent in parents:
            marked = opened.root.marks.get(parent.task_id)
            if marked is not None:
                opened.span.set_link(marked.trace_id, marked.span_id)
            elif parent.span_carrier and parent.span is not None:
                opened.span.set_link(int(parent.span.trace_id, 16), int(parent.span.span_id, 16))

    def start_attempt(self, task: Task) -> None:
        """Open the span of an attempt, if the task may have more than one."""
        parent = self._tasks.get((task.run_id, task.task_id))
        if parent is not None and _has_attempts(task):
            opened = self._open(names.OPERATION_ATTEMPT, task, parent, task.attempt_started_ns)
            self._attempts[task.run_id, task.task_id] = opened

    def end_attempt(self, task: Task) -> None:
        """Close the span of an attempt, and what a step that was given up has left open below it."""
        outcome, opened = task.outcome, self._close(self._attempts, task)
        if outcome is None:
            return
        end_ns = outcome.started_ns + outcome.duration_ns
        if outcome.result in _GIVEN_UP and outcome.pid == os.getpid():
            self._end_strays(task, opened, end_ns)
        if opened is not None:
            self._tag_end(opened.span, task, outcome.result)
            if outcome.error is not None and task.error:
                mark_failed(opened.span, task.error, with_stack=True)
            opened.end(end_ns)

    # --- context

    def workflow_carrier(self, run: Run) -> dict[str, str]:
        """The W3C headers of a run's span."""
        opened = self._runs.get(run.run_id)
        return opened.headers if opened else {}

    def carrier(self, task: Task) -> dict[str, str]:
        """The W3C headers of a task's innermost open span."""
        key = (task.run_id, task.task_id)
        opened = self._attempts.get(key) or self._tasks.get(key)
        return opened.headers if opened else {}

    def attach(self, carrier: Mapping[str, str]) -> Attached:
        """Make the span the active one of ddtrace, so that what its integrations and the step open stands below it."""
        found = self._by_span_id.get(carrier.get("traceparent", "")[36:52])
        return Attached(self._tracer, context_of(carrier) if found is None else found)

    def for_worker(self) -> WorkerTracing:
        """What makes it the active one in worker processes, and sends what steps open there."""
        config = ddtrace.config
        return WorkerTracing(
            Origin(
                service=self._service or config.service,
                env=config.env,
                version=config.version,
                seconds=self._seconds,
                is_auto="ddtrace.auto" in sys.modules,
                set_up=self._worker_setup,
            )
        )

    def flush(self, timeout: float) -> None:
        """Have ddtrace send what is buffered, within `shutdown_timeout`."""
        if self._tracer.enabled:
            self._delivery.flush(self._tracer, min(timeout, self._seconds))

    def take_dropped(self) -> list[Dropped]:
        """The spans that no agent has taken."""
        return [Dropped(tags.SIGNAL, items, why) for items, why in self._delivery.take_lost()]

    def close(self, timeout: float) -> None:
        """The tracer is the application's, and is left alone."""
        del timeout
        self._delivery.close()

    def __repr__(self) -> str:
        return f"TracerDatadog(service={self._service!r})"

    def _parent(self, run_id: str) -> Span | Context | None:
        active = self._tracer.context_provider.active()
        found = environment() if active is None else {}
        if active is not None or found:
            return active or context_of(found)
        try:
            # A context that has a trace id, but no span to be the parent.
            return Context(trace_id=int(run_id, 16), is_remote=False)
        except ValueError:
            return None

    def _start(
        self,
        operation: str,
        resource: str,
        parent: Span | Context | None,
        start_ns: int | None,
        service: str | None = None,
    ) -> Span:
        span = self._tracer.start_span(
            operation, child_of=parent, service=service, resource=resource, span_type=names.TYPE
        )
        if start_ns is not None:
            span.start_ns = on_grid(start_ns)
        span.set_tags({names.COMPONENT: names.COMPONENT_VALUE, names.SPAN_KIND: names.SPAN_KIND_VALUE, **self._tags})
        return span

    def _open(self, operation: str, task: Task, parent: OpenSpan, start_ns: int | None) -> OpenSpan:
        span = self._start(operation, task.name, parent.span, start_ns)
        span.set_tags(
            {
                tags.WORKFLOW_NAME: task.workflow_name,
                tags.WORKFLOW_ID: task.workflow_id,
                tags.RUN_ID: task.run_id,
                tags.TASK_NAME: task.name,
                tags.TASK_ID: task.task_id,
                tags.TASK_GROUP: task.group_name,
                tags.CODE_FUNCTION_NAME: task.spec.function_name,
            }
        )
        span.set_metric(tags.ATTEMPT, task.attempt)
        opened = OpenSpan(span, parent)
        self._by_span_id[opened.span_id] = span
        return opened

    def _close(self, kind: dict[tuple[str, str], OpenSpan], task: Task) -> OpenSpan | None:
        opened = kind.pop((task.run_id, task.task_id), None)
        if opened is not None:
            self._by_span_id.pop(opened.span_id, None)
        return opened

    def _end_strays(self, task: Task, opened: OpenSpan | None, end_ns: int) -> None:
        above = opened or self._tasks.get((task.run_id, task.task_id))
        if above is not None:
            above.root.has_strays = True
            end_strays(self._tracer, above.span, end_ns)

    @staticmethod
    def _tag_end(span: Span, task: Task, result: TypeResult) -> None:
        span.set_tag(tags.RESULT, result.value)
        span.set_metric(tags.ATTEMPT, task.attempt)
        if task.outcome is not None:
            span.set_metric(tags.PROCESS_PID, task.outcome.pid)
            span.set_tag(tags.HOST_NAME, task.outcome.host)
            for name, value in task.recorded.items():
                span.set_metric(tags.RECORDED_PREFIX + name, value)


def _has_attempts(task: Task) -> bool:
    return task.spec.options.retry > 1


def _mark_failed_run(span: Span, run: Run | None, result: TypeResult) -> None:
    failed = [task for task in run.tasks if task.status is TypeStatus.FAILED] if run else []
    first = failed[0].error if failed else None
    span.error = 1
    span.set_tag(names.ERROR_TYPE, first.exception if first else result.value)
    span.set_tag(names.ERROR_MESSAGE, f"failed: {', '.join(task.task_id for task in failed[:10]) or result.value}")


def _by_reference(tracer: Tracer) -> tuple[Callable[[], Tracer], tuple[()]]:
    del tracer
    return the_tracer, ()
