"""The page that is served says what prometheus_client would have said of the same registry, only sooner."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from dotflow.model.task import SpanContext
from dotflow.names import metrics as names
from dotflow_prometheus import MetricsPrometheus
from dotflow_prometheus.exposition import Exposition

SPAN = SpanContext("5e41b7a2127e31da90c7d385250f8bf6", "90c7d385250f8bf6", True)
TASKS = ("extract", 'lo"ad\\\n', "☃", "lone \udc80")
FORMATS = {"text": generate_latest, "openmetrics": openmetrics.generate_latest}


class Compared:
    """A provider with few buckets, and its page in both formats."""

    def __init__(self) -> None:
        self.metrics = MetricsPrometheus(buckets=(0.1, 1, 60), max_series=6)
        bounds = (0.1, 1.0, 60.0)
        self.pages = {
            name: Exposition(self.metrics._series, bounds, openmetrics=name == "openmetrics") for name in FORMATS
        }

    def check(self) -> None:
        for name, page in self.pages.items():
            assert page.write().decode() == FORMATS[name](self.metrics.registry).decode()


def task(name, duration=0.05, queued=0.2, error=None, recorded=()):
    return SimpleNamespace(
        name=name,
        workflow_name="etl",
        workflow_id="w",
        queued_ns=0,
        started_ns=int(queued * 1e9),
        duration=duration,
        span=SPAN,
        error=error and SimpleNamespace(exception=error),
        recorded=dict(recorded),
    )


durations = st.floats(0, 1e9, allow_nan=False)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
ends = st.tuples(st.sampled_from(["task_completed", "task_failed", "task_retried"]), durations, durations, numbers)
calls = st.lists(st.tuples(st.sampled_from(TASKS), ends), max_size=6)


@settings(deadline=None, max_examples=100)
@given(st.lists(calls, max_size=3))
def test_both_formats_say_the_same_as_prometheus_client(rounds):
    compared = Compared()
    compared.metrics.declare("etl", ["extract"])
    compared.check()
    for calls in rounds:
        for name, (method, duration, queued, value) in calls:
            ended = task(name, duration, queued, "ValueError", {"rows": value})
            compared.metrics.task_started(ended)
            getattr(compared.metrics, method)(ended)
        compared.check()


def test_a_zero_is_the_same_whatever_its_sign():
    compared = Compared()
    for value in (0.0, -0.0, 0.0):
        compared.metrics.task_completed(task("extract", recorded={"rows": value}))
        compared.check()
    assert b"-0.0" not in compared.pages["text"].write()


@pytest.mark.contained
def test_what_has_too_many_labels_too():
    compared = Compared()
    for number in range(9):
        compared.metrics.task_started(task(f"task-{number}"))
    compared.check()
    assert b'task="_overflow"' in compared.pages["text"].write()


def test_every_metric_of_the_table_has_a_head():
    page = Compared().pages["openmetrics"].write().decode()
    for metric in names.METRICS:
        assert f"# TYPE {metric.prometheus} {metric.kind}\n" in page
        assert f"# HELP {metric.prometheus} {metric.help}\n" in page
    assert page.endswith("# EOF\n")


def test_pages_that_are_written_at_once_are_never_older_than_what_was_read_before():
    compared, over = Compared(), threading.Event()
    page = compared.pages["openmetrics"]
    compared.metrics.declare("etl", ["extract"])
    wrong = []

    def read() -> None:
        last = 0.0
        while not over.is_set():
            (line,) = [text for text in page.write().decode().splitlines() if text.startswith("dotflow_task_started_t")]
            now = float(line.split()[1])
            if now < last:
                wrong.append((last, now))
            last = now

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3000):
        compared.metrics.task_started(task("extract"))
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong
    compared.check()


def test_a_registry_with_other_metrics_is_served_whole(make, scrape):
    registry = CollectorRegistry()
    Counter("mine", "Mine.", registry=registry).inc()
    made = make(registry=registry, port=0)
    assert scrape(made).sample("mine_total").value == 1
    assert scrape(made).families.keys() >= {metric.prometheus for metric in names.METRICS}


def test_one_that_joins_a_registry_of_the_providers_own_is_served_too(make, scrape):
    made = make(port=0)
    Counter("mine", "Mine.", registry=made.registry).inc()
    assert scrape(made).sample("mine_total").value == 1
