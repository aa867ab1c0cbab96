"""How it is sent: temporality, interval, protocol, and the end of a program."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import weakref

import pytest

from dotflow import Config, DotFlow
from support.metrics_runs import NAME, PROGRAM, bad, good, python, run
from support.otlp_metrics import CUMULATIVE, DELTA
from support.watched import until

TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


@pytest.mark.parametrize("preference", ["cumulative", "delta", "lowmemory"])
def test_temporality_is_that_of_the_environment(endpoint, make, monkeypatch, preference):
    monkeypatch.setenv(TEMPORALITY, preference)
    metrics = make()
    for _ in range(3):
        run(metrics, good, bad)
    kinds = {"counter": set(), "histogram": set(), "gauge": set()}
    for point in endpoint.points:
        kinds[point.kind].add(point.temporality)
    expected = {"cumulative": {CUMULATIVE}, "delta": {DELTA}, "lowmemory": {DELTA, CUMULATIVE}}[preference]
    assert kinds["counter"] == expected
    assert kinds["histogram"] == {CUMULATIVE if preference == "cumulative" else DELTA}
    of = {"workflow": NAME, "task": "bad"}
    assert endpoint.total("dotflow.task.started", **of) == 3
    assert endpoint.total("dotflow.task.failed", **of) == 3
    assert endpoint.total("dotflow.task.errors", **of, error_type="ValueError") == 6
    assert endpoint.total("dotflow.task.duration", **of, status="failed") == 3
    assert endpoint.total("dotflow.task.active", **of) == 0
    durations = [p for p in endpoint.named("dotflow.task.duration") if p.attributes == {**of, "status": "failed"}]
    if preference != "cumulative":
        assert [p.count for p in durations] == [1, 1, 1]
        assert all(a.time_ns == b.start_ns for a, b in itertools.pairwise(durations))
    else:
        assert [p.count for p in durations] == [0, 1, 2, 3]
        assert len({p.start_ns for p in durations}) == 1


def test_exponential_histograms_if_they_are_asked_for(endpoint, make, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram")
    run(make(), good)
    durations = endpoint.named("dotflow.task.duration")
    assert [(p.kind, p.count) for p in durations] == [("exponential_histogram", 1)]


@pytest.mark.parametrize("millis", ["50", "0", "-1", "nonsense"])
def test_the_interval_is_that_of_the_environment(endpoint, make, monkeypatch, millis):
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", millis)
    metrics = make()
    metrics.expected_interval(NAME, 1.0)
    if millis == "50":
        endpoint.wait_for(2)
    else:
        metrics.flush(60.0)
        assert len(endpoint.batches) == 1


def test_a_closed_provider_begins_anew_with_the_next_run(endpoint, metrics):
    for _ in range(2):
        with DotFlow(Config(metrics=metrics), name=NAME) as flow:
            flow.task.add(step=good)
            flow.start()
    started = [p.value for p in endpoint.named("dotflow.workflow.started")]
    assert started == [0, 1, 1, 0, 1, 1]  # before a run, at its end, and when it is closed
    metrics.provider_failed("tracer", "close")  # heard when all is over: nobody is left to be told
    metrics.close(5.0)
    assert len(endpoint.batches) == 6


def test_by_grpc(make):
    grpc = pytest.importorskip("grpc", reason="SKIPPED: install dotflow-sdk[otel-grpc] to test OTLP over gRPC as well")
    from concurrent import futures

    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as messages
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as service

    seen = []

    class Service(service.MetricsServiceServicer):
        def Export(self, request, context):  # noqa: N802 - called so by gRPC
            seen.extend(m.name for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics)
            return messages.ExportMetricsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    service.add_MetricsServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        metrics = make(endpoint=f"http://127.0.0.1:{port}", protocol="grpc")
        run(metrics, good)
        metrics.close(5.0)
    finally:
        server.stop(None).wait()
    assert seen.count("dotflow.task.duration") == 3


# --- the end of a program, and forked children


def test_the_end_of_a_program_needs_no_new_thread(endpoint):
    """From Python 3.12 on none can be started that late; here that is made so for any version."""
    said = python(
        f"""{PROGRAM}
    import atexit, threading

    metrics = MetricsOpenTelemetry()
    run(metrics)
    metrics.telemetry_dropped("spans", 7)

    def refuse(_):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    atexit.register(lambda: setattr(threading.Thread, "start", refuse))
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
    )
    assert said == ""
    assert endpoint.total("dotflow.telemetry.dropped", signal="spans") == 7


