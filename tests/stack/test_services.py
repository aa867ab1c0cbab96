"""The shipped configurations of the Collector, Jaeger and Alertmanager, each on the real program."""

from __future__ import annotations

import gzip
import json
import re
import subprocess

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from dotflow import Config, DotFlow, action
from dotflow.providers import LogOpenTelemetry, MetricsOpenTelemetry, TracerOpenTelemetry
from support import alertmanager, collector, jaeger, missing
from support.compose import ROOT, services
from support.http_receiver import HttpReceiver
from support.live_stack import STACK, ShippedJaeger, alerting, collector_service
from support.service import get, wait_for

pytestmark = pytest.mark.tree

NOWHERE = "127.0.0.1:9"


@action(name="load")
def load():
    return 1


@pytest.fixture(scope="module")
def collector_binary():
    found = collector.find()
    if found is None:
        missing.skip_unbuilt("Collector", "the configuration of the Collector")
    return found


@pytest.fixture(scope="module")
def jaeger_binary():
    found = jaeger.find()
    if found is None:
        missing.skip_unbuilt("jaeger", "the configuration of Jaeger")
    return found


@pytest.mark.built
@pytest.mark.parametrize("logs", ["nop", "otlp_http/loki"])
def test_the_collector_takes_its_configuration_as_it_is(collector_binary, logs):
    command = [collector_binary, "validate", f"--config={STACK}/collector/config.yaml"]
    done = subprocess.run(command, env={"DOTFLOW_LOGS_EXPORTER": logs}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_collector_is_of_the_release_that_is_shipped():
    assert services()["collector"]["image"].endswith(f":{collector.VERSION.removeprefix('v')}")


def decoded(message, receiver, path):
    """What came to a path, all batches in one; empty if nothing has."""
    for request in list(receiver.requests):
        if request.path == path:
            body = gzip.decompress(request.body) if request.headers.get("Content-Encoding") == "gzip" else request.body
            message.MergeFromString(body)
    return message


@pytest.mark.built
def test_metrics_reach_prometheus_and_logs_reach_loki(collector_binary):
    with HttpReceiver() as prometheus, HttpReceiver() as loki:
        service, at = collector_service(
            collector_binary,
            jaeger=NOWHERE,
            prometheus=f"http://{prometheus.address}",
            loki=f"http://{loki.address}",
            logs="otlp_http/loki",
        )
        with service:
            endpoint = f"http://{at['http']}"
            config = Config(
                metrics=MetricsOpenTelemetry("etl", endpoint=endpoint), log=LogOpenTelemetry("etl", endpoint=endpoint)
            )
            with DotFlow(config, name="nightly") as workflow:
                workflow.task.add(load)
                run = workflow.start().raise_for_status()

            def metrics():
                found = decoded(ExportMetricsServiceRequest(), prometheus, "/api/v1/otlp/v1/metrics")
                return {m.name for r in found.resource_metrics for scope in r.scope_metrics for m in scope.metrics}

            def logs():
                found = decoded(ExportLogsServiceRequest(), loki, "/otlp/v1/logs")
                return {
                    record.trace_id.hex()
                    for r in found.resource_logs
                    for scope in r.scope_logs
                    for record in scope.log_records
                }

            wait_for(lambda: "dotflow.workflow.completed" in metrics(), "metrics", metrics)
            wait_for(lambda: run.trace_id in logs(), "logs", logs)


@pytest.mark.built
def test_spans_of_one_script_after_another_are_counted_in_the_same_series(collector_binary, jaeger_binary, monkeypatch):
    """What the Collector is for: each process lives for a moment, the count goes on."""
    with ShippedJaeger(jaeger_binary, prometheus=f"http://{NOWHERE}") as running:
        service, at = collector_service(collector_binary, jaeger=running.at["grpc"], prometheus=f"http://{NOWHERE}")
        with service:
            runs = []
            for number in range(3):
                monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"service.instance.id=process-{number}")
                tracer = TracerOpenTelemetry("script", endpoint=f"http://{at['http']}")
                with DotFlow(Config(tracer=tracer), name="nightly") as workflow:
                    workflow.task.add(load)
                    runs.append(workflow.start().raise_for_status())
            series = "traces_span_metrics_calls_total{"

            def counted():
                lines = [line for line in text(f"http://{at['spans']}/metrics").splitlines() if line.startswith(series)]
                return [line for line in lines if 'span_name="workflow nightly"' in line]

            wait_for(lambda: counted() and counted()[0].split("}")[1].split()[0] in ("3", "3.0"), "three", counted)
            assert len(counted()) == 1
            assert 'dotflow_workflow_name="nightly"' in counted()[0]
            for run in runs:
                names = {span["operationName"] for span in running.trace(run.trace_id)["spans"]}
                assert names == {"workflow nightly", "task load"}


