"""TracerOpenTelemetry: runs, tasks and attempts as spans."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, Span, Status, StatusCode, TraceFlags
from opentelemetry.trace import SpanContext as OtelSpanContext

from dotflow.abc import Tracer
from dotflow.abc.provider import Dropped
from dotflow.errors import InvalidOption
from dotflow.model.modes import SCHEDULE
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.names import spans as names
from dotflow.version import version
from dotflow_otel.export.target import target_of
from dotflow_otel.options import check_provider, check_timeout
from dotflow_otel.shortened import MESSAGE, STACKTRACE, shortened
from dotflow_otel.tracing.attributes import MOST_LINKS, Attributes, Capture
from dotflow_otel.tracing.carriers import Attached, Headers, baggage_of, callers_context, extract, has_span
from dotflow_otel.tracing.destination import Destination
from dotflow_otel.tracing.ids import RunIdGenerator
from dotflow_otel.tracing.pipeline import Pipeline, foreign_pipeline, private_pipeline
from dotflow_otel.tracing.worker import WorkerTracing, is_auto_instrumented

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context

    from dotflow.model.outcome import Outcome, TaskError
    from dotflow.model.run import Run
    from dotflow.model.task import Task

__all__ = ["TracerOpenTelemetry"]


_NO_MARKS: dict[str, OtelSpanContext] = {}  # of all spans but those of runs, which have their own
_TASK_SPAN = names.TASK_SPAN.format(name="")  # put together once, as it is done for every task


class TracerOpenTelemetry(Tracer):
    """Makes `workflow {name}` > `task {name}` > `attempt` (only where `retry` > 1), with the times of the events.

    Which tracer provider is used: `tracer_provider`; else, if neither `endpoint` nor `file` is given, the global one if
    the application has set one; else a private one, which honours the `OTEL_*` variables. Only the private one is shut
    down. A run's root span has the run id as its trace id, with any provider but one that makes ids of a kind of its own.

    Args:
        service_name: `service.name` of the private provider; default: `OTEL_SERVICE_NAME`, else `dotflow`.
        tracer_provider: an SDK provider of the application's own.
        endpoint: base URL for OTLP; default: `OTEL_EXPORTER_OTLP_ENDPOINT`. With none, nothing is sent.
        file: append OTLP JSON lines to this file, as well as sending them where there is an endpoint.
        shutdown_timeout: seconds that a flush, and the end of the program, wait at most for spans to be sent.
        protocol: `http/protobuf` or `grpc` (extra `otel-grpc`); default: `OTEL_EXPORTER_OTLP_PROTOCOL`, else HTTP.
        set_global: make the private provider the global one, so that the spans that steps and instrumented libraries
            open are exported with ours. Never done unasked, and never in place of one that is set. (In worker processes it
            is always done: they are ours.)
        worker_setup: called once in every worker process, before its first attempt: to set a global tracer provider there
            (needed where the application's own is used and the environment does not say where it sends to), or to
            instrument libraries. What `opentelemetry-instrument` has set up here it sets up there, too.
        cicd: repeat names, ids and results as `cicd.pipeline.*`, for backends that know pipelines by those.
        capture_contexts: put the contexts of a task on its span, as text. They may hold secrets, hence never unasked.
        capture_limit: characters of each context at most.
        redact: `redact(name, value)` returns what is shown in place of a context; `name` is that of the attribute.

    Raises:
        InvalidOption: an option that makes no sense, or a provider together with `endpoint`, `file` or `set_global`.
        InvalidChoice: a protocol that is not known.
        OSError: the file cannot be opened.
    """

    every_attempt = False

    def __init__(
        self,
        service_name: str | None = None,
        tracer_provider: trace.TracerProvider | None = None,
        endpoint: str | None = None,
        file: str | Path | None = None,
        shutdown_timeout: float = 2.0,
        *,
        protocol: str | None = None,
        set_global: bool = False,
        worker_setup: Callable[[], object] | None = None,
        cicd: bool = False,
        capture_contexts: bool = False,
        capture_limit: int = 1024,
        redact: Callable[[str, Any], Any] | None = None,
    ) -> None:
        if worker_setup is not None and not callable(worker_setup):
            raise InvalidOption(f"worker_setup={worker_setup!r}: a function without parameters")
        if tracer_provider is not None and (endpoint or file or set_global):
            raise InvalidOption("tracer_provider=... exports by itself: leave out endpoint, file and set_global")
        check_provider("tracer_provider", tracer_provider, "TracerProvider")
        check_timeout(shutdown_timeout)
        target_of("traces", endpoint, protocol)
        self._service_name = service_name
        self._given = tracer_provider
        self._endpoint = endpoint or None
        self._protocol = protocol
        self._file = Path(file).absolute() if file is not None else None
        self._seconds = shutdown_timeout
        self._worker_setup = worker_setup
        self._captures = capture_contexts
        self._cicd = cicd
        self._attributes = Attributes(
            cicd=cicd, capture=Capture(_checked_limit(capture_limit), redact) if capture_contexts else None
        )
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._lost: list[tuple[int, str]] = []
        self._tracer: trace.Tracer = trace.NoOpTracer()
        self._ids: RunIdGenerator | None = None
        self._follows_parents = False
        self._runs: dict[str, _Open] = {}
        self._tasks: _Spans = {}
        self._attempts: _Spans = {}
        if file is not None or set_global:
            self._begin(set_global=set_global)

    @property
    def provider(self) -> trace.TracerProvider:
        """The tracer provider in use; asking for it settles which one that is."""
        return self._begin().provider

    # --- spans

    def start_workflow(self, workflow_id: str, run: Run | None = None, **kwargs: Any) -> None:
        """Open the span of a run: a child of the caller's span, else of `TRACEPARENT`, else a root.

        That of a scheduled run is always a root, with a link to what would have been its parent.
        """
        run_id, name = str(kwargs.get("run_id", "")), str(kwargs.get("name", workflow_id))
        self._begin(anew=True)
        parent, links = callers_context(), _link_to_earlier(run)
        if kwargs.get("trigger") == SCHEDULE and has_span(parent):
            # Every tick is a trace of its own, whatever span the schedule was started in.
            links.append(Link(trace.get_current_span(parent).get_span_context()))
            parent = trace.set_span_in_context(trace.INVALID_SPAN, parent)
        if self._ids is not None:
            self._ids.use_next(None if has_span(parent) else _as_trace_id(run_id))
        span = self._tracer.start_span(
            names.WORKFLOW_SPAN.format(name=name),
            context=parent,
            attributes=self._attributes.of_run(
                workflow_id, name, run_id, str(kwargs.get("mode", "")), str(kwargs.get("trigger", ""))
            ),
            links=links,
            start_time=run.started_ns if run else None,
        )
        opened = self._runs[run_id] = _Open(span, parent)
        opened.marks = {}

    def end_workflow(self, workflow_id: str, run: Run | None = None, **kwargs: Any) -> None:
        """Close the span of a run."""
        del workflow_id
        opened = self._runs.pop(str(kwargs.get("run_id", "")), None)
        if opened is None:
            return
        failed = bool(kwargs.get("failed"))
        result = run.result if run and run.result else (TypeResult.FAILURE if failed else TypeResult.SUCCESS)
        opened.span.set_attributes(self._attributes.of_ended_run(result))
        if failed:
            self._mark_failed_run(opened.span, run, result)
        opened.span.end(end_time=run.finished_ns if run else None)

    def start_task(self, task: Task) -> None:
        """Open the span of a task."""
        span = self._open(
            self._tasks, task, _TASK_SPAN + task.name, self._above(task), task.started_ns, self._links(task)
        )
        if self._captures and span.is_recording():
            span.set_attributes(self._attributes.of_input(task))

    def end_task(self, task: Task) -> None:
        """Close the span of a task; it is an error only if the task finally failed."""
        span = self._close(self._tasks, task)
        if span is None:
            return
        values = self._attributes.of_end(task, task.result or TypeResult.SUCCESS)
        values[names.TASK_STATUS] = task.status.value
        if self._captures:
            values |= self._attributes.of_output(task)
        span.set_attributes(values)
        if task.status is TypeStatus.FAILED and task.error:
            # With attempts as spans of their own, the exception stands on the attempt, once.
            _mark_failed(span, task.error, None if _has_attempts(task) else task.outcome)
        span.end(end_time=task.finished_ns)

    def restore_task(self, task: Task) -> None:
        """A span without duration for a task that was not run, its result `restored`."""
        self._mark(task, TypeResult.RESTORED)

    def skip_task(self, task: Task) -> None:
        """A span without duration for a task that did not run, its result `skip` or `upstream_failed`."""
        self._mark(task, task.result or TypeResult.SKIP)

    def _mark(self, task: Task, result: TypeResult) -> None:
        above = self._above(task)
        span = self._open(self._tasks, task, _TASK_SPAN + task.name, above, task.queued_ns, self._links(task))
        run = self._runs.get(task.run_id)
        if run is not None:
            run.marks[task.task_id] = span.get_span_context()
        closed = self._close(self._tasks, task)
        if closed is not None:
            closed.set_attributes({**self._attributes.of_end(task, result), names.TASK_STATUS: task.status.value})
            closed.end(end_time=task.queued_ns)

    def _above(self, task: Task) -> _Open | None:
        """The span that a task's is below: of an item that of its task, else that of the run."""
        if task.item_of is not None:
            found = self._tasks.get((task.run_id, task.item_of.task_id))
            if found is not None:
                return found
        return self._runs.get(task.run_id)

    def _links(self, task: Task) -> list[Link]:
        """To the spans of what it came after."""
        run = self._runs.get(task.run_id)
        if not task.parents or run is None or run.is_unsampled:
            return []
        found = []
        for parent in task.parents[:MOST_LINKS]:
            carrier = parent.span_carrier
            context = carrier.span_context if type(carrier) is _Open else run.marks.get(parent.task_id)
            if context is not None and context.is_valid:
                found.append(Link(context))
        return found

    def start_attempt(self, task: Task) -> None:
        """Open the span of an attempt, if the task may have more than one."""
        if _has_attempts(task):
            parent = self._tasks.get((task.run_id, task.task_id))
            self._open(self._attempts, task, names.ATTEMPT_SPAN, parent, task.attempt_started_ns)

    def end_attempt(self, task: Task) -> None:
        """Close the span of an attempt."""
        if not self._attempts:
            return
        span, outcome = self._close(self._attempts, task), task.outcome
        if span is None or outcome is None:
            return
        span.set_attributes(self._attributes.of_end(task, outcome.result))
        if outcome.error is not None and task.error:
            _mark_failed(span, task.error, outcome)
        span.end(end_time=outcome.started_ns + outcome.duration_ns)

    # --- context

    def workflow_carrier(self, run: Run) -> Mapping[str, str]:
        """The W3C headers of a run's span."""
        opened = self._runs.get(run.run_id)
        return opened if opened is not None else {}

    def carrier(self, task: Task) -> Mapping[str, str]:
        """The W3C headers of a task's innermost open span."""
        key = (task.run_id, task.task_id)
        opened = self._attempts.get(key) if self._attempts else None
        if opened is None:
            opened = self._tasks.get(key)
        return opened if opened is not None else {}

    def attach(self, carrier: Mapping[str, str]) -> AbstractContextManager[None]:
        """Make the span current: here the span itself, in another process a remote parent."""
        context = carrier.context if type(carrier) is _Open else None  # isinstance() of a Mapping takes its time
        return Attached(extract(carrier) if context is None else context)

    def for_worker(self) -> WorkerTracing:
        """Where the spans go that steps open in worker processes."""
        pipeline = self._begin()
        return WorkerTracing(
            Destination(
                resource=pipeline.resource,
                target=target_of("traces", self._endpoint, self._protocol),
                file=str(self._file) if self._file else None,
                seconds=self._seconds,
                set_up=self._worker_setup,
                auto_instrumented=is_auto_instrumented(),
                cicd=self._cicd,
            )
        )

    def flush(self, timeout: float) -> None:
        """Send what is buffered, within `shutdown_timeout`."""
        if self._pipeline is not None:
            self._pipeline.flush(min(timeout, self._seconds))

    def take_dropped(self) -> list[Dropped]:
        """The spans that our own exporters could not deliver."""
        lost, self._lost = self._lost, []
        lost += self._pipeline.take_lost() if self._pipeline is not None else []
        return [Dropped(names.SIGNAL, items, why) for items, why in lost]

    def close(self, timeout: float) -> None:
        """Shut the private provider down; one of the application's is left alone. A later run begins a new one.

        It is only flushed, and ends with the program, where others need it: as the global one, or by a run that another
        workflow with this tracer has not ended yet.
        """
        pipeline = self._pipeline
        if pipeline is None or not pipeline.is_ours:
            return
        is_needed = self._runs or trace.get_tracer_provider() is pipeline.provider
        end = pipeline.flush if is_needed else pipeline.close
        end(min(timeout, self._seconds))

    def _begin(self, *, set_global: bool = False, anew: bool = False) -> Pipeline:
        """Settle which provider is used, at the first run: the application has had its time to set one up.

        `anew`: one that has been closed will not do.
        """
        with self._lock:
            if self._pipeline is None or (anew and self._pipeline.is_closed):
                self._lost += self._pipeline.take_lost() if self._pipeline is not None else []
                self._pipeline = self._choose()
                self._tracer = self._pipeline.provider.get_tracer(names.SCOPE, version())
                self._ids = self._pipeline.ids or _ids_of_our_own(self._tracer)
                self._follows_parents = _follows_parents(self._tracer)
            if set_global and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                trace.set_tracer_provider(self._pipeline.provider)
            return self._pipeline

    def _choose(self) -> Pipeline:
        asked_for = self._endpoint is not None or self._file is not None
        found = None if asked_for else foreign_pipeline(self._given)
        return found or private_pipeline(
            service_name=self._service_name,
            target=target_of("traces", self._endpoint, self._protocol),
            file=self._file,
            seconds=self._seconds,
        )

    def _open(
        self,
        kind: _Spans,
        task: Task,
        name: str,
        parent: _Open | None,
        start_ns: int | None,
        links: Sequence[Link] = (),
    ) -> Span:
        if parent is not None and parent.is_unsampled and self._follows_parents:
            kind[task.run_id, task.task_id] = parent  # one span stands for all that are not there
            return parent.span
        context = parent.context if parent is not None else None
        if context is None:
            context = otel_context.get_current()
        attributes = self._attributes.of_task(task)
        if kind is self._tasks and task.parents:
            attributes[names.TASK_PARENTS] = tuple([above.task_id for above in task.parents[:MOST_LINKS]])
        if kind is self._tasks and (key := task.key) is not None:
            attributes[names.TASK_KEY] = key
        span = self._tracer.start_span(name, context, attributes=attributes, links=links, start_time=start_ns)
        kind[task.run_id, task.task_id] = _Open(span, context, parent)
        return span

    def _close(self, kind: _Spans, task: Task) -> Span | None:
        """The span that is to be ended, if there is one that records. What is left of it are its ids."""
        opened = kind.pop((task.run_id, task.task_id), None)
        if opened is None or not opened.is_recording:
            return None
        span, opened.span, opened.context = opened.span, trace.INVALID_SPAN, None
        return span

    @staticmethod
    def _mark_failed_run(span: Span, run: Run | None, result: TypeResult) -> None:
        failed = [task for task in run.tasks if task.status is TypeStatus.FAILED] if run else []
        first = failed[0].error if failed else None
        span.set_attribute(names.ERROR_TYPE, first.exception if first else result.value)
        text = ", ".join(task.task_id for task in failed[:10]) or result.value
        span.set_status(Status(StatusCode.ERROR, f"failed: {text}"))


def _ids_of_our_own(tracer: trace.Tracer) -> RunIdGenerator | None:
    """Give our tracer, and no other of the application's provider, ids that a step which seeds `random` does not repeat.

    So the run id can be the trace id there as well. Ids of a kind of the application's own (X-Ray's) are left alone: None.
    """
    sdk = sys.modules.get("opentelemetry.sdk.trace.id_generator")
    if sdk is None or type(getattr(tracer, "id_generator", None)) is not sdk.RandomIdGenerator:
        return None
    ids = tracer.id_generator = RunIdGenerator()  # type: ignore[attr-defined]  # of the SDK's tracers
    return ids


def _follows_parents(tracer: trace.Tracer) -> bool:
    """Whether no span below an unsampled one can be sampled, so that the sampler need not be asked for each of them."""
    sampling = sys.modules.get("opentelemetry.sdk.trace.sampling")
    if sampling is None:  # a tracer of another make
        return False
    sampler = getattr(tracer, "sampler", None)
    if isinstance(sampler, sampling.ParentBased):
        sampler = getattr(sampler, "_local_parent_not_sampled", None)  # if that is not there any more, it is asked
    return sampler is sampling.ALWAYS_OFF


def _checked_limit(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidOption(f"capture_limit={limit!r}: a number of characters, at least 1")
    return limit


class _Open(Headers):
    """A span that is open, the context in which it is the current one, and the W3C headers that name it: all in one.

    It is always the same object, so whoever asks twice can see that nothing has changed. The task keeps it for its ids when
    the span has ended, without the span. That of a run has in `marks` the ids of the tasks that did not run in it.
    """

    __slots__ = ("is_recording", "is_unsampled", "marks", "span", "span_context")

    def __init__(self, span: Span, context: Context, parent: _Open | None = None) -> None:
        # Without super(), as it is done for every task. A child has its parent's baggage.
        self.span_context = span.get_span_context()
        self._trace_id, self._span_id, _, flags, self._trace_state, self._is_valid = self.span_context
        self._flags = int(flags)
        self._written = None
        self.context = trace.set_span_in_context(span, context)
        self.baggage = parent.baggage if parent is not None else baggage_of(context)
        self.span = span
        self.marks: dict[str, OtelSpanContext] = _NO_MARKS
        self.is_recording = span.is_recording()
        self.is_unsampled = not (self.is_recording or self._flags & TraceFlags.SAMPLED)


_Spans = dict[tuple[str, str], _Open]
"""The open spans of a kind, by run id and task id."""


def _mark_failed(span: Span, error: TaskError, record: Outcome | None) -> None:
    """Make the span an error; with an outcome, also record its exception at the time it ended."""
    span.set_attribute(names.ERROR_TYPE, error.exception)
    message = shortened(error.message, MESSAGE)
    span.set_status(Status(StatusCode.ERROR, f"{error.exception}: {message}"))
    if record is not None:
        span.add_event(
            names.EXCEPTION_EVENT,
            {
                names.EXCEPTION_TYPE: error.exception,
                names.EXCEPTION_MESSAGE: message,
                names.EXCEPTION_STACKTRACE: shortened(error.traceback, STACKTRACE),
            },
            timestamp=record.started_ns + record.duration_ns,
        )


def _has_attempts(task: Task) -> bool:
    return task.spec.options.retry > 1


def _link_to_earlier(run: Run | None) -> list[Link]:
    """A resumed run is a trace of its own, linked to the one that it continues."""
    earlier = run.continues if run else None
    if earlier is None or not earlier.span_id:
        return []
    flags = TraceFlags(TraceFlags.SAMPLED if earlier.sampled else TraceFlags.DEFAULT)
    return [
        Link(OtelSpanContext(int(earlier.trace_id, 16), int(earlier.span_id, 16), is_remote=True, trace_flags=flags))
    ]


def _as_trace_id(run_id: str) -> int | None:
    try:
        return int(run_id, 16)
    except ValueError:
        return None