def test_a_step_that_ends_the_program_leaves_its_numbers(endpoint):
    python(
        f"""{PROGRAM}
    import sys

    @action
    def leave():
        sys.exit(0)

    flow = DotFlow(Config(metrics=MetricsOpenTelemetry()), name="nightly")
    flow.task.add(step=[good, leave])
    flow.start()
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
    )
    assert endpoint.total("dotflow.task.completed", workflow=NAME, task="good") == 1
    assert endpoint.total("dotflow.task.failed", workflow=NAME, task="leave") == 1
    assert endpoint.total("dotflow.workflow.failed", workflow=NAME) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: this system has no fork")
def test_a_forked_child_sends_nothing_of_its_parents(endpoint):
    said = python(
        f"""{PROGRAM}
    import os, sys

    metrics = MetricsOpenTelemetry()
    run(metrics)
    metrics.telemetry_dropped("spans", 7)  # not sent yet: the child has a copy of it
    child = os.fork()
    if child == 0:
        metrics.flush(60.0)
        assert metrics.take_dropped() == []
        sys.exit(3)  # with its exit handlers
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta",
    )
    assert said == ""
    assert endpoint.total("dotflow.telemetry.dropped", signal="spans") == 7
    assert endpoint.total("dotflow.task.completed", workflow=NAME, task="good") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: this system has no fork")
def test_a_forked_child_that_runs_workflows_counts_for_itself(endpoint):
    said = python(
        f"""{PROGRAM}
    import os

    metrics = MetricsOpenTelemetry()
    flow = DotFlow(Config(metrics=metrics), name="nightly")
    flow.task.add(step=good)
    flow.start()
    for _ in range(2):
        if os.fork() == 0:
            flow.start()
            break
    else:
        os.wait(), os.wait()
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
    )
    assert said == ""
    by_process = {}
    for point in endpoint.named("dotflow.task.completed"):
        by_process.setdefault(point.resource["service.instance.id"], []).append(point.value)
    assert len(by_process) == 3
    assert [(values[0], values[-1]) for values in by_process.values()] == [(0, 1)] * 3


def test_a_closed_provider_leaves_nothing_behind(endpoint, make):
    threads = set(threading.enumerate())
    left = []
    for _ in range(3):
        metrics = make()
        run(metrics, good)
        left.append(weakref.ref(metrics.provider))
        metrics.close(5.0)
    gc.collect()
    assert [each() for each in left] == [None] * 3
    until(
        lambda: set(threading.enumerate()) <= threads
    )  # those of the endpoint, which answer requests, end by themselves
    assert not [name for name, _ in endpoint.prometheus() if "overflow" in name]


def test_a_run_in_the_background_that_begins_at_the_end_of_its_program_is_sent(endpoint):
    """The SDK looks for its resource in a pool of threads, which Python refuses by then."""
    said = python(
        f"""{PROGRAM}
    flow = DotFlow(Config(metrics=MetricsOpenTelemetry(service_name="late")), name="nightly")
    flow.task.add(step=good)
    flow.start("background")
    """,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.url,
    )
    assert said == ""
    assert endpoint.total("dotflow.task.completed", workflow=NAME, task="good") == 1
    assert {p.resource["service.name"] for p in endpoint.points} == {"late"}
