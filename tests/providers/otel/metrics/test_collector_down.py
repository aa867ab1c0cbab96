"""Collectors that are down, at the start, during a run and at the end: no hang, one line, and everything counted."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from dotflow import Config, DotFlow
from support.metrics_runs import LIMIT, NAME, PROGRAM, bad, good, python, refusing, run
from support.otlp_metrics import OtlpMetricsEndpoint
from support.threads import in_time

TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


@contextmanager
def unavailable():
    with OtlpMetricsEndpoint(503) as listening:
        yield listening.url


@contextmanager
def stalling():
    with OtlpMetricsEndpoint() as listening:
        listening.stalled.set()
        yield listening.url


@contextmanager
def trickling():
    """An answer that goes on and on: no single read of it takes long."""
    over = threading.Event()
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def answer(connection):
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
                while not over.wait(0.05):
                    connection.sendall(b"x")

        def accept():
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                threads.append(threading.Thread(target=answer, args=(connection,)))
                threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            for thread in threads:
                thread.join()


DOWN = [refusing, unavailable, stalling, trickling]


@pytest.mark.contained
@pytest.mark.parametrize("down", DOWN)
def test_a_collector_that_is_down_is_told_of_in_one_line_and_holds_no_run_up(down, make, contained, caplog):
    with down() as url:
        metrics = make(endpoint=url, shutdown_timeout=0.3)
        flow = DotFlow(Config(metrics=metrics), name=NAME)
        flow.task.add(step=[good, bad])
        runs = [in_time(flow.start) for _ in range(2)]
        assert all(run_.duration < LIMIT for run_ in runs)
        assert [run_.provider_errors for run_ in runs] == [{}, {}]
        # 5 families a workflow ..., all that there is: what was sent of the first run comes again with the second.
        assert all(run_.dropped["metrics"] > 30 for run_ in runs)
        (line,) = contained
        assert f"metrics: {runs[0].dropped['metrics']} lost in run {runs[0].run_id}, not delivered to {url}" in line
        in_time(lambda: metrics.flush(1.0))
        assert not [r for r in caplog.records if r.name.startswith(("opentelemetry", "urllib3"))]


@pytest.mark.contained
@pytest.mark.parametrize("preference", ["cumulative", "delta"])
def test_what_is_delivered_later_is_not_lost_unless_it_is_deltas(make, endpoint, monkeypatch, preference):
    monkeypatch.setenv(TEMPORALITY, preference)
    metrics = make(shutdown_timeout=0.3)
    flow = DotFlow(Config(metrics=metrics), name=NAME)
    flow.task.add(step=bad)
    endpoint.status = 400
    lost = flow.start().dropped["metrics"]
    assert lost > 10
    endpoint.status = 200
    assert flow.start().dropped == {}
    of = {"workflow": NAME, "task": "bad"}
    assert endpoint.total("dotflow.task.failed", **of) == (2 if preference == "cumulative" else 1)
    assert endpoint.total("dotflow.task.duration", **of, status="failed") == (2 if preference == "cumulative" else 1)
    assert endpoint.total("dotflow.telemetry.dropped", signal="metrics") == lost


@pytest.mark.contained
def test_a_failure_between_two_runs_is_none_if_the_flush_at_the_end_delivers(make, endpoint):
    metrics = make(shutdown_timeout=0.3)
    run(metrics, good)
    endpoint.status = 400
    metrics.flush(1.0)
    endpoint.status = 200
    metrics.flush(1.0)
    assert metrics.take_dropped() == []
    endpoint.status = 400
    metrics.flush(1.0)
    metrics.flush(1.0)
    (dropped,) = metrics.take_dropped()
    assert dropped.items == len(endpoint.batches[-1])  # the newest state counts, not each attempt to send it
    assert metrics.take_dropped() == []


def test_a_program_whose_collector_is_down_ends_soon():
    with refusing() as url:
        began = time.monotonic()
        said = python(f"{PROGRAM}\n    run(MetricsOpenTelemetry())\n", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert time.monotonic() - began < LIMIT
    (line,) = said.splitlines()
    assert "not delivered to" in line
    assert "Traceback" not in said


@pytest.mark.contained
def test_a_grpc_collector_that_is_down_holds_no_run_up(make, contained, caplog):
    pytest.importorskip("grpc", reason="SKIPPED: install dotflow-sdk[otel-grpc] to test OTLP over gRPC as well")
    with refusing() as url:
        metrics = make(endpoint=url, protocol="grpc", shutdown_timeout=0.3)
        flow = DotFlow(Config(metrics=metrics), name=NAME)
        flow.task.add(step=good)
        runs = [in_time(flow.start) for _ in range(2)]
        assert all(run_.dropped["metrics"] > 20 for run_ in runs)
        in_time(lambda: metrics.close(5.0))
    assert len(contained) == 1
    assert not [r for r in caplog.records if r.name.startswith(("opentelemetry", "urllib3", "grpc"))]
