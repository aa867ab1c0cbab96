"""The reader by itself, with an exporter that is at hand."""

from __future__ import annotations

import itertools
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from dotflow_otel.metrics.export import Reader, WatchedExporter
from support.metrics_runs import LIMIT


class Kept(MetricExporter):
    """Keeps what it is given, as soon as its gate is open."""

    def __init__(self):
        super().__init__()
        self.taken = []
        self.result = MetricExportResult.SUCCESS
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.taken.append(metrics_data)
        self.entered.set()
        assert self.gate.wait(LIMIT)
        return self.result

    def shutdown(self, timeout_millis=30_000, **kwargs): ...

    def force_flush(self, timeout_millis=10_000):
        return True


@pytest.fixture
def exporter():
    return Kept()


@pytest.fixture
def watched(exporter):
    return WatchedExporter(exporter)


@pytest.fixture
def reader(watched):
    made = Reader(watched, None, 1000)
    provider = MeterProvider([made], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("counter").add(1)
    yield made
    provider.shutdown()


def times_of(data):
    return {
        point.time_unix_nano // 1_000_000
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        for point in metric.data.data_points
    }


def test_no_two_collections_fall_into_one_millisecond(reader, exporter):
    """Prometheus tells milliseconds apart, and refuses the second sample of one: the last values of a short run."""
    for _ in range(50):
        assert reader.force_flush(1000)
    assert all(max(times_of(a)) < min(times_of(b)) for a, b in itertools.pairwise(exporter.taken))


def test_a_clock_that_stands_still_is_not_waited_for(reader, exporter, monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    for _ in range(3):
        assert reader.force_flush(1000)
    assert len(exporter.taken) == 3


class Announced:
    """A lock that tells when somebody asks for it."""

    def __init__(self, lock):
        self._lock = lock
        self.asked = threading.Semaphore(0)
        self.release = lock.release

    def acquire(self, *args, **kwargs):
        self.asked.release()
        return self._lock.acquire(*args, **kwargs)


def test_an_export_that_waited_for_one_that_failed_is_not_tried(reader, exporter, watched, monkeypatch):
    """A collector that does not answer is waited for once, not once for each of them."""
    turn = Announced(threading.Lock())
    monkeypatch.setattr(reader, "_turn", turn)
    exporter.gate.clear()
    exporter.result = MetricExportResult.FAILURE
    results = []
    threads = [threading.Thread(target=lambda: results.append(reader.force_flush(1000 * LIMIT))) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert turn.asked.acquire(timeout=LIMIT)
    assert exporter.entered.wait(LIMIT)
    exporter.gate.set()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(results) == [False, True]
    assert len(exporter.taken) == 1
    assert watched.take_lost() == 1  # the newest state of the one series, however often it was not delivered
    assert reader.force_flush(1000)  # the next one is tried again
    assert len(exporter.taken) == 2


def test_nothing_older_is_sent_after_something_newer(reader, exporter):
    """Prometheus would refuse it. Who waits for its turn collects after it has come."""
    exporter.gate.clear()
    threads = [threading.Thread(target=reader.force_flush, args=(1000 * LIMIT,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert exporter.entered.wait(LIMIT)
    exporter.gate.set()
    for thread in threads:
        thread.join(LIMIT)
    assert len(exporter.taken) == 4
    assert all(max(times_of(a)) < min(times_of(b)) for a, b in itertools.pairwise(exporter.taken))
