"""Metrics that are pushed: from a program through the shipped Collector into Prometheus' OTLP receiver, of the shipped release."""

from __future__ import annotations

import json
import time

import pytest

from dotflow import Config, DotFlow, action
from dotflow.names import metrics as names
from dotflow.providers import MetricsOpenTelemetry, TracerOpenTelemetry
from support import collector, missing, prometheus_otlp
from support.live_stack import PrometheusAt, collector_service, prometheus_program
from support.ports import free_port

pytestmark = [pytest.mark.tree, pytest.mark.built]

_OF_THE_TESTS = (
    "--config.file",
    "--storage.tsdb.path",
    "--enable-feature",
)  # that support.prometheus_server sets itself


@action(name="load", retry=2)
def load():
    raise ConnectionError("no")


@pytest.fixture
def program():
    if prometheus_otlp.find() is None:
        missing.skip_unbuilt("Prometheus 3", "the path of pushed metrics")
    return prometheus_program()


def test_pushed_metrics_become_the_same_series_as_scraped_ones(program):
    binary = collector.find()
    if binary is None:
        missing.skip_unbuilt("Collector", "the path of pushed metrics")
    port = free_port()
    configuration = json.dumps({"storage": {"tsdb": {"out_of_order_time_window": "10m"}}})
    service, at = collector_service(binary, jaeger="127.0.0.1:9", prometheus=f"http://127.0.0.1:{port}")
    with PrometheusAt(program, configuration, f"127.0.0.1:{port}") as prometheus, service:
        began, endpoint = time.time(), f"http://{at['http']}"
        config = Config(
            metrics=MetricsOpenTelemetry("etl", endpoint=endpoint), tracer=TracerOpenTelemetry("etl", endpoint=endpoint)
        )
        with DotFlow(config, name="nightly") as workflow:
            workflow.task.add(load)
            run = workflow.start()
        expected = {
            names.WORKFLOW_FAILED.series[0]: {"workflow": "nightly"},
            names.TASK_ERRORS.series[0]: {"workflow": "nightly", "task": "load", "error_type": "ConnectionError"},
            names.WORKFLOW_DURATION.series[1]: {"workflow": "nightly", "status": "failed"},
            names.WORKFLOW_LAST_COMPLETION.series[0]: {"workflow": "nightly"},
        }
        for series, labels in expected.items():
            matchers = ", ".join(f'{name}="{value}"' for name, value in {**labels, "job": "etl"}.items())
            query = f"{series}{{{matchers}}}"
            (found,) = prometheus.wait_for(lambda query=query: prometheus.query(query), query)
            assert found.labels.keys() == labels.keys() | {"__name__", "job", "instance"}
        bucket = names.WORKFLOW_DURATION.series[0]
        marks = prometheus.wait_for(lambda: prometheus.exemplars(bucket, began, time.time()), "exemplars")
        assert {mark.labels["trace_id"] for mark in marks} == {run.trace_id}
