"""What a real Prometheus finds: every series of a known load with its exact value, and exemplars that lead to spans.

The load, and the ways it is run, are those of `support.known_load`; what it comes to stands in `known_load_series`.
"""

from __future__ import annotations

import json
import math
import subprocess
import urllib.request
from collections import defaultdict
from itertools import pairwise

import pytest

from dotflow.names import metrics as names
from support import known_load as load
from support.known_load_series import LOADED, PHASES, Expected, labels_of
from support.otlp import OtlpEndpoint
from support.prometheus_server import Prometheus, find, scraping

pytestmark = pytest.mark.long

JOB = "known-load"
REACHED = "loaded", "released"  # the phases in which something has run

DURATIONS = (names.WORKFLOW_DURATION, names.TASK_DURATION)
WITH_EXEMPLARS = (names.WORKFLOW_FAILED, names.TASK_FAILED, names.TASK_RETRIED, names.TASK_ERRORS, *DURATIONS)
HISTOGRAMS = tuple(metric for metric in names.METRICS if metric.kind == "histogram")


class Scrape:
    """All that one scrape of the program brought, as Prometheus has it: name to labels to value."""

    def __init__(self, prometheus, moment):
        self.time = prometheus.scraped_since(JOB, moment)
        self.target = prometheus.target(JOB)
        self.series = defaultdict(dict)
        for sample in prometheus.query(f'{{__name__=~"dotflow_.+",job="{JOB}"}}', at=self.time):
            labels = {label: value for label, value in sample.labels.items() if label not in ("__name__", "job")}
            assert labels.pop("instance") == self.target["labels"]["instance"]
            self.series[sample.name][labels_of(**labels)] = sample.value

    def values(self, metric):
        """The values of a metric's series; of a histogram, its counts."""
        return self.series[metric.series[1] if metric.kind == "histogram" else metric.series[0]]

    def sums(self, metric):
        return self.series[metric.series[2]]

    def buckets(self, metric):
        """Of each series of a histogram: upper bound to cumulative count, in order."""
        found = defaultdict(dict)
        for labels, value in self.series[metric.series[0]].items():
            others = dict(labels)
            found[float(others.pop("le")), labels_of(**others)] = value
        series = defaultdict(dict)
        for (bound, labels), value in sorted(found.items(), key=lambda each: each[0][0]):
            series[labels][bound] = value
        return series


class Scraped:
    """The program in all its phases, each scraped whole; Prometheus and the OTLP endpoint can still be asked."""

    def __init__(self, directory, otlp, prometheus, program):
        self.otlp, self.prometheus = otlp, prometheus
        self.phases, self.scrapes = [program.phase], [self._scrape(program)]
        for _ in REACHED:
            self.phases.append(program.go_on())
            self.scrapes.append(self._scrape(program))
            self.text = fetch(program.url)
        self.status, self.err = program.end()
        self.log = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]

    def expected(self, phase):
        return Expected(self.phase(phase), self.phases[0].time)

    def phase(self, name):
        return next(phase for phase in self.phases if phase.name == name)

    def scrape(self, name):
        return self.scrapes[self.phases.index(self.phase(name))]

    def exemplars(self, metric):
        """Of all series of a metric whose spans arrive."""
        return self.prometheus.exemplars(
            f'{metric.series[0]}{{workflow!="lost"}}', self.scrapes[0].time, self.scrapes[-1].time
        )

    def _scrape(self, program):
        return Scrape(self.prometheus, program.phase.time)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    find()
    directory = tmp_path_factory.mktemp("known-load")
    with (
        OtlpEndpoint() as otlp,
        load.KnownLoad(directory, otlp.url) as program,
        Prometheus(scraping({JOB: program.url}, interval="500ms")) as prometheus,
    ):
        yield Scraped(directory, otlp, prometheus, program)


def fetch(url):
    with urllib.request.urlopen(url, timeout=load.LIMIT) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read()


# --- the values


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.name)
def test_every_series_has_its_exact_value(scraped, metric, phase):
    assert scraped.scrape(phase).values(metric) == scraped.expected(phase)[metric]


@pytest.mark.parametrize("phase", PHASES)
def test_there_are_no_others(scraped, phase):
    expected = scraped.expected(phase)
    known = {series for metric in names.METRICS if expected[metric] for series in metric.series}
    assert {name for name, series in scraped.scrape(phase).series.items() if series} == known


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_the_buckets_add_up_to_the_count(scraped, metric, phase):
    scrape = scraped.scrape(phase)
    counts, buckets = scrape.values(metric), scrape.buckets(metric)
    assert buckets.keys() == counts.keys()
    for labels, series in buckets.items():
        assert tuple(series) == (*names.DURATION_BUCKETS, math.inf)
        assert all(below <= above for below, above in pairwise(series.values()))
        assert series[math.inf] == counts[labels]


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_the_sums_are_seconds(scraped, metric):
    scrape = scraped.scrape("loaded")
    longest = scraped.phase("loaded").time - scraped.phase("declared").time
    for labels, total in scrape.sums(metric).items():
        assert 0 <= total <= longest * scrape.values(metric)[labels], labels
        assert total > 0 or metric not in DURATIONS or not scrape.values(metric)[labels], labels


