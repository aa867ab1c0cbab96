"""What tracing trips over elsewhere, each trap as a test: collectors that come and go, odd text, ends of programs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context

from dotflow import Config, DotFlow, action
from dotflow.events import WorkflowEnded
from dotflow.providers import LogOpenTelemetry, SchedulerInterval, TracerOpenTelemetry
from support.otlp import OtlpEndpoint, down
from support.ports import free_port


@action(name="plain")
def plain():
    return 1


def workflow_of(url, *steps, **options) -> DotFlow:
    workflow = DotFlow(Config(tracer=TracerOpenTelemetry(endpoint=url, **options)), name="trap")
    workflow.task.add(step=list(steps))
    return workflow


# --- ids


def test_a_step_that_seeds_random_repeats_no_id_of_a_provider_of_the_applications():
    """Its `RandomIdGenerator` draws from the global `random`. That of its other tracers stays what it was."""
    import random

    @action
    def seeds():
        random.seed(42)

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with DotFlow(Config(tracer=TracerOpenTelemetry(tracer_provider=provider)), name="seeded") as workflow:
        workflow.task.add([seeds] * 4)
        runs = [workflow.start() for _ in range(3)]
    contexts = [span.context for span in exporter.get_finished_spans()]
    assert len({context.span_id for context in contexts}) == len(contexts) == 15
    assert len({context.trace_id for context in contexts}) == len({run.trace_id for run in runs}) == 3
    assert provider.get_tracer("mine").id_generator is provider.id_generator
    provider.shutdown()


# --- the collector


@pytest.mark.contained
def test_one_that_is_down_at_the_start_gets_the_spans_of_later_runs(caplog):
    port = free_port()
    with workflow_of(f"http://127.0.0.1:{port}", plain) as workflow:
        lost = workflow.start()
        with OtlpEndpoint(port=port) as endpoint:
            run = workflow.start()
    assert (lost.dropped, run.dropped) == ({"spans": 2}, {})
    assert {span.trace_id for span in endpoint.spans} == {run.trace_id}
    assert len(endpoint.spans) == 2
    assert len([record for record in caplog.records if "spans: 2 lost" in record.getMessage()]) == 1


@pytest.mark.contained
def test_one_that_goes_down_during_a_run_and_comes_back_in_it_loses_only_what_could_not_wait(monkeypatch):
    """The batches of a run are sent as they fill up; what meets a collector that is down is counted, the rest is there."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    port = free_port()
    endpoints = [OtlpEndpoint(port=port) for _ in range(2)]

    never = threading.Event()

    def received() -> int:
        return sum(len(endpoint.spans) for endpoint in endpoints)

    def until_received(count):
        while received() < count:
            workflow.config.clock.wait(never, 0.005)

    @action(name="up")
    def up():
        until_received(4)
        endpoints[0].__exit__()

    @action(name="back")
    def back():
        endpoints[1].__enter__()

    endpoints[0].__enter__()
    workflow = workflow_of(f"http://127.0.0.1:{port}", *[plain] * 8, up, *[plain] * 8, back, *[plain] * 8)
    with workflow:
        run = workflow.start()
    endpoints[1].__exit__()
    assert run.status == "Completed"
    assert received() + run.dropped.get("spans", 0) == 1 + 26
    assert endpoints[0].spans
    assert endpoints[1].one("workflow trap").trace_id == run.trace_id


@pytest.mark.contained
def test_one_that_goes_down_before_the_end_loses_what_it_has_not_got(contained):
    with OtlpEndpoint() as endpoint:
        url = endpoint.url
        workflow = workflow_of(url, plain)
        first = workflow.start()
    with workflow:
        second = workflow.start()
    assert (first.dropped, second.dropped) == ({}, {"spans": 2})
    assert {span.trace_id for span in endpoint.spans} == {first.trace_id}
    assert len(contained) == 1


@pytest.mark.contained
@pytest.mark.parametrize("kind", ["refuses", "never answers"])
def test_over_grpc_too_it_is_told_once_and_the_exporter_says_nothing(kind, contained, capfd, caplog):
    with down(kind) as url:
        config = Config(
            tracer=TracerOpenTelemetry(endpoint=url, protocol="grpc", shutdown_timeout=1),
            log=LogOpenTelemetry(endpoint=url, protocol="grpc", shutdown_timeout=1),
        )
        with DotFlow(config, name="trap") as workflow:
            workflow.task.add(step=plain)
            runs = [workflow.start() for _ in range(2)]
    assert [run.dropped for run in runs] == [{"spans": 2, "logs": 4}] * 2
    assert sorted(line.partition(" lost")[0] for line in contained) == ["logs: 4", "spans: 2"]
    assert {record.name for record in caplog.records} == {"dotflow"}
    assert capfd.readouterr() == ("", "")


