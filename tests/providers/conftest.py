"""What the tests of several providers need."""

from __future__ import annotations

import os

import pytest

from dotflow import Config, DotFlow
from dotflow.testing import FakeClock
from support.metrics_runs import NAME


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def flow(metrics, clock):
    """An empty workflow by the test's clock, with the provider of the fixture `metrics`."""
    return DotFlow(Config(metrics=metrics, clock=clock), name=NAME)


@pytest.fixture
def no_otel_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def closed():
    """Takes providers, and closes them after the test."""
    taken = []

    def take(provider):
        taken.append(provider)
        return provider

    yield take
    for provider in taken:
        provider.close(5.0)
