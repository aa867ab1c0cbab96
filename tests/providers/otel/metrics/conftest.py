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
def make(endpoint, closed):
    """Makes providers that send to the endpoint, and are closed after the test."""
    usual = {"endpoint": endpoint.url, "shutdown_timeout": 60.0}
    return lambda **options: closed(MetricsOpenTelemetry(**{**usual, **options}))


@pytest.fixture
def metrics(make):
    return make()
