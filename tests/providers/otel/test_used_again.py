"""One tracer, or log, for several workflows: what one of them closes, the others can go on with."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap

import pytest

from dotflow import Config, DotFlow, action
from dotflow.providers import LogOpenTelemetry, MetricsOpenTelemetry, TracerOpenTelemetry
from support.otlp import OtlpEndpoint
from support.otlp_logs import LogsEndpoint
from support.otlp_metrics import OtlpMetricsEndpoint

mine = logging.getLogger("steps.of.mine")


@action(name="plain")
def plain():
    mine.warning("a line")


def run_one(name, **providers):
    with DotFlow(Config(**providers), name=name) as workflow:
        workflow.task.add(plain)
        return workflow.start()


@pytest.mark.parametrize("to_file", [False, True])
def test_a_tracer_that_was_closed_traces_the_next_workflow(tmp_path, to_file):
    path = tmp_path / "spans.jsonl"
    with OtlpEndpoint() as endpoint:
        tracer = TracerOpenTelemetry(endpoint=endpoint.url, file=path if to_file else None)
        runs = [run_one(name, tracer=tracer) for name in ("first", "second", "third")]
    assert [run.dropped for run in runs] == [{}] * 3
    assert [span.name for span in endpoint.spans if not span.parent_id] == [
        "workflow first",
        "workflow second",
        "workflow third",
    ]
    assert [run.trace_id for run in runs] == [span.trace_id for span in endpoint.named("task plain")]
    if to_file:
        assert path.read_text().count('"task plain"') == 3


def test_a_log_that_was_closed_takes_the_records_and_lines_of_the_next_workflow():
    with LogsEndpoint() as endpoint:
        log = LogOpenTelemetry(endpoint=endpoint.url)
        runs = [run_one(name, log=log) for name in ("first", "second")]
    assert [run.dropped for run in runs] == [{}] * 2
    assert endpoint.events == ["workflow.started", "task.started", "task.completed", "workflow.completed"] * 2
    assert [line.attributes["dotflow.run.id"] for line in endpoint.lines] == [run.run_id for run in runs]


def test_a_workflow_inside_a_step_that_closes_the_same_providers_takes_nothing_from_the_outer_one():
    with OtlpEndpoint() as spans, LogsEndpoint() as records:
        shared = {
            "tracer": TracerOpenTelemetry(endpoint=spans.url),
            "log": LogOpenTelemetry(endpoint=records.url),
        }

        @action(name="outer")
        def outer():
            return run_one("inner", **shared).dropped

        with DotFlow(Config(**shared), name="outer") as workflow:
            workflow.task.add([outer, plain])
            run = workflow.start()
    assert (run.dropped, workflow.result_storage()[0]) == ({}, {})
    assert len(spans.named("task plain")) == len(records.lines) == 2
    assert spans.one("workflow inner").parent_id == spans.one("task outer").span_id
    assert spans.one("task outer").parent_id == spans.one("workflow outer").span_id
    assert records.events.count("workflow.completed") == 2
    assert records.events[-1] == "workflow.completed"


def test_metrics_that_an_inner_workflow_closes_still_know_of_the_outer_run():
    with OtlpMetricsEndpoint() as endpoint:
        metrics = MetricsOpenTelemetry(endpoint=endpoint.url)

        def active() -> int:
            return endpoint.latest("dotflow.workflow.active_runs", workflow="outer").value

        @action(name="outer")
        def outer():
            run_one("inner", metrics=metrics)
            metrics.flush(5)
            return active()

        with DotFlow(Config(metrics=metrics), name="outer") as workflow:
            workflow.task.add(outer)
            run = workflow.start()
        ended = [endpoint.latest("dotflow.workflow.completed", workflow=name).value for name in ("outer", "inner")]
        run_one("later", metrics=metrics)
    assert (run.dropped, workflow.result_storage(), ended, active()) == ({}, [1], [1, 1], 0)
    assert endpoint.latest("dotflow.workflow.completed", workflow="later").value == 1


@pytest.mark.contained
def test_what_a_closed_tracer_was_still_given_is_told_with_the_next_run(contained):
    with OtlpEndpoint() as endpoint:
        tracer = TracerOpenTelemetry(endpoint=endpoint.url)
        run_one("first", tracer=tracer)
        tracer.provider.get_tracer("late").start_span("late").end()
        run = run_one("second", tracer=tracer)
    assert run.dropped == {"spans": 1}
    assert endpoint.named("late") == []
    assert "1 lost" in contained[0]
    assert "made after the end" in contained[0]


def test_a_provider_that_was_made_global_serves_the_application_to_its_end():
    program = """
        import sys
        from opentelemetry import trace
        from dotflow import Config, DotFlow, action
        from dotflow.providers import TracerOpenTelemetry

        @action(name="plain")
        def plain():
            return 1

        tracer = TracerOpenTelemetry(endpoint=sys.argv[1], set_global=True)
        for name in ("first", "second"):
            with DotFlow(Config(tracer=tracer), name=name) as workflow:
                workflow.task.add(plain)
                print(workflow.start().dropped)
            trace.get_tracer("application").start_span(f"after {name}").end()
    """
    with OtlpEndpoint() as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), endpoint.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("{}\n{}\n", "")
    assert sorted(span.name for span in endpoint.spans) == [
        "after first",
        "after second",
        "task plain",
        "task plain",
        "workflow first",
        "workflow second",
    ]
