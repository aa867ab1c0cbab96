"""The stack without containers: the real programs with the shipped configurations, and a pipeline that is running.

One Prometheus, Jaeger, Collector and Alertmanager serve all tests of this module; each test waits for what it is about.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import alertmanager, collector, jaeger, missing
from support import smoke as smoke_script
from support.compose import ROOT, services
from support.dashboard_page import HEAD, page
from support.dashboard_values import Chosen, exemplars, samples, traces, variable
from support.generated import BOARDS, dashboard, expressions, panels
from support.live_stack import LiveStack, prometheus_program, yaml
from support.service import get, wait_for

pytestmark = [pytest.mark.tree, pytest.mark.built]

CHOSEN = Chosen(workflow="orders")


@pytest.fixture(scope="module")
def stack():
    prometheus_program()
    alertmanager.find()
    for name, found in {"Jaeger": jaeger.find(), "Collector": collector.find()}.items():
        if found is None:
            missing.skip_unbuilt(name, "the whole stack")
    with LiveStack() as running:
        yield running


def once(stack, ask, what):
    """The answer, as soon as there is one: the windows of the queries must fill first."""
    return wait_for(ask, what, lambda: stack.demo.log[-500:], limit=60)


@pytest.mark.parametrize(
    ("panel", "target"), expressions(), ids=lambda value: value["refId"] if isinstance(value, dict) else str(value)
)
def test_a_panel_has_something_to_show(stack, panel, target):
    found = once(stack, lambda: samples(stack, CHOSEN, panel, target), f"a finite value of {target['expr']}")
    legend = target.get("legendFormat", "")
    assert all(set_of(legend) <= sample.labels.keys() for sample in found), "a label of the legend is missing"


def set_of(legend):
    return {part.split("}}")[0] for part in legend.split("{{")[1:]}


def queried():
    return [
        (board, each) for board in BOARDS for each in dashboard(board)["templating"]["list"] if each["type"] == "query"
    ]


@pytest.mark.parametrize(
    ("board", "each"), queried(), ids=lambda value: value if isinstance(value, str) else value["name"]
)
def test_a_variable_has_something_to_choose(stack, board, each):
    found = once(stack, lambda: variable(stack, CHOSEN, each["definition"]), each["definition"])
    expected = {"job": {"dotflow"}, "workflow": {"orders", "payments"}, "service": {"dotflow-demo"}, "task": {"load"}}
    assert expected.get(each["name"], set()) <= set(found)


def marked():
    return [(panel, target) for panel, target in expressions() if target.get("exemplar")]


@pytest.mark.parametrize(("panel", "target"), marked(), ids=lambda value: "" if isinstance(value, dict) else str(value))
def test_a_diamond_leads_to_its_trace(stack, panel, target):
    found = once(stack, lambda: exemplars(stack, CHOSEN, panel, target, time.time()), "exemplars")
    for exemplar in found[:3]:
        span = stack.jaeger.span(exemplar.labels["trace_id"], exemplar.labels["span_id"])
        tags = {tag["key"]: tag["value"] for tag in span["tags"]}
        workflow = exemplar.series.get("workflow") or exemplar.series["dotflow_workflow_name"]
        assert tags["dotflow.workflow.name"] == workflow
        if exemplar.name.endswith("_failed_total"):
            assert tags["dotflow.result"] == "failure"
        if exemplar.name == "dotflow_workflow_duration_seconds_bucket":
            assert span["operationName"] == f"workflow {workflow}"
            assert span["duration"] / 1e6 == pytest.approx(exemplar.value, abs=0.05)


@pytest.mark.parametrize("panel", [each for each in panels("traces") if "expr" not in each.targets[0]], ids=str)
def test_a_panel_of_traces_finds_some(stack, panel):
    run = once(stack, lambda: stack.jaeger.traces(service="dotflow-demo", operation="workflow%20orders"), "a run")[0]
    chosen = Chosen(workflow="orders", trace=run["traceID"])
    for trace in once(stack, lambda: traces(stack, chosen, panel, panel.targets[0]), panel.title):
        names = {span["operationName"] for span in trace["spans"]}
        assert "workflow orders" in names
        root = next(span for span in trace["spans"] if span["operationName"] == "workflow orders")
        if "failed" in panel.title:
            assert {"key": "error", "type": "bool", "value": True} in root["tags"]


def test_every_rule_is_healthy_and_every_target_is_what_it_should_be(stack):
    rules = [rule for group in stack.prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 15
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    for name in recorded:
        once(stack, lambda name=name: stack.prometheus.query(name), name)
    for job in ("spanmetrics", "stack"):
        targets = [each for each in stack.prometheus.api("targets")["activeTargets"] if each["labels"]["job"] == job]
        assert targets
        once(stack, lambda job=job: stack.prometheus.query(f'min(up{{job="{job}"}}) == 1'), f"all of {job} are up")


def test_jaegers_monitor_tab_reads_what_the_collector_made_of_the_spans(stack):
    url = f"http://{stack.jaeger.at['query']}/api/metrics/calls?service=dotflow-demo&spanKind=internal&lookback=60000"

    def points():
        metrics = get(f"{url}&step=1000&ratePer=20000&groupByOperation=true")["metrics"]
        labels = [label for each in metrics if each["metricPoints"] for label in each["labels"]]
        return {label["value"] for label in labels if label["name"] == "operation"}

    assert "workflow orders" in once(stack, points, "calls by operation")


def test_every_alert_fires_within_two_minutes(stack):
    rules = yaml.safe_load((ROOT / "stack/prometheus/rules/dotflow.yml").read_text())["groups"]
    known = {rule["alert"] for group in rules for rule in group["rules"] if "alert" in rule}

    def firing():
        return {each.labels["alertname"] for each in stack.prometheus.query(fired)}

    fired = 'max_over_time(ALERTS{alertstate="firing"}[5m])'
    limit = stack.began + 120 - time.time()
    wait_for(lambda: firing() == known, "all alerts", lambda: f"missing: {known - firing()}", limit=limit)


@pytest.mark.parametrize("board", ["overview", "workflow"])
def test_alerts_are_drawn_into_the_panels(stack, board):
    (annotation,) = dashboard(board)["annotations"]["list"]
    expr = CHOSEN.put_into(annotation["expr"], all_workflows=board == "overview")
    found = once(stack, lambda: stack.prometheus.query(f"max_over_time({expr}[5m])"), expr)
    assert {sample.labels["severity"] for sample in found} <= {"warning", "critical"}


def test_an_alert_is_delivered_to_the_webhook(stack):
    def delivered():
        alerts = [alert for request in stack.webhook.jsons for alert in request["alerts"]]
        return [alert for alert in alerts if alert["labels"]["alertname"] == "WorkflowNoRecentSuccess"]

    alert = once(stack, delivered, "a notification")[0]
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "WorkflowNoRecentSuccess",
        "job": "dotflow",
        "severity": "critical",
        "workflow": "inventory",
    }
    assert alert["annotations"]["summary"].startswith("inventory has not succeeded for ")
    assert alert["annotations"]["dashboard_url"].endswith("/d/dotflow-workflow?var-job=dotflow&var-workflow=inventory")
    assert (ROOT / alert["annotations"]["runbook_url"]).exists()


@pytest.mark.parametrize("service", ["alertmanager", "demo", "jaeger", "prometheus"])
def test_the_health_checks_of_compose_are_right_about_what_is_healthy_and_what_is_not(stack, service):
    """The commands that Docker runs inside the containers, here with the addresses of the running programs."""
    word, *command = services("demo", "alerts")[service]["healthcheck"]["test"]
    assert word == "CMD"
    program = sys.executable if command[0] == "python" else shutil.which(command[0])
    if program is None:
        pytest.skip(f"SKIPPED: no {command[0]} on the PATH: this health check was not run")
    (inside,) = re.findall(r"127\.0\.0\.1:\d+", " ".join(command))
    at = {
        "alertmanager": stack.alertmanager.address,
        "demo": stack.demo_address,
        "jaeger": stack.jaeger.at["health"],
        "prometheus": stack.prometheus_address,
    }[service]
    for address, healthy in ((at, True), ("127.0.0.1:9", False)):
        words = [program, *(part.replace(inside, address) for part in command[1:])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if "expected command but got" in done.stderr:
            pytest.skip("SKIPPED: this promtool is older than 2.45 and knows no `check ready`: not run")
        assert (done.returncode == 0) is healthy, done.stderr


def test_the_smoke_test_finds_the_way_to_a_trace_and_the_alerts(stack):
    """What it asks of Grafana cannot be asked here; the rest of it can."""
    smoke = smoke_script.module()
    at = smoke.Addresses(
        prometheus=stack.prometheus.url,
        jaeger=f"http://{stack.jaeger.at['query']}",
        alertmanager=f"http://{stack.alertmanager.address}",
    )
    asked = smoke.Stack("no password", at)
    assert len(smoke.check_way_to_a_trace(asked)) == 32
    smoke.check_alerts(asked)


def test_the_page_of_all_panels(stack):
    found = once(stack, lambda: stack.jaeger.traces(service="dotflow-demo", operation="workflow%20orders"), "a run")
    text = page(stack, Chosen(workflow="orders", trace=found[0]["traceID"]))
    sys.stdout.write(text)
    assert "- \n" not in text, "a panel without a value"
    target = os.environ.get("DOTFLOW_DASHBOARDS_PAGE")
    if target:
        Path(target).write_text(text, encoding="utf-8")


def test_the_page_in_the_docs_is_about_these_panels():
    text = (ROOT / "docs/dashboards.md").read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    missing = [str(each) for each in panels() if f"**{each.title}** ({each.fields['type']}): " not in text]
    assert missing == [], "run: DOTFLOW_DASHBOARDS_PAGE=docs/dashboards.md pytest tests/stack/test_live_stack.py"


def test_nothing_complained(stack):
    """The Collector warns of options that will be gone; Prometheus of samples that it could not take."""
    assert [line for line in stack.collector.log.splitlines() if "deprecated" in line or "error" in line] == []
    assert [line for line in stack.prometheus.log.splitlines() if "out-of-order" in line or "Error" in line] == []
