"""Which meter provider is used, what becomes of it, and what is refused."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from dotflow import Config, DotFlow
from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.names import metrics as names
from dotflow_otel.metrics.provider import MetricsOpenTelemetry
from support.metrics_runs import NAME, PROGRAM, Headers, bad, good, measuring, python, run, task_of

OF_SCHEDULES = (names.SCHEDULE_SKIPPED, names.SCHEDULE_LATENESS, names.WORKFLOW_EXPECTED_INTERVAL)


# --- whose provider


def collected(reader):
    """The data points of a reader of the application's, by metric."""
    data = reader.get_metrics_data()
    return {
        metric.name: metric.data.data_points
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def value(points, **attributes):
    (point,) = [p for p in points if dict(p.attributes) == attributes]
    return getattr(point, "count", None) if hasattr(point, "bucket_counts") else point.value


class Watched(InMemoryMetricReader):
    """Counts what is asked of it."""

    shutdowns = flushes = 0

    def shutdown(self, timeout_millis=30_000, **kwargs):
        self.shutdowns += 1

    def force_flush(self, timeout_millis=10_000):
        self.flushes += 1
        return super().force_flush(timeout_millis)


@pytest.fixture
def reader():
    return Watched()


@pytest.fixture
def application(reader):
    return MeterProvider([reader], shutdown_on_exit=False)


def test_the_applications_provider_is_used_and_neither_flushed_nor_shut_down(reader, application):
    metrics = MetricsOpenTelemetry(meter_provider=application)
    assert metrics.provider is application
    with DotFlow(Config(metrics=metrics, tracer=Headers()), name=NAME) as flow:
        flow.task.add(step=[good, bad])
        declared = collected(reader)
        assert value(declared["dotflow.task.completed"], workflow=NAME, task="good") == 0
        assert value(declared["dotflow.task.failed"], workflow=NAME, task="bad") == 0
        assert {p.value for name, points in declared.items() if name != "dotflow.build.info" for p in points} == {0}
        flow.start()
    assert (reader.shutdowns, reader.flushes) == (0, 0)
    seen = collected(reader)
    assert value(seen["dotflow.task.completed"], workflow=NAME, task="good") == 1
    assert value(seen["dotflow.task.failed"], workflow=NAME, task="bad") == 1
    (good_point,) = [p for p in seen["dotflow.task.duration"] if p.attributes["task"] == "good"]
    assert (good_point.count, good_point.explicit_bounds) == (1, names.DURATION_BUCKETS)
    assert [f"{e.trace_id:032x}" for e in good_point.exemplars] == ["ab" * 16]
    assert seen.keys() == {
        f"{m.name}.info" if m.kind == "info" else m.name
        for m in names.METRICS
        if m not in (names.PROVIDER_ERRORS, names.TASK_RECORDED, *OF_SCHEDULES)
    }


def test_a_duration_below_0_counts_as_0_there_too(reader, application, caplog):
    metrics = MetricsOpenTelemetry(meter_provider=application)
    metrics.task_completed(task_of(duration=-1.0))
    (point,) = collected(reader)["dotflow.task.duration"]
    assert (point.count, point.sum) == (1, 0)
    assert not caplog.records


def test_what_has_no_run_is_there_too(reader, application):
    metrics = MetricsOpenTelemetry(meter_provider=application)
    metrics.background_queued(2)
    run(metrics, measuring)
    metrics.schedule_ticked(NAME, 0.5)
    seen = collected(reader)
    assert value(seen["dotflow.background.queued"]) == 2
    assert value(seen["dotflow.task.recorded"], workflow=NAME, task="measuring", name="rows") == 1
    assert value(seen["dotflow.schedule.lateness"], workflow=NAME) == 1


def test_two_instances_on_one_provider_count_together(reader, application):
    for name in ("one", "two", "two"):
        run(MetricsOpenTelemetry(meter_provider=application), good, bad, name=name)
    seen = collected(reader)
    for kind, task in (("started", "good"), ("completed", "good"), ("failed", "bad"), ("retried", "bad")):
        assert value(seen[f"dotflow.task.{kind}"], workflow="one", task=task) == 1
        assert value(seen[f"dotflow.task.{kind}"], workflow="two", task=task) == 2
    assert value(seen["dotflow.workflow.started"], workflow="two") == 2
    assert value(seen["dotflow.workflow.duration"], workflow="two", status="failed") == 2
    assert value(seen["dotflow.workflow.active_runs"], workflow="two") == 0


def test_a_global_provider_is_respected_and_none_is_ever_set(endpoint):
    said = python(
        f"""{PROGRAM}
    early = MetricsOpenTelemetry()
    flow = DotFlow(Config(metrics=early), name="early")  # before the application has set its own
    run(MetricsOpenTelemetry(endpoint="{endpoint.url}", service_name="own"))
    print(type(api.get_meter_provider()).__name__)
    reader = InMemoryMetricReader()
    theirs = MeterProvider([reader])
    api.set_meter_provider(theirs)
    flow.task.add(step=good)
    flow.start()
    asked_for = MetricsOpenTelemetry(endpoint="{endpoint.url}", service_name="own")
    run(asked_for)
    print(early.provider is theirs, asked_for.provider is theirs)
    points = [
        (metric.name, point.attributes["workflow"], point.value)
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if metric.name == "dotflow.workflow.completed"
    ]
    print(points)
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
        OTEL_SERVICE_NAME="by-environment",
    )
    assert said.splitlines() == [
        "_ProxyMeterProvider",
        "True False",
        "[('dotflow.workflow.completed', 'early', 1)]",
    ]
    assert {p.resource["service.name"] for p in endpoint.points} == {"own"}


def test_what_comes_after_the_last_flush_is_sent_at_the_end_of_the_program(endpoint):
    said = python(
        f"""{PROGRAM}
    metrics = MetricsOpenTelemetry()
    run(metrics)
    metrics.telemetry_dropped("spans", 7)
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
    )
    assert said == ""
    assert endpoint.total("dotflow.telemetry.dropped", signal="spans") == 7
    assert {p.resource["service.name"] for p in endpoint.points} == {"dotflow"}


# --- nowhere to send to


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "yes"},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "yes"},
    ],
)
def test_with_nowhere_to_send_to_nothing_is_sent_and_nothing_said(endpoint, monkeypatch, caplog, environment):
    for name, given in environment.items():
        monkeypatch.setenv(name, endpoint.url if given == "yes" else given)
    threads = set(threading.enumerate())
    metrics = MetricsOpenTelemetry()
    with DotFlow(Config(metrics=metrics), name=NAME) as flow:
        flow.task.add(step=[good, good])
        run_ = flow.start()
        assert isinstance(metrics.provider, api.NoOpMeterProvider)
    assert run_.dropped == run_.provider_errors == {}
    assert endpoint.requests == 0
    assert not {t for t in threading.enumerate() if "Otel" in t.name} - threads
    assert not [r for r in caplog.records if r.levelno > logging.INFO]


