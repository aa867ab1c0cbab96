"""Spans as an OTLP endpoint receives them: real protobuf over real HTTP."""

from __future__ import annotations

import itertools
import os
import platform
import socket
import subprocess
import sys
import textwrap

import pytest
from opentelemetry import baggage, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from dotflow import Config, DotFlow, action
from dotflow.names import spans as names
from dotflow.providers import TracerOpenTelemetry
from support.otlp import OtlpEndpoint, ReceivedSpan

UNSET, ERROR = 0, 2


@pytest.fixture
def endpoint():
    with OtlpEndpoint() as listening:
        yield listening


def failing_first(times: int):
    """A step that fails so often before it succeeds, and opens a span of its own in every attempt."""
    calls = itertools.count(1)

    @action(retry=times + 1, name="flaky")
    def step():
        with tracer_of_the_step().start_as_current_span("inside"):
            if next(calls) <= times:
                raise ConnectionError("not yet")

    return step


def tracer_of_the_step() -> trace.Tracer:
    # The step's own spans go to the provider that the test made current for it, as an application's global one would.
    return _provider.get_tracer("step")


_provider: trace.TracerProvider = trace.NoOpTracerProvider()


def run(endpoint: OtlpEndpoint, *steps, **start):
    global _provider  # noqa: PLW0603 - stands in for an application's global provider
    tracer = TracerOpenTelemetry(service_name="wire", endpoint=endpoint.url)
    with DotFlow(Config(tracer=tracer), name="etl", workflow_id="w-1") as workflow:
        _provider = tracer.provider
        workflow.task.add(step=list(steps))
        return workflow.start(**start)


@action
def plain():
    return 1


@action
def broken():
    raise ValueError("bad row 17")


def inside(child: ReceivedSpan, parent: ReceivedSpan) -> bool:
    return parent.start_ns <= child.start_ns <= child.end_ns <= parent.end_ns


def test_the_tree_is_workflow_task_attempt_and_the_steps_own_span(endpoint):
    run_ = run(endpoint, plain, failing_first(2))
    root = endpoint.one("workflow etl")
    assert root.trace_id == run_.run_id == run_.trace_id
    assert root.parent_id == ""
    assert {span.trace_id for span in endpoint.spans} == {run_.run_id}
    assert [span.name for span in endpoint.children(root)] == ["task plain", "task flaky"]
    attempts = endpoint.children(endpoint.one("task flaky"))
    assert [span.name for span in attempts] == ["attempt"] * 3
    assert [span.attributes[names.ATTEMPT] for span in attempts] == [1, 2, 3]
    for attempt in attempts:
        (own,) = endpoint.children(attempt)
        assert own.name == "inside"
        assert own.scope == "step"
    assert endpoint.children(endpoint.one("task plain")) == []
    assert len(endpoint.spans) == 1 + 2 + 3 + 3


def test_times_lie_inside_each_other(endpoint):
    run(endpoint, plain, failing_first(2))
    by_id = {span.span_id: span for span in endpoint.spans}
    nested = [span for span in endpoint.spans if span.parent_id]
    assert len(nested) == 8
    for span in nested:
        assert inside(span, by_id[span.parent_id]), span.name
    root = endpoint.one("workflow etl")
    first, second = endpoint.children(root)
    assert first.end_ns <= second.start_ns
    attempts = endpoint.children(second)
    assert all(before.end_ns <= after.start_ns for before, after in itertools.pairwise(attempts))


def test_statuses_an_error_that_was_retried_to_success_is_none_of_its_surroundings(endpoint):
    run(endpoint, failing_first(1))
    first, second = endpoint.children(endpoint.one("task flaky"))
    assert (first.status, second.status) == (ERROR, UNSET)
    assert first.attributes[names.RESULT] == "failure"
    assert first.attributes[names.ERROR_TYPE] == "ConnectionError"
    assert second.attributes[names.RESULT] == "success"
    assert names.ERROR_TYPE not in second.attributes
    for name in ("task flaky", "workflow etl"):
        assert endpoint.one(name).status == UNSET
        assert endpoint.one(name).attributes[names.RESULT] == "success"


