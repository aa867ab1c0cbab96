"""A real Prometheus takes the metrics over OTLP, and scrapes those of MetricsPrometheus: the same series, value by value."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

import pytest

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.names import metrics as names
from dotflow.providers import MetricsOpenTelemetry, MetricsPrometheus, TracerOpenTelemetry
from support import missing
from support.both_metrics import Both
from support.otlp import OtlpEndpoint
from support.prometheus_otlp import OtlpPrometheus, find

pytestmark = pytest.mark.built

LIMIT = 60  # seconds after which what hangs fails; nothing waits that long to pass


@pytest.fixture(scope="module")
def binary():
    found = find()
    if found is None:
        missing.skip_unbuilt("Prometheus 3", "metrics over OTLP in Prometheus")
    return found


@action
def good():
    dotflow.record("rows", 1200)
    dotflow.record("share", 0.1)


@action(retry=2)
def bad():
    dotflow.record("rows", 7)
    raise ValueError("never")


@action(timeout=0.05)
def slow():
    threading.Event().wait(5)  # far longer than its time; it ends unseen


def series_of(prometheus, job, at):
    """All that there is of a job, without what tells one job from another."""
    found = {}
    for sample in prometheus.query(f'{{__name__=~"dotflow_.+",job="{job}"}}', at):
        labels = labels_of(sample.labels)
        assert labels not in found
        found[labels] = sample.value
    return found


def labels_of(labels):
    """Bounds as numbers: Prometheus 3 itself writes `le="10"` for what came by OTLP, and `le="10.0"` for what it scraped."""
    return frozenset((k, float(v) if k == "le" else v) for k, v in labels.items() if k not in ("job", "instance"))


def exemplars_of(prometheus, job, since):
    return {
        (labels_of(each.series), each.labels["trace_id"], each.labels["span_id"], each.value)
        for each in prometheus.exemplars(f'{{job="{job}"}}', since, time.time() + 1)
    }


def test_prometheus_has_the_same_series_over_both_roads(binary):
    since = time.time()
    scraped = MetricsPrometheus(port=0)
    with OtlpPrometheus(binary, {"scraped": scraped.url}) as prometheus, OtlpEndpoint() as traces:
        pushed = MetricsOpenTelemetry("pushed", endpoint=prometheus.endpoint, shutdown_timeout=10.0)
        tracer = TracerOpenTelemetry(endpoint=traces.url)
        both = Both(scraped, pushed)
        flow = DotFlow(Config(metrics=both, tracer=tracer), name="nightly")
        flow.task.add([good, good, bad, slow])
        both.schedule_skipped("nightly", "overlap", 0)
        both.expected_interval("nightly", 900)
        both.schedule_ticked("nightly", 0.3)
        both.background_queued(3)
        both.provider_failed("tracer", "end_task")
        runs = [flow.start(mode, keep_going=True, max_workers=2) for mode in ("sequential", "parallel")]
        assert [run.dropped for run in runs] == [{}, {}]
        both.flush(10.0)

        at = prometheus.scraped_since("scraped", time.time())
        expected = series_of(prometheus, "scraped", at)
        assert series_of(prometheus, "pushed", at) == expected
        assert {dict(labels)["__name__"] for labels in expected} == {s for m in names.METRICS for s in m.series}
        assert prometheus.value('dotflow_task_recorded{job="pushed",task="good",name="share"}', at) == 0.1

        found = exemplars_of(prometheus, "pushed", since)
        assert {trace_id for _, trace_id, _, _ in found} == {run.trace_id for run in runs}
        assert {(trace_id, span_id) for _, trace_id, span_id, _ in found} <= {
            (s.trace_id, s.span_id) for s in traces.spans
        }
        seen = exemplars_of(prometheus, "scraped", since)  # a scrape sees the latest of each only
        assert seen
        assert seen <= found
        pushed.close(5.0)
        scraped.close(5.0)
        tracer.close(5.0)


def test_a_script_that_ends_at_once_is_seen_to_increase(binary):
    """Its counters are born at 0, so what it has done is an increase, and a histogram has a quantile."""
    program = """
        from dotflow import Config, DotFlow, action
        from dotflow.providers import MetricsOpenTelemetry

        @action
        def good(): ...

        flow = DotFlow(Config(metrics=MetricsOpenTelemetry()), name="script")
        flow.task.add([good, good, good])
        flow.start()
    """
    with OtlpPrometheus(binary, {}) as prometheus:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": prometheus.endpoint, "OTEL_SERVICE_NAME": "script"}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
        assert done.stderr == done.stdout == ""
        at = time.time()
        assert prometheus.value("dotflow_task_completed_total", at) == 3
        for name in (
            "dotflow_task_completed_total",
            "dotflow_task_duration_seconds_count",
            "dotflow_workflow_started_total",
        ):
            assert prometheus.value(f'increase({name}{{status!="failed"}}[1m])', at) > 0
        assert (
            prometheus.value(
                'histogram_quantile(0.5, rate(dotflow_task_duration_seconds_bucket{status="completed"}[1m]))', at
            )
            > 0
        )


def test_runs_that_follow_one_another_at_once_are_all_taken_in(binary):
    """Prometheus tells milliseconds apart, and refuses a second sample for the same one."""
    with OtlpPrometheus(binary, {}) as prometheus:
        metrics = MetricsOpenTelemetry("burst", endpoint=prometheus.endpoint, shutdown_timeout=10.0)
        for number in range(30):
            flow = DotFlow(Config(metrics=metrics), name=f"w-{number}")
            flow.task.add(good)
            assert flow.start().dropped == {}
        metrics.close(5.0)
        assert len(prometheus.query("dotflow_task_completed_total == 1")) == 30