def test_a_disabled_sdk_goes_before_an_endpoint_that_is_given(endpoint, make, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    run(make(), good)
    assert endpoint.requests == 0


# --- bad input


@pytest.mark.parametrize(
    "bad_option",
    [
        {"endpoint": "localhost:4318"},
        {"endpoint": "http://localhost:4318", "meter_provider": api.NoOpMeterProvider()},
        {"meter_provider": "global"},
        {"shutdown_timeout": 0},
        {"shutdown_timeout": -1},
        {"shutdown_timeout": "2"},
        {"shutdown_timeout": float("nan")},
        {"buckets": []},
        {"buckets": [2, 1]},
        {"buckets": [0, 1]},
        {"buckets": [1, float("inf")]},
        {"buckets": "12"},
        {"buckets": 5},
        {"max_series": 0},
        {"max_series": True},
        {"max_series": 1.5},
    ],
)
def test_options_that_make_no_sense_are_named(bad_option):
    with pytest.raises(InvalidOption) as raised:
        MetricsOpenTelemetry(**bad_option)
    assert isinstance(raised.value, ValueError)
    assert list(bad_option)[-1] in str(raised.value)


def test_a_protocol_that_is_not_known():
    with pytest.raises(InvalidChoice, match="grpc"):
        MetricsOpenTelemetry(protocol="thrift")


@pytest.mark.contained
def test_what_the_sdk_refuses_is_told_once_and_tried_once(make, monkeypatch, contained):
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "sometimes")
    threads = threading.active_count()
    run_ = run(make(), *[good] * 20)
    assert not run_.failed
    assert run_.provider_errors == {("metrics", "workflow_started"): 1}
    assert len(contained) == 1
    assert threading.active_count() <= threads + 1  # the reader of the attempt may take a moment to end
