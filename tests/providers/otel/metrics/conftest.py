"""An OTLP endpoint, and providers that send to it."""

from __future__ import annotations

import pytest

from dotflow_otel.metrics.provider import MetricsOpenTelemetry
from support.otlp_metrics import OtlpMetricsEndpoint


@pytest.fixture
def endpoint():
    with OtlpMetricsEndpoint() as listening:
        yield listening


@pytest.fixture
def make(endpoint):
    """Makes providers that send to the endpoint, and closes them after the test."""
    made = []

    def make_one(**kwargs):
        made.append(MetricsOpenTelemetry(**{"endpoint": endpoint.url, "shutdown_timeout": 10.0, **kwargs}))
        return made[-1]

    yield make_one
    for metrics in made:
        metrics.close(5.0)


@pytest.fixture
def metrics(make):
    return make()
