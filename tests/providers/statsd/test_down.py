"""A server that is not there, not known, or slow to be found: nothing changes but a counter and one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from dotflow import Config, DotFlow, action
from dotflow_statsd import MetricsStatsd, outbox
from support.statsd_server import UdpListener, nobody_listens

LINES = 25  # of the run below, as the listener of the first test counts them


@action(name="works")
def works():
    return 1


def start(metrics, runs=1):
    with DotFlow(Config(metrics=metrics), name="down") as workflow:
        workflow.task.add(works)
        return [workflow.start().raise_for_status() for _ in range(runs)]


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]


def test_somebody_listens_so_nothing_is_lost():
    with UdpListener() as listener:
        (run,) = start(MetricsStatsd("127.0.0.1", listener.port))
        listener.wait_for("dotflow.workflow.oldest_active_start_timestamp.down:0|g")
    assert run.dropped == {}
    assert len(listener.lines) == LINES


@pytest.mark.contained
def test_nobody_listens(caplog):
    with nobody_listens() as port:
        first, second = start(MetricsStatsd("127.0.0.1", port), runs=2)
    assert first.dropped == {"metrics": LINES}
    assert second.dropped["metrics"] >= LINES - 8  # what was declared is not declared again
    assert first.provider_errors == second.provider_errors == {}
    (line,) = told(caplog)
    assert f"metrics: {LINES} lost" in line
    assert f"not taken at 127.0.0.1:{port} (Connection refused)" in line


@pytest.mark.contained
def test_a_host_that_does_not_resolve(caplog):
    first, second = start(MetricsStatsd("statsd.invalid"), runs=2)  # RFC 2606: no such name, ever
    assert first.dropped == {"metrics": LINES}
    assert second.dropped["metrics"] >= LINES - 8
    (line,) = told(caplog)
    assert "the host 'statsd.invalid' is not known (" in line


@pytest.mark.contained
def test_a_name_server_that_does_not_answer(caplog, monkeypatch):
    answer, real = threading.Event(), socket.getaddrinfo
    looked = []

    def slow(*args, **kwargs):
        looked.append(args)
        answer.wait(60)
        return real("127.0.0.1", *args[1:], **kwargs)

    with UdpListener() as listener:
        metrics = MetricsStatsd("somewhere", listener.port, shutdown_timeout=0.1)
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        first, second = start_open(metrics, 2)
        assert first.dropped == {"metrics": LINES}
        assert second.dropped["metrics"] >= LINES - 8
        assert len(looked) == 1
        (line,) = told(caplog)
        assert "the host 'somewhere' is not known yet" in line
        answer.set()
        metrics.telemetry_dropped("logs", 5)  # and when it is found at last, all is well
        listener.wait_for("dotflow.telemetry.dropped.logs:5|c")
        metrics.close(5)


def start_open(metrics, runs):
    """As `start`, but the provider is not closed."""
    workflow = DotFlow(Config(metrics=metrics), name="down")
    workflow.task.add(works)
    return [workflow.start().raise_for_status() for _ in range(runs)]


@pytest.mark.contained
def test_a_server_that_goes_and_comes_back():
    with UdpListener() as listener:
        port = listener.port
        metrics = MetricsStatsd("127.0.0.1", port)
        assert start_open(metrics, 1)[0].dropped == {}
    assert start_open(metrics, 1)[0].dropped["metrics"] > 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
        start_open(metrics, 1)  # its first packet brings the news that the one before it was refused
        assert start_open(metrics, 1)[0].dropped == {}
    metrics.close(5)


@pytest.mark.contained
def test_what_waits_for_a_host_is_bounded(monkeypatch):
    answer, real = threading.Event(), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer.wait(60) and real(*args, **kwargs))
    monkeypatch.setattr(outbox, "_BACKLOG", 3)
    metrics = MetricsStatsd("127.0.0.1", shutdown_timeout=0.1)
    for _ in range(1000):
        metrics.telemetry_dropped("x" * 100, 1)
    assert len(metrics._outbox._backlog) == 3
    metrics.flush(1)
    assert sum(lost.items for lost in metrics.take_dropped()) == 1000
    answer.set()
    metrics.close(5)


def test_what_is_sent_last_arrives_though_nothing_is_closed():
    with UdpListener() as listener:
        program = f"""
from dotflow_statsd import MetricsStatsd
MetricsStatsd("127.0.0.1", {listener.port}).telemetry_dropped("spans", 3)
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment())
        listener.wait_for("dotflow.telemetry.dropped.spans:3|c")


def environment():
    """So that the program finds what these tests have found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