def text(url):
    import urllib.request

    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.built
@pytest.mark.parametrize("storage", ["memory", "badger"])
def test_jaeger_keeps_traces_where_it_is_told(jaeger_binary, storage, tmp_path):
    where = {"storage": storage, "directory": tmp_path if storage == "badger" else None}
    with ShippedJaeger(jaeger_binary, prometheus=f"http://{NOWHERE}", **where) as running:
        tracer = TracerOpenTelemetry("etl", endpoint=f"http://{running.at['http']}")
        with DotFlow(Config(tracer=tracer), name="nightly") as workflow:
            workflow.task.add(load)
            run = workflow.start().raise_for_status()
        assert len(running.trace(run.trace_id)["spans"]) == 2
        if storage == "badger":  # in memory there is nothing that an orderly end could save
            assert running.stop() == 0
    with ShippedJaeger(jaeger_binary, prometheus=f"http://{NOWHERE}", **where) as again:
        services = get(f"http://{again.at['query']}/api/services")["data"] or []
        if storage == "badger":
            assert len(again.trace(run.trace_id)["spans"]) == 2
            assert services == ["etl"]
        else:
            assert services == []


def test_jaegers_page_links_a_workflow_to_its_dashboard():
    (pattern,) = json.loads((STACK / "jaeger/ui.json").read_text())["linkPatterns"]
    assert pattern["key"] == "dotflow.workflow.name"
    assert pattern["url"].endswith("/d/dotflow-workflow?var-workflow=#{dotflow.workflow.name}")


def amtool(*arguments):
    command = [alertmanager.find("amtool"), *arguments, "--config.file", STACK / "alertmanager/alertmanager.yml"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_alertmanager_takes_its_configuration():
    done = subprocess.run(
        [alertmanager.find("amtool"), "check-config", STACK / "alertmanager/alertmanager.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_routed_to_the_webhook():
    for severity in ("info", "warning", "critical"):
        done = amtool("config", "routes", "test", f"severity={severity}", "--verify.receivers=webhook")
        assert done.returncode == 0, done.stdout + done.stderr


def post(address, *alerts):
    import urllib.request

    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(
        f"http://{address}/api/v2/alerts", body, {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_a_workflow_that_is_stale_does_not_also_say_that_it_fails():
    with HttpReceiver() as webhook, alertmanager.Alertmanager(alerting(webhook.address)) as running:
        of = {"job": "etl", "workflow": "nightly"}
        post(running.address, {"alertname": "WorkflowNoRecentSuccess", **of})
        webhook.wait_for(1)
        post(
            running.address,
            {"alertname": "WorkflowFailed", **of},
            {"alertname": "WorkflowFailed", "job": "etl", "workflow": "other"},
        )
        told = [alert["labels"] for request in webhook.wait_for(2) for alert in request.json["alerts"]]
        assert [(each["alertname"], each["workflow"]) for each in told] == [
            ("WorkflowNoRecentSuccess", "nightly"),
            ("WorkflowFailed", "other"),
        ]
        states = {each["labels"]["workflow"]: each["status"]["state"] for each in get(silenced(running))}
        assert states == {"nightly": "suppressed", "other": "active"}


def silenced(running):
    return f"http://{running.address}/api/v2/alerts?filter=alertname%3DWorkflowFailed"


def test_the_webhook_is_the_one_that_the_smoke_test_and_the_docs_name():
    (url,) = re.findall(r'url: "([^"]+)"', (STACK / "alertmanager/alertmanager.yml").read_text())
    assert url == "http://host.docker.internal:9099/"
    assert "9099" in (ROOT / "docs/stack.md").read_text()