def test_an_exception_is_recorded_once_where_it_happened(endpoint):
    run(endpoint, failing_first(1), broken)
    recorded = [(span.name, event) for span in endpoint.spans if span.scope == "dotflow" for event in span.events]
    assert [name for name, _ in recorded] == ["attempt", "task broken"]
    _, (name, time_ns, attributes) = recorded[1]
    task = endpoint.one("task broken")
    assert name == names.EXCEPTION_EVENT
    assert task.start_ns <= time_ns <= task.end_ns
    assert attributes[names.EXCEPTION_TYPE] == "ValueError"
    assert attributes[names.EXCEPTION_MESSAGE] == "bad row 17"
    assert 'raise ValueError("bad row 17")' in attributes[names.EXCEPTION_STACKTRACE]
    assert "coordinator" not in attributes[names.EXCEPTION_STACKTRACE]


def test_a_failed_run_names_its_task(endpoint):
    run(endpoint, plain, broken)
    root = endpoint.one("workflow etl")
    assert root.status == ERROR
    assert root.status_message == "failed: broken"
    assert root.attributes[names.ERROR_TYPE] == "ValueError"
    assert endpoint.one("task broken").status_message == "ValueError: bad row 17"


def test_attributes_are_the_vocabulary(endpoint):
    run_ = run(endpoint, plain, failing_first(1))
    assert endpoint.one("workflow etl").attributes == {
        names.WORKFLOW_NAME: "etl",
        names.WORKFLOW_ID: "w-1",
        names.RUN_ID: run_.run_id,
        names.RUN_MODE: "sequential",
        names.RUN_TRIGGER: "manual",
        names.RESULT: "success",
    }
    task = run_.tasks[0]
    assert task.outcome is not None
    assert (task.outcome.pid, task.outcome.host) == (os.getpid(), platform.node())
    assert endpoint.one("task plain").attributes == {
        names.WORKFLOW_NAME: "etl",
        names.WORKFLOW_ID: "w-1",
        names.RUN_ID: run_.run_id,
        names.TASK_NAME: "plain",
        names.TASK_ID: "plain",
        names.TASK_GROUP: "default",
        names.TASK_STATUS: "Completed",
        names.ATTEMPT: 1,
        names.RESULT: "success",
        names.CODE_FUNCTION_NAME: f"{plain.__module__}.plain",
        names.PROCESS_PID: task.outcome.pid,
        names.HOST_NAME: task.outcome.host,
    }
    assert all(span.attributes[names.RUN_ID] == run_.run_id for span in endpoint.spans if span.scope == "dotflow")
    assert endpoint.spans[0].resource["service.name"] == "wire"


def test_a_timeout_is_told_apart(endpoint):
    import threading

    gate = threading.Event()

    @action(timeout=0.05)
    def stuck():
        gate.wait(60)

    run(endpoint, stuck)
    gate.set()
    task = endpoint.one("task stuck")
    assert task.attributes[names.RESULT] == "timeout"
    assert task.attributes[names.ERROR_TYPE] == "AttemptTimeout"
    assert task.status == ERROR


def test_the_run_joins_the_callers_trace(endpoint):
    tracer = TracerOpenTelemetry(endpoint=endpoint.url)
    with DotFlow(Config(tracer=tracer), name="etl") as workflow:
        workflow.task.add(step=plain)
        with tracer.provider.get_tracer("app").start_as_current_span("request"):
            run_ = workflow.start()
    request, root = endpoint.one("request"), endpoint.one("workflow etl")
    assert root.parent_id == request.span_id
    assert root.trace_id == request.trace_id == run_.trace_id != run_.run_id
    assert root.attributes[names.RUN_ID] == run_.run_id


def test_a_background_run_joins_the_callers_trace_too(endpoint):
    tracer = TracerOpenTelemetry(endpoint=endpoint.url)
    with DotFlow(Config(tracer=tracer), name="etl") as workflow:
        workflow.task.add(step=plain)
        with tracer.provider.get_tracer("app").start_as_current_span("request"):
            run_ = workflow.start(mode="background")
        run_.wait(10)
    assert endpoint.one("workflow etl").parent_id == endpoint.one("request").span_id


