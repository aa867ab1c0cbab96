"""What every panel shows of a load that is known: by promtool, against values that were worked out by hand."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.compose import ROOT
from support.dashboard_values import Chosen
from support.generated import expressions
from support.prometheus_server import find

pytestmark = pytest.mark.tree

RULES = ROOT / "stack/prometheus/rules/dotflow.yml"
STEPS = 240  # of 5 seconds: what is looked at is the end, after 20 minutes
CHOSEN = Chosen(workflow="a", service="etl", seconds=300)  # 60 steps; a window of `$__rate_interval` is 4


def grows(by):
    return f"0+{by}x{STEPS}"


def is_always(value):
    return f"{value}x{STEPS}"


def histogram(name, labels, bounds):
    """A histogram that grows by so many observations a step up to each bound; the last one is all."""
    of = f"dotflow_{name}_seconds"
    yield f"{of}_count{{{labels}}}", grows(list(bounds.values())[-1])
    for bound in ("0.1", "1", "2", "4", "8", "+Inf"):
        below = [count for upper, count in bounds.items() if bound == "+Inf" or float(upper) <= float(bound)]
        yield f'{of}_bucket{{{labels}, le="{bound}"}}', grows(max(below, default=0))


def series():
    """Workflow `a` in two processes, `b` in one, `c` in one that has not ended a run yet."""
    a1, a2, b, c = (f'job="j", instance="i{n}", workflow="{w}"' for n, w in ((1, "a"), (2, "a"), (1, "b"), (2, "c")))
    # A step: of `a` 3 runs end well and 1 fails, after 1 to 2 seconds; of `b` 1 ends well, after 4 to 8.
    for labels, well, failed in ((a1, 2, 1), (a2, 1, 0), (b, 1, 0), (c, 0, 0)):
        yield f"dotflow_workflow_completed_total{{{labels}}}", grows(well)
        yield f"dotflow_workflow_failed_total{{{labels}}}", grows(failed)
        long = labels is b
        for status, count in (("completed", well), ("failed", failed)):
            bounds = {"4": 0, "8": count} if long else {"1": 0, "2": count}
            yield from histogram("workflow_duration", f'{labels}, status="{status}"', bounds)
    # Waits for a tick: of `a` 0.1 to 1 second, of `b` below 0.1. One tick of `a` is skipped a step.
    yield from histogram("schedule_lateness", a1, {"0.1": 0, "1": 1})
    yield from histogram("schedule_lateness", b, {"0.1": 1})
    yield f'dotflow_schedule_skipped_total{{{a1}, reason="overlap"}}', grows(1)
    now = {
        "workflow_active_runs": {a1: 2, a2: 1, b: 0, c: 1},
        "workflow_oldest_active_start_timestamp_seconds": {a1: 900, a2: 1100, b: 0, c: 1150},
        "workflow_last_run_success": {a1: 1, a2: 0, b: 1, c: 0},
        "workflow_last_completion_timestamp_seconds": {a1: 1000, a2: 1100, b: 700, c: 0},
        "workflow_last_success_timestamp_seconds": {a1: 1000, a2: 900, b: 600, c: 0},
        "workflow_expected_interval_seconds": {a1: 400, b: 300},
    }
    for name, values in now.items():
        for labels, value in values.items():
            yield f"dotflow_{name}{{{labels}}}", is_always(value)
    # A step: task `x` of `a` begins 4 times, fails once, retries twice, and takes 1 to 2 seconds; `y` ends well twice.
    x1, y1, x2 = f'{a1}, task="x"', f'{a1}, task="y"', f'{b}, task="x"'
    counts = {
        "started": {x1: 4, y1: 2},
        "completed": {x1: 3, y1: 2},
        "failed": {x1: 1, y1: 0},
        "retried": {x1: 2, y1: 0},
        "restored": {x1: 0, y1: 1},
        "skipped": {x1: 3, y1: 0},
    }
    for name, values in counts.items():
        for labels, value in values.items():
            yield f"dotflow_task_{name}_total{{{labels}}}", grows(value)
    yield f'dotflow_task_errors_total{{{x1}, error_type="KeyError"}}', grows(3)
    yield f'dotflow_task_errors_total{{{x2}, error_type="OSError"}}', grows(1)
    for labels, status, bounds, seconds in (
        (x1, "completed", {"1": 0, "2": 3}, 5),
        (x1, "failed", {"1": 0, "2": 1}, 1),
        (y1, "completed", {"4": 0, "8": 2}, 10),
    ):
        yield from histogram("task_duration", f'{labels}, status="{status}"', bounds)
        yield f'dotflow_task_duration_seconds_sum{{{labels}, status="{status}"}}', grows(seconds)
    yield from histogram("task_queue", x1, {"0.1": 0, "1": 4})
    yield from histogram("task_queue", y1, {"0.1": 2})
    yield from histogram("task_queue", x2, {"0.1": 1})
    yield f"dotflow_task_active{{{x1}}}", is_always(2)
    yield f"dotflow_task_active{{{y1}}}", is_always(0)
    yield f'dotflow_task_recorded{{{x1}, name="rows"}}', is_always(1200)
    yield f'dotflow_task_recorded{{{x1.replace("i1", "i2")}, name="rows"}}', is_always(900)
    # Of the processes themselves.
    for n, queued in ((1, 3), (2, 0)):
        process = f'job="j", instance="i{n}"'
        yield f'dotflow_telemetry_dropped_total{{{process}, signal="spans"}}', grows(1)
        yield f'dotflow_provider_errors_total{{{process}, provider="notify", method="hook"}}', grows(n)
        yield f"dotflow_background_queued{{{process}}}", is_always(queued)
        yield f'dotflow_build_info{{{process}, version="1.0"}}', is_always(1)
    # Spans, as the Collector counts them: 10 a step that are well and 2 that are not, of 1 to 2 seconds.
    spans = 'service_name="etl", dotflow_workflow_name="a", span_name="task x"'
    for status, count in (("UNSET", 10), ("ERROR", 2)):
        labels = f'{spans}, status_code="STATUS_CODE_{status}"'
        yield f"traces_span_metrics_calls_total{{{labels}}}", grows(count)
        for bound, below in (("1", 0), ("2", count), ("+Inf", count)):
            yield f'traces_span_metrics_duration_seconds_bucket{{{labels}, le="{bound}"}}', grows(below)


def by(label, values):
    return {f'{label}="{key}"': value for key, value in values.items()}


HEATMAP = {"0.1": 0, "1": 0, "2": 16, "4": 16, "8": 16, "+Inf": 16}
OF_A = 1.95  # the p95 of what is spread evenly between 1 and 2 seconds
OF_B = 7.8  # and between 4 and 8
MEANINGS = {
    # the query of a panel, and the values it shows, by their labels
    ("overview", "Alerts firing", 0): {
        "": 3
    },  # of failures, skipped ticks and lost spans; WorkflowFailed is for information
    ("overview", "Workflows failing", 0): {"": 1},  # `a`, of which one process has failed; `c` has ended no run
    ("overview", "Running", 0): {"": 4},
    ("overview", "Most overdue", 0): {"": 2},  # `b`: 600 seconds, and 300 were meant
    ("overview", "Success ratio", 0): {"": 0.8},
    ("overview", "Finished runs", 0): {"": 300},
    ("overview", "Run duration, p95", 0): {"": 7},  # of 5 runs a step the one of `b` has the upper fifth
    ("overview", "Schedule lateness, p95", 0): {"": 0.91},
    ("overview", "Workflows", 0): by("workflow", {"a": 0, "b": 1}),
    ("overview", "Workflows", 1): by("workflow", {"a": 3, "b": 0, "c": 1}),
    ("overview", "Workflows", 2): by("workflow", {"a": 300, "c": 50}),
    ("overview", "Workflows", 3): by("workflow", {"a": 200, "b": 600, "c": 1200}),  # `c`: since it is known
    ("overview", "Workflows", 4): by("workflow", {"a": 0.5, "b": 2}),
    ("overview", "Workflows", 5): by("workflow", {"a": 240, "b": 60, "c": 0}),
    ("overview", "Workflows", 6): by("workflow", {"a": 60, "b": 0, "c": 0}),
    ("overview", "Workflows", 7): by("workflow", {"a": OF_A, "b": OF_B}),
    ("overview", "Last run by workflow", 0): by("workflow", {"a": 0, "b": 1}),
    ("overview", "Failure ratio, worst ten", 0): {'job="j", workflow="a"': 0.25, 'job="j", workflow="b"': 0},
    ("overview", "Runs by status", 0): by("status", {"completed": 16, "failed": 4}),
    ("overview", "Failed runs by workflow", 0): by("workflow", {"a": 4, "b": 0, "c": 0}),
    ("overview", "Errors by type, worst ten", 0): {
        'error_type="KeyError", workflow="a"': 12,
        'error_type="OSError", workflow="b"': 4,
    },
    ("overview", "Run durations", 0): by("le", {**HEATMAP, "8": 20, "+Inf": 20}),
    ("overview", "Run duration: p50, p95, p99", 0): {"": 1.625},
    ("overview", "Run duration: p50, p95, p99", 1): {"": 7},
    ("overview", "Run duration: p50, p95, p99", 2): {"": 7.8},
    ("overview", "Queue wait, p95", 0): by("workflow", {"a": 0.9325, "b": 0.095}),
    ("overview", "Schedule lateness, p95", 1): by("workflow", {"a": 0.955, "b": 0.095}),
    ("overview", "Skipped ticks", 0): {'reason="overlap", workflow="a"': 4},
    ("overview", "Telemetry dropped", 0): by("signal", {"spans": 8}),
    ("overview", "Provider errors", 0): {'method="hook", provider="notify"': 12},
    ("overview", "Background queue", 0): by("instance", {"i1": 3, "i2": 0}),
    ("overview", "Versions", 0): by("version", {"1.0": 2}),
    ("workflow", "Last run", 0): {"": 0},
    ("workflow", "Since last success", 0): {"": 200},
    ("workflow", "Running", 0): {"": 3},
    ("workflow", "Success ratio", 0): {"": 0.75},
    ("workflow", "Run duration, p95", 0): {"": OF_A},
    ("workflow", "Interval", 0): {"": 400},
    ("workflow", "Run durations", 0): by("le", HEATMAP),
    ("workflow", "Runs by status", 0): {"": 12},
    ("workflow", "Runs by status", 1): {"": 4},
    ("workflow", "Task duration, p95", 0): by("task", {"x": OF_A, "y": OF_B}),
    ("workflow", "Where the time goes", 0): by("task", {"x": 24, "y": 40}),
    ("workflow", "Queue wait, p95", 0): by("task", {"x": 0.955, "y": 0.095}),
    ("workflow", "Running tasks", 0): by("task", {"x": 2, "y": 0}),
    ("workflow", "Retries by task", 0): by("task", {"x": 8, "y": 0}),
    ("workflow", "Errors by type", 0): {'error_type="KeyError", task="x"': 12},
    ("workflow", "Recorded by steps", 0): {'name="rows", task="x"': 1200},
    ("workflow", "Tasks", 0): by("task", {"x": 240, "y": 120}),
    ("workflow", "Tasks", 1): by("task", {"x": 180, "y": 120}),
    ("workflow", "Tasks", 2): by("task", {"x": 60, "y": 0}),
    ("workflow", "Tasks", 3): by("task", {"x": 120, "y": 0}),
    ("workflow", "Tasks", 4): by("task", {"x": 0, "y": 60}),
    ("workflow", "Tasks", 5): by("task", {"x": 180, "y": 0}),
    ("workflow", "Tasks", 6): by("task", {"x": 1.5, "y": 5}),
    ("traces", "Spans a second", 0): by("span_name", {"task x": 2.4}),
    ("traces", "Errors a second", 0): by("span_name", {"task x": 0.4}),
    ("traces", "Span duration, p95", 0): by("span_name", {"task x": OF_A}),
}


def queries():
    """Every query, by the dashboard, the title of its panel, and its place among the queries of panels of that name."""
    found = {}
    for panel, target in expressions():
        place = sum(key[:2] == (panel.board, panel.title) for key in found)
        found[panel.board, panel.title, place] = CHOSEN.query(panel, target)
    return found


def test_every_query_is_in_the_table():
    assert list(queries()) == list(MEANINGS)


@pytest.mark.parametrize("board", ["overview", "workflow", "traces"])
def test_what_a_panel_shows_is_what_it_says(tmp_path, board):
    asked = {key: query for key, query in queries().items() if key[0] == board}
    assert asked
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": name, "values": values} for name, values in series()],
                "promql_expr_test": [
                    {
                        # Rounded, as binary fractions are not those of this page; NaN is shown as nothing.
                        "expr": f"round({query}, 0.0001) >= 0",
                        "eval_time": f"{STEPS * 5}s",
                        "exp_samples": [{"labels": f"{{{of}}}", "value": value} for of, value in MEANINGS[key].items()],
                    }
                    for key, query in asked.items()
                ],
            }
        ],
    }
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps(test))  # which is YAML
    done = subprocess.run([find("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