# --- text


def test_an_error_with_text_that_is_no_utf8_arrives_and_so_do_the_others(capfd):
    @action(name="odd")
    def odd():
        raise FileNotFoundError("caf\udce9.csv")

    with OtlpEndpoint() as endpoint:
        workflow = workflow_of(endpoint.url, plain, odd, capture_contexts=True)
        workflow.task.add(plain, initial_context="caf\udce9")
        with workflow:
            run = workflow.start(keep_going=True)
    assert run.dropped == {}
    assert len(endpoint.spans) == 4
    (event,) = endpoint.one("task odd").events
    assert event[2]["exception.message"] == r"caf\udce9.csv"
    assert endpoint.one("task odd").status_message == r"FileNotFoundError: caf\udce9.csv"
    assert [s.attributes.get("dotflow.task.initial_context") for s in endpoint.named("task plain")] == [
        None,
        r"caf\udce9",
    ]
    assert "codec" not in capfd.readouterr().err


# --- errors


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_each_failed_attempt_of_a_task_that_finally_fails_has_its_exception_and_nothing_else_has_one(executor):
    @action(name="never", retry=3)
    def never(initial_context):
        raise ConnectionError(f"no answer from {initial_context.storage}")

    with OtlpEndpoint() as endpoint, workflow_of(endpoint.url) as workflow:
        workflow.task.add(never, initial_context="there")
        run = workflow.start(executor=executor)
    attempts = sorted(endpoint.named("attempt"), key=lambda span: span.start_ns)
    assert [span.attributes["dotflow.attempt"] for span in attempts] == [1, 2, 3]
    for span in attempts:
        ((name, time_ns, event),) = span.events
        assert (name, time_ns) == ("exception", span.end_ns)
        assert (event["exception.type"], event["exception.message"]) == ("ConnectionError", "no answer from there")
    task, root = endpoint.one("task never"), endpoint.one("workflow trap")
    assert [span.status for span in (*attempts, task, root)] == [2] * 5
    assert task.events == root.events == []
    assert task.status_message == "ConnectionError: no answer from there"
    assert len(run.tasks[0].errors) == 3


# --- the ends of programs


def spans_of_program(text: str) -> tuple[OtlpEndpoint, subprocess.CompletedProcess[str]]:
    head = """
        import os, random, sys
        from dotflow import Config, DotFlow, action
        from dotflow.providers import TracerOpenTelemetry

        def workflow_of(*steps):
            workflow = DotFlow(Config(tracer=TracerOpenTelemetry()), name="program")
            workflow.task.add(step=list(steps))
            return workflow
    """
    with OtlpEndpoint() as endpoint:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(head) + textwrap.dedent(text)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url},
        )
    return endpoint, done


@pytest.mark.parametrize("how", ["", "executor='thread'", "executor='process'"])
def test_an_exit_inside_a_step_loses_no_span(how):
    endpoint, done = spans_of_program(f"""
        @action(name="leave", retry=2)
        def leave():
            sys.exit(3)

        workflow_of(leave).start({how})
        print("went on")
    """)
    is_apart = bool(how)  # then it only fails the attempt
    assert (done.returncode, done.stdout) == ((0, "went on\n") if is_apart else (3, "")), done.stderr
    root, task = endpoint.one("workflow program"), endpoint.one("task leave")
    attempts = endpoint.named("attempt")
    assert [span.status for span in (root, task)] == [2, 2]
    assert len(attempts) == (2 if is_apart else 1)
    assert {span.attributes["dotflow.result"] for span in (task, *attempts)} == {
        "failure" if is_apart else "cancellation"
    }
    assert {span.attributes["error.type"] for span in attempts} == {"SystemExit"}