def test_the_environment_names_the_parent(endpoint, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    run_ = run(endpoint, plain)
    root = endpoint.one("workflow etl")
    assert (root.trace_id, root.parent_id) == ("ab" * 16, "cd" * 8)
    assert run_.trace_id == "ab" * 16


def test_a_provider_of_the_applications_is_used_and_left_open(endpoint):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.url}/v1/traces")))
    with DotFlow(Config(tracer=TracerOpenTelemetry(tracer_provider=provider)), name="etl") as workflow:
        workflow.task.add(step=plain)
        run_ = workflow.start()
    root = endpoint.one("workflow etl")
    assert root.trace_id == run_.trace_id == run_.run_id
    assert root.attributes[names.RUN_ID] == run_.run_id
    provider.get_tracer("after").start_span("still open").end()
    assert endpoint.named("still open")
    provider.shutdown()


def test_ids_of_a_kind_of_the_applications_own_are_left_alone_and_the_run_tells_which(endpoint):
    class Ids(RandomIdGenerator):
        """As X-Ray's: the first digits say when."""

        def generate_trace_id(self):
            return super().generate_trace_id() >> 32 | 0x5F3759DF << 96

    provider = TracerProvider(id_generator=Ids())
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.url}/v1/traces")))
    with DotFlow(Config(tracer=TracerOpenTelemetry(tracer_provider=provider)), name="etl") as workflow:
        workflow.task.add(step=plain)
        run_ = workflow.start()
    provider.shutdown()
    root = endpoint.one("workflow etl")
    assert root.trace_id.startswith("5f3759df")
    assert root.trace_id == run_.trace_id != run_.run_id
    assert root.attributes[names.RUN_ID] == run_.run_id


def test_nothing_is_made_global_unasked(endpoint):
    run(endpoint, plain)
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_a_step_that_seeds_random_does_not_repeat_ids(endpoint):
    import random

    @action(retry=2, name="seeded")
    def seeded():
        random.seed(42)
        raise ValueError

    runs = [run(endpoint, seeded) for _ in range(3)]
    assert len({r.run_id for r in runs}) == 3
    assert len({span.span_id for span in endpoint.spans}) == len(endpoint.spans) == 3 * 4


def test_ratio_sampling_sees_random_run_ids(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    tracer = TracerOpenTelemetry(endpoint=endpoint.url)
    with DotFlow(Config(tracer=tracer)) as workflow:
        workflow.task.add(step=plain)
        runs = [workflow.start() for _ in range(400)]
    sampled = sum(run_.span is not None and run_.span.sampled for run_ in runs)
    # Binomial(400, 0.1): outside these bounds once in about 10^9 tries.
    assert 8 <= sampled <= 84
    assert len(endpoint.named(f"workflow {runs[0].workflow_name}")) == sampled


@pytest.fixture(params=["refuses", "answers 503"])
def bad_url(request):
    if request.param == "refuses":
        with socket.socket() as bound_but_not_listening:
            bound_but_not_listening.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{bound_but_not_listening.getsockname()[1]}"
    else:
        with OtlpEndpoint(503) as unwell:
            yield unwell.url


@pytest.mark.contained
def test_a_collector_that_is_down_harms_nothing_and_is_told_once(contained, capfd, bad_url):
    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=bad_url))) as workflow:
        workflow.task.add(step=plain)
        runs = [workflow.start() for _ in range(2)]
    assert [run_.status for run_ in runs] == ["Completed"] * 2
    assert [run_.dropped for run_ in runs] == [{names.SIGNAL: 2}] * 2
    (line,) = contained
    told, _, why = line.partition(f"spans: 2 lost in run {runs[0].run_id}, not delivered to {bad_url}/v1/traces")
    assert (told, why) in [
        ("", f" ({why}); more of the same is only counted") for why in ("Connection refused", "HTTP 503")
    ]
    assert capfd.readouterr() == ("", "")


def test_with_no_endpoint_anywhere_it_is_silent(monkeypatch, capfd):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with DotFlow(Config(tracer=TracerOpenTelemetry())) as workflow:
        workflow.task.add(step=plain)
        run_ = workflow.start()
    assert run_.trace_id == run_.run_id
    assert capfd.readouterr() == ("", "")


