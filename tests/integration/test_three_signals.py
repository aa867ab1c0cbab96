"""The one-line set-up: logs, traces and metrics of a run, tied together by its id. Real OTLP, real HTTP scrape."""

from __future__ import annotations

import itertools
import json
import logging
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from dotflow import Config, DotFlow, action, observability
from dotflow.names import metrics as names
from support.otlp import OtlpEndpoint

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, dict[str, str] | None]]:
    """Every sample of an OpenMetrics scrape: name and labels to value and exemplar labels."""
    request = urllib.request.Request(url, headers={"Accept": _OPENMETRICS})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): (
            sample.value,
            sample.exemplar.labels if sample.exemplar else None,
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Observed:
    """A workflow of a success, a success after two retries and a failure, observed by all three."""

    def __init__(self, tmp_path, endpoint: OtlpEndpoint) -> None:
        calls = itertools.count(1)

        @action
        def good():
            logging.getLogger("step").warning("a line of the step's own")

        @action(retry=3)
        def flaky():
            if next(calls) < 3:
                raise ConnectionError("not yet")

        @action
        def bad():
            raise ValueError("no good")

        self.lines = tmp_path / "run.jsonl"
        self.endpoint = endpoint
        providers = observability(
            "three", endpoint=endpoint.url, log_format="json", log_output=self.lines, port=0, capture=True
        )
        self.workflow = DotFlow(Config(**providers), name="etl")
        self.url = self.workflow.config.metrics.url
        self.workflow.task.add(step=[good, flaky, bad])

    def value(self, series: str, **labels: str) -> float:
        return self.samples[series, tuple(sorted({"workflow": "etl", **labels}.items()))][0]

    def scrape(self) -> None:
        self.samples = scrape(self.url)


@pytest.fixture
def observed(tmp_path):
    with OtlpEndpoint() as endpoint:
        made = Observed(tmp_path, endpoint)
        with made.workflow:
            yield made


def test_every_series_is_there_at_zero_before_the_first_run(observed):
    observed.scrape()
    have = {name for name, _ in observed.samples}
    # Born later, because their labels are not known before: errors by type, provider errors, what
    # a step records, and what a schedule gives.
    later = {
        names.TASK_ERRORS,
        names.PROVIDER_ERRORS,
        names.TASK_RECORDED,
        names.SCHEDULE_SKIPPED,
        names.SCHEDULE_LATENESS,
        names.WORKFLOW_EXPECTED_INTERVAL,
    }
    expected = {series for metric in names.METRICS if metric not in later for series in metric.series}
    assert have == expected
    values = {key: value for key, (value, _) in observed.samples.items() if key[0] not in names.BUILD.series}
    assert set(values.values()) == {0}
    tasks = {dict(labels)["task"] for name, labels in values if "task" in dict(labels)}
    assert tasks == {"good", "flaky", "bad"}


def test_the_three_signals_agree(observed):
    run = observed.workflow.start()
    observed.scrape()
    for task, started, completed, failed, retried in (("good", 1, 1, 0, 0), ("flaky", 1, 1, 0, 2), ("bad", 1, 0, 1, 0)):
        assert observed.value("dotflow_task_started_total", task=task) == started
        assert observed.value("dotflow_task_completed_total", task=task) == completed
        assert observed.value("dotflow_task_failed_total", task=task) == failed
        assert observed.value("dotflow_task_retried_total", task=task) == retried
        assert observed.value("dotflow_task_active", task=task) == 0
        status = "completed" if completed else "failed"
        assert observed.value("dotflow_task_duration_seconds_count", task=task, status=status) == 1
        assert observed.value("dotflow_task_queue_seconds_count", task=task) == 1
    assert observed.value("dotflow_task_errors_total", task="flaky", error_type="ConnectionError") == 2
    assert observed.value("dotflow_task_errors_total", task="bad", error_type="ValueError") == 1
    assert observed.value("dotflow_workflow_failed_total") == 1
    assert observed.value("dotflow_workflow_active_runs") == 0
    assert observed.value("dotflow_workflow_last_run_success") == 0
    lines = [json.loads(line) for line in observed.lines.read_text().splitlines()]
    assert {line["run_id"] for line in lines} == {line["trace_id"] for line in lines} == {run.run_id}
    assert "a line of the step's own" in {line["event"] for line in lines}
    assert {span.trace_id for span in observed.endpoint.spans} == {run.run_id}
    assert {span.span_id for span in observed.endpoint.spans} >= {line["span_id"] for line in lines}


def test_exemplars_lead_to_spans_that_arrived(observed):
    run = observed.workflow.start()
    observed.scrape()
    by_series = {name: exemplar for (name, _), (_, exemplar) in observed.samples.items() if exemplar}
    assert set(by_series) >= {
        "dotflow_task_duration_seconds_bucket",
        "dotflow_workflow_duration_seconds_bucket",
        "dotflow_task_failed_total",
        "dotflow_workflow_failed_total",
        "dotflow_task_errors_total",
    }
    arrived = {span.span_id: span.name for span in observed.endpoint.spans}
    for name, exemplar in by_series.items():
        assert exemplar["trace_id"] == run.run_id
        assert exemplar["span_id"] in arrived, name
    assert arrived[by_series["dotflow_workflow_failed_total"]["span_id"]] == "workflow etl"
    assert arrived[by_series["dotflow_task_failed_total"]["span_id"]] == "task bad"


def test_each_provider_can_be_overridden():
    from dotflow.testing import RecordingLog, RecordingMetrics, RecordingTracer

    mine = {"log": RecordingLog(), "tracer": RecordingTracer(), "metrics": RecordingMetrics()}
    assert observability("x", **mine) == mine


def test_with_nothing_given_and_no_endpoint_it_says_and_sends_nothing(monkeypatch, capfd):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)

    @action
    def step():
        return 1

    with DotFlow(Config(**observability(log_level="ERROR"))) as workflow:
        workflow.task.add(step)
        run = workflow.start()
    assert run.trace_id == run.run_id
    assert capfd.readouterr() == ("", "")


def test_the_endpoint_comes_from_the_environment(monkeypatch):
    @action
    def step():
        return 1

    with OtlpEndpoint() as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "from-the-environment")
        with DotFlow(Config(**observability(log_level="ERROR")), name="etl") as workflow:
            workflow.task.add(step)
            workflow.start()
        assert endpoint.one("workflow etl").resource["service.name"] == "from-the-environment"