def test_a_failure_by_timeout_took_as_long_as_the_timeout(scraped):
    sums = scraped.scrape("loaded").sums(names.TASK_DURATION)
    for name, workflow in LOADED.items():
        for task, found in workflow.tasks.items():
            assert sums[labels_of(workflow=name, task=task, status="failed")] >= found.failures_take


@pytest.mark.parametrize("metric", [names.WORKFLOW_FAILED, names.TASK_FAILED], ids=lambda metric: metric.name)
def test_increase_sees_the_first_failure(scraped, metric):
    first, last = scraped.scrape("declared"), scraped.scrape("loaded")
    window = math.ceil(last.time - first.time) + 1
    found = scraped.prometheus.query(f"increase({metric.series[0]}[{window}s])", at=last.time)
    increases = {sample.labels["workflow"]: sample.value for sample in found if sample.value}
    # Prometheus extrapolates to the end of the window, so an increase may be a little more than what was counted.
    assert {name for name, workflow in LOADED.items() if workflow.failed} == increases.keys()
    for workflow, increase in increases.items():
        assert increase >= LOADED[workflow].failed


# --- the exemplars


def owners(metric, labels):
    """The name of the span that a series' exemplar leads to."""
    found = dict(labels)
    return f"task {found['task']}" if "task" in metric.labels else f"workflow {found['workflow']}"


@pytest.mark.parametrize("metric", WITH_EXEMPLARS, ids=lambda metric: metric.name)
def test_an_exemplar_leads_to_a_span_that_arrived(scraped, metric):
    arrived = {(span.trace_id, span.span_id): span for span in scraped.otlp.spans}
    exemplars = scraped.exemplars(metric)
    assert exemplars
    for exemplar in exemplars:
        assert exemplar.labels.keys() == {"trace_id", "span_id"}
        span = arrived[exemplar.labels["trace_id"], exemplar.labels["span_id"]]
        assert span.attributes["dotflow.workflow.name"] == exemplar.series["workflow"]
        assert span.name == owners(metric, exemplar.series.items())
        assert span.trace_id == span.attributes["dotflow.run.id"]


@pytest.mark.parametrize("metric", WITH_EXEMPLARS, ids=lambda metric: metric.name)
def test_every_series_that_should_have_an_exemplar_has_one(scraped, metric):
    added = {"job", "instance", "__name__", "le"}
    have = {
        labels_of(**{label: value for label, value in exemplar.series.items() if label not in added})
        for exemplar in scraped.exemplars(metric)
    }
    counted = {labels for labels, value in scraped.expected("released")[metric].items() if value}
    assert have == {labels for labels in counted if ("workflow", "lost") not in labels}


@pytest.mark.parametrize("metric", DURATIONS, ids=lambda metric: metric.name)
def test_the_exemplar_of_a_bucket_belongs_into_it(scraped, metric):
    bounds = (0.0, *names.DURATION_BUCKETS, math.inf)
    below = dict(zip(bounds[1:], bounds, strict=False))
    for exemplar in scraped.exemplars(metric):
        bound = float(exemplar.series["le"])
        assert below[bound] <= exemplar.value <= bound


@pytest.mark.parametrize("way", load.WAYS)
def test_the_exemplar_of_a_failed_workflow_is_its_latest_failed_run(scraped, way):
    found = [each for each in scraped.exemplars(names.WORKFLOW_FAILED) if each.series["workflow"] == way]
    latest = max(found, key=lambda exemplar: exemplar.time)
    assert latest.labels["trace_id"] == scraped.phase("loaded").facts["runs"][way][load.SICK_RUNS - 1]


# --- the exposition


def test_promtool_finds_nothing_to_say_about_the_text_format(scraped):
    checked = subprocess.run(
        [find("promtool"), "check", "metrics", "--extended"], input=scraped.text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr.decode()) == (0, "")
    counted = {line.split()[0] for line in checked.stdout.decode().splitlines()[1:] if line}
    assert counted >= {metric.series[0] for metric in names.METRICS if metric.kind != "histogram"}


@pytest.mark.parametrize("phase", PHASES)
def test_prometheus_reads_the_openmetrics_format(scraped, phase):
    target = scraped.scrape(phase).target
    assert (target["health"], target["lastError"]) == ("up", "")


def test_prometheus_has_nothing_to_complain_about(scraped):
    # It would warn of samples and exemplars that are doubled or out of order, and take the rest of the scrape.
    assert scraped.prometheus.log == ""


def test_the_program_ends_well_and_tells_of_each_lost_thing_once(scraped):
    assert (scraped.status, scraped.err) == (0, "")
    told = [line["event"] for line in scraped.log if "only counted" in line["event"]]
    assert sorted(text.partition(" ")[0] for text in told) == ["notify.hook_status_task", "spans:"]
