"""Telemetry that does not arrive says why, in words that cannot hold a secret."""

from __future__ import annotations

import re

import pytest

from dotflow import Config, DotFlow, action
from dotflow.providers import LogOpenTelemetry, MetricsOpenTelemetry, TracerOpenTelemetry
from support.http_receiver import Answer, HttpReceiver
from support.ports import free_port

ALL = ("logs", "metrics", "spans")
KINDS = {"tracer": TracerOpenTelemetry, "metrics": MetricsOpenTelemetry, "log": LogOpenTelemetry}


@action(name="plain")
def plain():
    return 1


def told_of(contained, url, **options) -> list[str]:
    """What is told of each signal, without its number of items, the run and the endpoint."""
    providers = {kind: provider(endpoint=url, **options) for kind, provider in KINDS.items()}
    with DotFlow(Config(**providers), name="lost") as workflow:
        workflow.task.add(plain)
        workflow.start().raise_for_status()
    lines = [re.sub(r"\d+ lost in run \w+, not delivered to http://[\w.:/]+", "lost", line) for line in contained]
    assert not [line for line in lines if "hunter2" in line]
    return sorted(line.partition(";")[0] for line in lines)


@pytest.mark.contained
def test_a_collector_that_refuses_connections(contained):
    told = told_of(contained, f"http://127.0.0.1:{free_port()}/?key=hunter2")
    assert told == [f"{signal}: lost (Connection refused)" for signal in ALL]


@pytest.mark.contained
@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_a_collector_that_does_not_want_it(contained, status):
    with HttpReceiver(usual=Answer(status=status, body="hunter2 is wrong")) as listening:
        told = told_of(contained, f"http://me:hunter2@{listening.address}")
    assert told == [f"{signal}: lost (HTTP {status})" for signal in ALL]


@pytest.mark.contained
def test_a_server_of_another_protocol(contained):
    with HttpReceiver(usual=Answer(raw=b"220 mail.example.com ESMTP hunter2\r\n")) as listening:
        told = told_of(contained, f"http://{listening.address}")
    assert [line.partition(" (")[0] for line in told] == [f"{signal}: lost" for signal in ALL]
    assert all(re.fullmatch(r"\w+: lost \([\w ]+\)", line) for line in told)


@pytest.mark.contained
def test_a_grpc_collector_that_refuses_connections(contained):
    told = told_of(contained, f"http://127.0.0.1:{free_port()}", protocol="grpc", shutdown_timeout=4.0)
    assert told == [f"{signal}: lost (UNAVAILABLE)" for signal in ALL]
