"""Prometheus in the tests: providers that are closed again, and scrapes over HTTP as Prometheus makes them."""

from __future__ import annotations

import urllib.request
from typing import NamedTuple

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from dotflow_prometheus import MetricsPrometheus

ACCEPT_OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Scrape(NamedTuple):
    """One answer of an endpoint, parsed."""

    content_type: str
    text: str
    families: dict

    def sample(self, name, /, **labels):
        """The one sample of this series."""
        (found,) = [s for s in self.samples(name) if s.labels == labels]
        return found

    def samples(self, name):
        """All samples of this name."""
        return [s for family in self.families.values() for s in family.samples if s.name == name]

    def value(self, metric, /, **labels):
        """The value of a counter, a gauge, or the count of a histogram."""
        return self.sample(_value_series(metric), **labels).value

    def exemplar(self, metric, /, **labels):
        """The exemplar of a counter, or the one exemplar of a histogram's buckets."""
        if metric.kind == "counter":
            return self.sample(metric.series[0], **labels).exemplar
        buckets = [s for s in self.samples(metric.series[0]) if labels.items() <= s.labels.items()]
        found = [s.exemplar for s in buckets if s.exemplar]
        assert len(found) < 2
        return found[0] if found else None


def _value_series(metric):
    return metric.series[1] if metric.kind == "histogram" else metric.series[0]


def fetch(url, accept=None):
    """The answer to one GET: content type and text."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


@pytest.fixture
def make(closed):
    """Makes providers, which are closed after the test."""
    return lambda *args, **options: closed(MetricsPrometheus(*args, **options))


@pytest.fixture
def metrics(make):
    """A provider that serves on a free port."""
    return make(port=0)


@pytest.fixture
def scrape():
    """Scrapes a provider as OpenMetrics, which is what Prometheus asks for first."""

    def scrape_it(provider):
        content_type, text = fetch(provider.url, ACCEPT_OPENMETRICS)
        families = openmetrics_parser.text_string_to_metric_families(text)
        return Scrape(content_type, text, {family.name: family for family in families})

    return scrape_it


@pytest.fixture
def scrape_text():
    """Scrapes a provider in the text format."""

    def scrape_it(provider):
        content_type, text = fetch(provider.url)
        return Scrape(
            content_type, text, {family.name: family for family in parser.text_string_to_metric_families(text)}
        )

    return scrape_it
