"""Each alert just below and just above its threshold, just before and just after its time: by promtool, from one table."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.compose import ROOT
from support.prometheus_server import find

pytestmark = pytest.mark.tree

RULES = ROOT / "stack/prometheus/rules/dotflow.yml"
OF = 'job="etl", instance="a", workflow="w"'
FAILED = f"dotflow_workflow_failed_total{{{OF}}}"
ENDED = f'dotflow_workflow_duration_seconds_count{{{OF}, status="%s"}}'
TASK = f'{{{OF}, task="t"}}'
SUCCESS = f"dotflow_workflow_last_success_timestamp_seconds{{{OF}}}"
INTERVAL = f"dotflow_workflow_expected_interval_seconds{{{OF}}}"
OLDEST = f"dotflow_workflow_oldest_active_start_timestamp_seconds{{{OF}}}"
P95 = 'job_workflow:dotflow_workflow_duration_seconds:p95_1h{job="etl", workflow="w"}'
SKIPPED = f'dotflow_schedule_skipped_total{{{OF}, reason="overlap"}}'
DROPPED = 'dotflow_telemetry_dropped_total{job="etl", instance="a", signal="spans"}'
UP = 'up{job="etl", instance="a"}'


def ratio(failed, well):
    """Runs a minute that fail, and that end well."""
    return {FAILED: f"0+{failed}x90", ENDED % "failed": f"0+{failed}x90", ENDED % "completed": f"0+{well}x90"}


def retries(retried, started):
    return {
        f"dotflow_task_retried_total{TASK}": f"0+{retried}x60",
        f"dotflow_task_started_total{TASK}": f"0+{started}x60",
    }


def waits(low, high):
    """Ten waits a minute, all between `low` and `high` seconds: the p95 is near the upper end."""
    series = {low: "0x60", high: "0+10x60", "+Inf": "0+10x60"}
    labels = TASK.removesuffix("}")
    return {f'dotflow_task_queue_seconds_bucket{labels}, le="{le}"}}': values for le, values in series.items()}


CASES = [
    # the series by the minute, the minutes after which it is quiet, those after which it fires (and half a minute)
    ("WorkflowFailed", {FAILED: "0x9 1x30"}, [8, 16], [10, 13]),
    ("WorkflowFailureRatioHigh", ratio(0.11, 0.89), [], [45]),
    ("WorkflowFailureRatioHigh", ratio(0.09, 0.91), [45], []),
    ("WorkflowFailureRatioHigh", ratio(0.2, 0), [], [60]),  # six runs in half an hour
    ("WorkflowFailureRatioHigh", ratio(0.15, 0), [60], []),
    ("WorkflowFailureRatioHigh", ratio(10, 0), [4], [8]),
    ("TaskRetryStorm", retries(1.1, 0.5), [], [45]),
    ("TaskRetryStorm", retries(0.9, 0.5), [45], []),
    ("TaskRetryStorm", retries(1.4, 1.5), [45], []),
    ("TaskRetryStorm", retries(20, 1), [4], [8]),
    ("WorkflowNoRecentSuccess", {SUCCESS: "60x200", INTERVAL: "3600x200"}, [119, 121], [123]),
    ("WorkflowNoRecentSuccess", {SUCCESS: "60x20", INTERVAL: "1x20"}, [1, 2], [4]),
    ("WorkflowStuck", {OLDEST: "60x120"}, [60, 65], [67]),
    ("WorkflowSlow", {P95: "10x1439 18x60"}, [24 * 60 + 20], []),
    ("WorkflowSlow", {P95: "10x1439 23x60"}, [24 * 60 + 3], [24 * 60 + 8]),
    ("QueueWaitHigh", waits("40.5", "60.5"), [30], []),
    ("QueueWaitHigh", waits("50.5", "62.5"), [4], [30]),
    ("ScheduleSkipping", {SKIPPED: "0+0.11x180", INTERVAL: "60x180"}, [], [150]),
    ("ScheduleSkipping", {SKIPPED: "0+0.09x180", INTERVAL: "60x180"}, [150], []),
    ("ScheduleSkipping", {SKIPPED: "0x100 50x80", INTERVAL: "60x180"}, [104], [108]),
    ("TelemetryDropped", {DROPPED: "0x9 1x40"}, [10, 26], [12, 23]),
    ("TargetDown", {UP: "1x9 0x1600"}, [13], [16, 24 * 60]),
    ("TargetDown", {UP: "1x9 0x1600"}, [24 * 60 + 20], []),
]
RECORDED = [
    ('job_workflow_status:dotflow_workflow_runs:rate5m{status="completed"}', ratio(1, 3), 0.05),
    ("job_workflow:dotflow_workflow_runs:increase30m", ratio(1, 3), 120),
    ("job_workflow:dotflow_workflow_failures:ratio30m", ratio(1, 3), 0.25),
]


def promtool(tmp_path, series, expected):
    """Whether all of these expressions have these values, at those minutes and a half."""
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": expr,
                        "eval_time": f"{minutes}m30s",
                        "exp_samples": [{"labels": "{}", "value": value}],
                    }
                    for expr, minutes, value in expected
                ],
            }
        ],
    }
    path = tmp_path / "thresholds.yml"
    path.write_text(json.dumps(test))  # which is YAML
    done = subprocess.run([find("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("alert", "series", "quiet", "fires"), CASES)
def test_an_alert_knows_its_threshold_and_its_time(tmp_path, alert, series, quiet, fires):
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
    expected = [(firing, minutes, value) for value, times in enumerate((quiet, fires)) for minutes in times]
    status, said = promtool(tmp_path, series, expected)
    assert status == 0, said


@pytest.mark.parametrize(("record", "series", "value"), RECORDED)
def test_a_recording_is_what_its_name_says(tmp_path, record, series, value):
    status, said = promtool(tmp_path, series, [(f"round(sum({record}), 0.001)", 45, value)])
    assert status == 0, said


def test_every_alert_is_in_the_table():
    named = {line.split()[-1] for line in RULES.read_text().splitlines() if "- alert: " in line}
    assert {alert for alert, _, quiet, _ in CASES if quiet} == {alert for alert, *_, fires in CASES if fires} == named
