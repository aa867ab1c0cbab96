"""The endpoint and the registry: from construction to close."""

from __future__ import annotations

import socket
import threading

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from dotflow import Config, DotFlow, DotflowError
from dotflow.names import metrics as names
from dotflow_prometheus import MetricsPrometheus, PortUnavailable


def server_threads():
    return [t for t in threading.enumerate() if "serve_forever" in t.name or t.name.startswith("dotflow-prometheus")]


def is_free(port):
    with socket.create_server(("127.0.0.1", port)):
        return True


def test_it_serves_from_construction_on_at_a_free_port(metrics, scrape):
    assert 0 < metrics.port <= 65535
    assert metrics.url == f"http://127.0.0.1:{metrics.port}/metrics"
    (build,) = scrape(metrics).samples(names.BUILD.series[0])
    assert build.labels["version"]


def test_without_a_port_there_is_no_server():
    before = set(threading.enumerate())
    metrics = MetricsPrometheus()
    assert (metrics.port, metrics.url) == (None, None)
    assert set(threading.enumerate()) <= before
    metrics.close(1.0)


def test_a_port_that_was_chosen(make, scrape):
    first = make(port=0)
    port = first.port
    first.close(5.0)
    assert make(port=port).port == port


def test_ipv6(make, scrape):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 here")
    metrics = make(port=0, host="::1")
    assert metrics.url == f"http://[::1]:{metrics.port}/metrics"
    assert scrape(metrics).families


def test_a_taken_port_is_told_at_construction_and_leaves_nothing_behind(make):
    registry = CollectorRegistry()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=rf"127\.0\.0\.1:{port}.*port=0") as caught:
            make(port=port, registry=registry)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, DotflowError)
    assert caught.value.errno
    assert not server_threads()
    make(registry=registry)  # nothing of the first is left in it


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70])
def test_a_host_that_is_not_here(make, host):
    with pytest.raises(PortUnavailable, match=rf"{host}:0: .*; host= is a name or an address of this machine"):
        make(port=0, host=host)


def test_close_lets_go_of_port_and_thread_and_may_be_repeated(make):
    metrics = make(port=0)
    port = metrics.port
    assert server_threads()
    metrics.close(5.0)
    assert (metrics.port, metrics.url) == (None, None)
    assert is_free(port)
    assert not server_threads()
    metrics.close(5.0)


def test_close_keeps_to_a_timeout_of_nothing(make):
    metrics = make(port=0)
    port = metrics.port
    metrics.close(0.0)
    assert is_free(port)
    for thread in server_threads():  # they end by themselves, a moment later
        thread.join(5.0)
    assert not server_threads()


def test_a_scraper_that_hangs_does_not_hold_up_the_close(make):
    metrics = make(port=0)
    with socket.create_connection(("127.0.0.1", metrics.port)):
        metrics.close(5.0)
    assert not server_threads()


def test_the_workflow_closes_it(make):
    metrics = make(port=0)
    port = metrics.port
    with DotFlow(Config(metrics=metrics), name="nightly") as flow:
        flow.start()
    assert is_free(port)
    assert metrics.registry.get_sample_value(names.WORKFLOW_COMPLETED.series[0], {"workflow": "nightly"}) == 1


def test_a_registry_of_ones_own_keeps_its_own_series(make, scrape):
    registry = CollectorRegistry()
    Counter("theirs", "Somebody else's.", registry=registry).inc()
    metrics = make(registry, port=0)
    assert metrics.registry is registry
    seen = scrape(metrics)
    assert seen.sample("theirs_total").value == 1
    assert seen.families[names.BUILD.prometheus]


def test_two_on_one_registry_are_told_to_share(make):
    registry = CollectorRegistry()
    make(registry)
    with pytest.raises(DotflowError, match="share one MetricsPrometheus"):
        make(registry, port=0)
    assert not server_threads()


def test_a_scrape_may_ask_for_some_series_only(metrics):
    name = names.TELEMETRY_DROPPED.series[0]
    text = generate_latest(metrics.registry.restricted_registry([name])).decode()
    assert {line.split("{")[0] for line in text.splitlines() if not line.startswith("#")} == {name}


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"port": True},
        {"port": "9090"},
        {"host": ""},
        {"host": None},
        {"max_series": 0},
        {"max_series": True},
        {"max_series": 10.0},
        {"buckets": []},
        {"buckets": "123"},
        {"buckets": 5},
        {"buckets": [0, 1]},
        {"buckets": [2, 1]},
        {"buckets": [1, 1]},
        {"buckets": [1, float("inf")]},
        {"buckets": [float("nan")]},
        {"buckets": [True, 2]},
        {"buckets": ["1"]},
        {"registry": object},
    ],
    ids=repr,
)
def test_an_option_that_makes_no_sense_is_told_by_name(wrong):
    (name,) = wrong
    with pytest.raises(DotflowError, match=f"^{name}=") as caught:
        MetricsPrometheus(**wrong)
    assert isinstance(caught.value, ValueError)
