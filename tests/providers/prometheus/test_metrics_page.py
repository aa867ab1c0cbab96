"""The page on metrics says everything, and what it says is PromQL."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dotflow.names import metrics as names
from dotflow_prometheus import MetricsPrometheus
from support import missing

PAGE = Path(__file__).parents[3] / "docs/metrics.md"
ROW = re.compile(r"^\| `(dotflow_\w+)` \| (.*?) \| `(.*?)` \| (.*?) ?\|$", re.MULTILINE)
ALERTS = {
    "WorkflowFailed",
    "WorkflowFailureRatioHigh",
    "WorkflowNoRecentSuccess",
    "WorkflowStuck",
    "WorkflowSlow",
    "TaskRetryStorm",
    "QueueWaitHigh",
    "ScheduleSkipping",
    "TelemetryDropped",
    "TargetDown",
}

pytestmark = pytest.mark.tree


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(page):
    """Name, meaning, example and alerts of each row."""
    return [row.groups() for row in ROW.finditer(page)]


def name_of(metric):
    return metric.prometheus if metric.kind == "histogram" else metric.series[0]


def test_every_metric_has_one_row_with_an_example_that_asks_for_it(rows):
    assert sorted(name for name, *_ in rows) == sorted(map(name_of, names.METRICS))
    for metric in names.METRICS:
        ((_, meaning, example, _),) = [row for row in rows if row[0] == name_of(metric)]
        assert re.search("|".join(rf"\b{series}\b" for series in metric.series), example)
        assert meaning
        assert ("histogram" in meaning) == (metric.kind == "histogram")


def test_the_alerts_are_those_that_there_are(page, rows):
    named = {alert for *_, alerts in rows for alert in alerts.split(", ") if alert not in ("", "one of your own")}
    assert named == ALERTS - {"TargetDown"}
    assert "TargetDown" in page


def test_every_option_is_on_the_page_with_its_default(page):
    parameters = inspect.signature(MetricsPrometheus).parameters.values()
    missing = [p.name for p in parameters if f"`{p.name}={_text(p.default)}`" not in page]
    assert missing == []


def _text(default):
    return f'"{default}"' if isinstance(default, str) else repr(default)


def test_every_reason_and_signal_is_on_the_page(page):
    for signal in names.SIGNALS:
        assert f"`{signal}`" in page


def test_the_examples_are_promql(rows, tmp_path):
    program = shutil.which("promtool")
    if program is None:
        missing.skip("promtool", "prometheus", "the PromQL of docs/metrics.md")
    lines = [f"  - {{record: 'example:{name}', expr: '{example}'}}" for name, _, example, _ in rows]
    rules = tmp_path / "rules.yml"
    rules.write_text("\n".join(["groups:", "- name: examples", "  rules:", *lines]), encoding="utf-8")
    done = subprocess.run([program, "check", "rules", rules], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rows)} rules found" in done.stdout
