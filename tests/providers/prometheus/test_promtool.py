"""What Prometheus' own checker says of the exposition, in both formats."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser

from dotflow import Config, DotFlow, action, record
from dotflow.names import metrics as names
from dotflow.providers import TracerOpenTelemetry
from support import missing


@pytest.fixture
def promtool():
    """Gives `promtool check metrics --extended` a text; returns its exit status and what it complains of."""
    program = shutil.which("promtool")
    if program is None:
        missing.skip("promtool", "prometheus", "the text format, by promtool")

    def check(text):
        command = [program, "check", "metrics", "--extended"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stderr

    return check


@pytest.fixture
def everything(make):
    """A provider with every series of the table, exemplars included."""
    metrics = make()

    @action
    def extract():
        record("rows_loaded", 1200)

    @action(retry=2)
    def load():
        raise ValueError("planned")

    with DotFlow(Config(metrics=metrics, tracer=TracerOpenTelemetry()), name='nightly "etl"\n\\ ☃') as flow:
        flow.task.add(step=[extract, load])
        flow.start()
        metrics.expected_interval(flow.name, 3600)
        metrics.schedule_skipped(flow.name, "overlap")
        metrics.schedule_ticked(flow.name, 0.5)
        metrics.provider_failed("tracer", "start_task")
    families = {family.name: family for family in metrics.registry.collect()}
    assert [metric.name for metric in names.METRICS if not families[metric.prometheus].samples] == []
    return metrics


def test_the_checker_complains_of_what_is_wrong(promtool):
    assert promtool("# HELP foo Text.\n# TYPE foo counter\nfoo 1\n") == (
        3,
        'foo counter metrics should have "_total" suffix\n',
    )


def test_the_text_format_is_clean(promtool, everything):
    assert promtool(generate_latest(everything.registry).decode()) == (0, "")


class Parsed:
    """The families of an exposition, in the place of a registry."""

    def __init__(self, text):
        self.families = list(openmetrics_parser.text_string_to_metric_families(text))

    def collect(self):
        return self.families


def test_openmetrics_says_the_same_and_is_clean(promtool, everything):
    """promtool reads only the text format: the strict parser of prometheus_client translates."""
    text = openmetrics.generate_latest(everything.registry).decode()
    parsed = Parsed(text)
    assert any(sample.exemplar for family in parsed.families for sample in family.samples)
    translated = generate_latest(parsed).decode()
    assert promtool(translated) == (0, "")
    assert sorted(translated.splitlines()) == sorted(generate_latest(everything.registry).decode().splitlines())
    assert text.endswith("# EOF\n")


def test_the_textfile_is_clean(promtool, make, tmp_path):
    metrics = make(textfile=tmp_path / "nightly.prom")
    with DotFlow(Config(metrics=metrics), name="nightly") as flow:
        flow.start()
    assert promtool((tmp_path / "nightly.prom").read_text()) == (0, "")