def test_spans_have_the_times_of_the_events(endpoint):
    run_ = run(endpoint, plain, failing_first(1))
    root = endpoint.one("workflow etl")
    assert (root.start_ns, root.end_ns) == (run_.started_ns, run_.finished_ns)
    for task in run_.tasks:
        span = endpoint.one(f"task {task.name}")
        assert (span.start_ns, span.end_ns) == (task.started_ns, task.finished_ns)
    last = endpoint.children(endpoint.one("task flaky"))[-1]
    outcome = run_.tasks[1].outcome
    assert last.end_ns == outcome.started_ns + outcome.duration_ns


def test_span_names_are_names_and_never_ids(endpoint):
    run_ = run(endpoint, plain, plain)
    assert [task.task_id for task in run_.tasks] == ["plain", "plain-2"]
    assert [span.name for span in endpoint.children(endpoint.one("workflow etl"))] == ["task plain"] * 2


def test_what_the_caller_carries_reaches_the_step_and_its_headers(endpoint, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    monkeypatch.setenv("TRACESTATE", "vendor=x")
    monkeypatch.setenv("BAGGAGE", "tenant=acme")

    @action
    def look():
        return baggage.get_baggage("tenant")

    run_ = run(endpoint, look)
    (task,) = run_.tasks
    assert task.current_context.storage == "acme"
    assert task.carrier["tracestate"] == "vendor=x"
    assert task.carrier["baggage"] == "tenant=acme"
    remote = TracerOpenTelemetry().attach(task.carrier)
    with remote:
        assert baggage.get_baggage("tenant") == "acme"
        assert f"{trace.get_current_span().get_span_context().span_id:016x}" == task.span.span_id
    assert baggage.get_baggage("tenant") is None
    assert not trace.get_current_span().get_span_context().is_valid


def test_no_exporter_by_the_environment(endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with DotFlow(Config(tracer=TracerOpenTelemetry()), name="etl") as workflow:
        workflow.task.add(step=plain)
        workflow.start()
    assert endpoint.requests == 0


@pytest.mark.contained
def test_credentials_of_an_endpoint_are_not_told(contained, bad_url):
    url = bad_url.replace("http://", "http://user:hunter2@")
    with DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=url))) as workflow:
        workflow.task.add(step=plain)
        workflow.start()
    assert len(contained) == 1
    assert "hunter2" not in contained[0]
    assert bad_url in contained[0]


_GLOBAL = """
    from dotflow import Config, DotFlow, action
    from dotflow.providers import TracerOpenTelemetry
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    @action
    def step():
        with trace.get_tracer("mine").start_as_current_span("inside"):
            pass

    kept, mine = InMemorySpanExporter(), TracerProvider()
    mine.add_span_processor(SimpleSpanProcessor(kept))
    tracer = TracerOpenTelemetry(OPTIONS)  # before the application has set its provider
    SET
    with DotFlow(Config(tracer=tracer), name="etl") as workflow:
        workflow.task.add(step)
        workflow.start()
    print(trace.get_tracer_provider() is mine, [span.name for span in kept.get_finished_spans()])
"""


@pytest.mark.parametrize(
    ("options", "then", "printed"),
    [
        ("", "trace.set_tracer_provider(mine)", "True ['inside', 'task step', 'workflow etl']"),
        ("endpoint=ENDPOINT", "trace.set_tracer_provider(mine)", "True ['inside']"),
        ("endpoint=ENDPOINT, set_global=True", "", "False []"),
    ],
)
def test_a_global_provider_is_respected_and_set_only_when_asked(endpoint, options, then, printed):
    text = textwrap.dedent(_GLOBAL).replace("OPTIONS", options).replace("SET", then)
    done = subprocess.run(
        [sys.executable, "-c", text.replace("ENDPOINT", repr(endpoint.url))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == printed, done.stderr
    if options:
        assert endpoint.one("workflow etl").parent_id == ""
    if "set_global" in options:
        assert endpoint.one("inside").parent_id == endpoint.one("task step").span_id