def test_a_program_that_ends_without_closing_loses_no_span():
    endpoint, done = spans_of_program("""
        @action(name="plain")
        def plain():
            random.seed(42)

        workflow = workflow_of(plain)
        for _ in range(3):
            workflow.start()
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert len({span.span_id for span in endpoint.spans}) == len(endpoint.spans) == 6
    assert len({span.trace_id for span in endpoint.spans}) == 3


# --- the application's own set-up


class EverySecond(sampling.Sampler):
    """Decides for each span apart, whatever its parent is: the first, the third and so on."""

    def __init__(self):
        self.asked = 0

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        self.asked += 1
        return sampling.SamplingResult(
            sampling.Decision.RECORD_AND_SAMPLE if self.asked % 2 else sampling.Decision.DROP, attributes
        )

    def get_description(self):
        return "every second"


def test_a_provider_that_was_made_global_after_the_import_and_the_config_is_used():
    endpoint, done = spans_of_program("""
        @action(name="plain")
        def plain():
            return 1

        workflow = workflow_of(plain)   # before the application sets its own provider

        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider = TracerProvider(resource=Resource({"service.name": "the application"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        with workflow:
            run = workflow.start()
        trace.get_tracer("application").start_span("afterwards").end()   # it was not shut down
        print(run.trace_id)
    """)
    assert done.returncode == 0, done.stderr
    assert {span.resource["service.name"] for span in endpoint.spans} == {"the application"}
    assert endpoint.one("workflow program").trace_id == done.stdout.strip()
    assert endpoint.named("afterwards")


def test_every_tick_of_a_schedule_is_a_trace_of_its_own_linked_to_who_started_it(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", f"00-{0xABC:032x}-{0xDEF:016x}-01")
    runs = []

    def stop(event):
        if isinstance(event, WorkflowEnded):
            runs.append(event.run)
            if len(runs) == 2:
                scheduler.stop()

    scheduler = SchedulerInterval(seconds=0.01)
    with OtlpEndpoint() as endpoint:
        config = Config(tracer=TracerOpenTelemetry(endpoint=endpoint.url), scheduler=scheduler, listeners=[stop])
        with DotFlow(config, name="ticking") as workflow:
            workflow.task.add(plain)
            workflow.schedule()
    roots = endpoint.named("workflow ticking")
    assert [root.trace_id for root in roots] == [run.run_id for run in runs] == [run.trace_id for run in runs]
    assert len(set(runs)) == len(endpoint.named("task plain")) == 2
    for root in roots:
        assert root.parent_id == ""
        assert root.links == [(f"{0xABC:032x}", f"{0xDEF:016x}")]
        assert len(endpoint.children(root)) == 1


@pytest.mark.parametrize("sampled", [True, False])
def test_a_callers_decision_to_sample_is_kept(sampled):
    parent = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(int(sampled)))
    token = attach(set_span_in_context(NonRecordingSpan(parent)))
    try:
        with OtlpEndpoint() as endpoint, workflow_of(endpoint.url, plain) as workflow:
            run = workflow.start()
    finally:
        detach(token)
    assert run.trace_id == f"{0xABC:032x}"
    assert len(endpoint.spans) == (2 if sampled else 0)
    assert run.dropped == {}


SAMPLERS = {
    "off": (sampling.ALWAYS_OFF, 0),
    "by parent, off": (sampling.ParentBased(sampling.ALWAYS_OFF), 0),
    "by parent, none of them": (sampling.ParentBased(sampling.TraceIdRatioBased(0.0)), 0),
    "on": (sampling.ALWAYS_ON, 5),
    "each for itself": (EverySecond(), 3),
    "by parent, but on below an unsampled one": (
        sampling.ParentBased(sampling.ALWAYS_OFF, local_parent_not_sampled=sampling.ALWAYS_ON),
        4,
    ),
}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_decides_for_the_spans_that_are_its_to_decide(kind):
    sampler, count = SAMPLERS[kind]
    exporter, seen = InMemorySpanExporter(), []

    @action(name="look", retry=2)
    def look():
        ids = get_current_span().get_span_context()
        seen.append((ids.is_valid, ids.trace_flags.sampled))
        if len(seen) % 2:
            raise ValueError("again")

    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with DotFlow(Config(tracer=TracerOpenTelemetry(tracer_provider=provider)), name="sampled") as workflow:
        workflow.task.add(step=[plain, look])
        run = workflow.start()
    assert len(exporter.get_finished_spans()) == count
    assert {valid for valid, _ in seen} == {True}
    assert {ids.trace_id for task in run.tasks for ids in (task.span, task.innermost_span)} == {run.trace_id}
    if count in (0, 5):
        assert {sampled for _, sampled in seen} == {bool(count)}


def test_a_provider_without_a_processor_costs_nothing_and_says_nothing(capfd):
    with workflow_of("", plain, tracer_provider=TracerProvider(shutdown_on_exit=False)) as workflow:
        run = workflow.start()
    assert run.status == "Completed"
    assert capfd.readouterr() == ("", "")
