"""The package: its door, its README, and where its names come from."""

from __future__ import annotations

import re
from pathlib import Path

import dotflow_prometheus
from dotflow import providers

PACKAGE = Path(dotflow_prometheus.__file__).parent
ROOT = Path(__file__).parents[3]


def test_it_is_behind_the_door_of_all_providers():
    assert providers.MetricsPrometheus is dotflow_prometheus.MetricsPrometheus


def test_the_readme_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "providers/prometheus/README.md").read_text(), re.DOTALL)
    names = {"__name__": "readme"}
    exec(program.replace("port=9464", "port=0"), names)
    assert capsys.readouterr().out.startswith("scrape http://127.0.0.1:")
    registry = names["metrics"].registry
    labels = {"workflow": "nightly-etl", "task": "extract"}
    assert registry.get_sample_value("dotflow_task_completed_total", labels) == 1


def test_no_metric_is_named_outside_the_table():
    for file in PACKAGE.glob("*.py"):
        assert not re.search(r"dotflow[._](workflow|task|schedule|provider|telemetry|build)[._]", file.read_text()), (
            file
        )
