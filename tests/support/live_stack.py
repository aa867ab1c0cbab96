"""The stack as it is shipped, without containers: the real programs, the shipped configurations, a running pipeline.

What differs is what must: addresses and paths, because everything stands on one machine here; one second for the
five between scrapes, so that a test need not wait; and the pace of the demonstration's rules.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from support import collector, jaeger, prometheus_otlp, prometheus_server
from support.alertmanager import Alertmanager
from support.compose import ROOT, services
from support.http_receiver import HttpReceiver
from support.ports import free_ports
from support.prometheus_server import Prometheus
from support.service import Service, get, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

STACK = ROOT / "stack"
_NOT_HERE = ("grafana:3000", "host.docker.internal:9464", "pushgateway:9091")
_SET_BY_THE_TESTS = ("--config.file", "--storage.tsdb.path", "--enable-feature")


def moved(text: str, addresses: Mapping[str, str]) -> str:
    """A configuration with other addresses. Each of them must be in it: else the test would test something else.

    Raises:
        AssertionError: one is not.
    """
    for old, new in addresses.items():
        assert old in text, f"{old} is not in the shipped configuration any more"
        text = text.replace(old, new)
    left = re.findall(r"0\.0\.0\.0|host\.docker\.internal|(?:jaeger|collector|prometheus|alertmanager|loki):\d+", text)
    assert left == [], f"still pointing elsewhere: {left}"
    return text


def collector_service(
    binary: Path, *, jaeger: str, prometheus: str, loki: str = "http://127.0.0.1:9", logs: str = "nop"
) -> tuple[Service, dict[str, str]]:
    """The Collector with its shipped configuration, and its addresses. `jaeger` is host:port, the others are URLs."""
    names = ("grpc", "http", "spans", "own", "health")
    at = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    text = moved(
        (STACK / "collector/config.yaml").read_text(),
        {
            "0.0.0.0:4317": at["grpc"],
            "0.0.0.0:4318": at["http"],
            "0.0.0.0:8889": at["spans"],
            "0.0.0.0:13133": at["health"],
            "host: 0.0.0.0, port: 8888": f"host: 127.0.0.1, port: {at['own'].split(':')[1]}",
            "jaeger:4317": jaeger,
            "http://prometheus:9090": prometheus,
            "http://loki:3100": loki,
            "metrics_flush_interval: 5s": "metrics_flush_interval: 1s",
        },
    )
    command = [binary, "--config=config.yaml"]
    env = {"DOTFLOW_LOGS_EXPORTER": logs}
    return Service(command, f"http://{at['health']}/", files={"config.yaml": text}, env=env), at


class ShippedJaeger(Service):
    """Jaeger with its shipped configuration. The program is `support.jaeger`'s: it has no web UI, but all the rest."""

    def __init__(
        self, binary: Path, *, prometheus: str, storage: str = "memory", directory: Path | None = None
    ) -> None:
        names = ("grpc", "http", "query", "query_grpc", "own", "health")
        self.at = at = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
        text = moved(
            (STACK / "jaeger/config.yaml").read_text(),
            {
                "0.0.0.0:4317": at["grpc"],
                "0.0.0.0:4318": at["http"],
                "0.0.0.0:16686": at["query"],
                "0.0.0.0:16685": at["query_grpc"],
                "0.0.0.0:13133": at["health"],
                "host: 0.0.0.0, port: 8888": f"host: 127.0.0.1, port: {at['own'].split(':')[1]}",
                "http://prometheus:9090": prometheus,
                "/etc/jaeger/ui.json": str(STACK / "jaeger/ui.json"),
            },
        )
        store = (STACK / f"jaeger/storage-{storage}.yaml").read_text()
        if directory is not None:
            store = moved(store, {"/tmp/badger": str(directory)})
        command = [binary, "--config=config.yaml", "--config=storage.yaml"]
        super().__init__(command, f"http://{at['health']}/status", files={"config.yaml": text, "storage.yaml": store})

    def traces(self, **search: Any) -> list[dict[str, Any]]:
        """What Grafana's data source and Jaeger's own UI get for a search: `/api/traces`."""
        query = "&".join(f"{name}={value}" for name, value in search.items())
        return get(f"http://{self.at['query']}/api/traces?{query}")["data"] or []

    def trace(self, trace_id: str) -> dict[str, Any]:
        """One trace, by its id; waited for, because a metric of a run can be scraped before its spans have arrived."""

        def found() -> dict[str, Any] | None:
            try:
                return get(f"http://{self.at['query']}/api/traces/{trace_id}")["data"][0]
            except OSError:
                return None

        return wait_for(found, f"trace {trace_id}", limit=20)

    def span(self, trace_id: str, span_id: str) -> dict[str, Any]:
        """One span; waited for too, because the spans of a trace come in several batches."""

        def found() -> dict[str, Any] | None:
            return next((span for span in self.trace(trace_id)["spans"] if span["spanID"] == span_id), None)

        return wait_for(found, f"span {span_id} of {trace_id}", limit=20)


class LiveStack:
    """All of it, from `with` on."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._jaeger_binary, self._collector_binary = jaeger.find(), collector.find()

    def __enter__(self) -> LiveStack:
        with ExitStack() as starting:
            self._start(starting)
            self._exit = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _start(self, enter: ExitStack) -> None:
        assert self._jaeger_binary, "no jaeger"
        assert self._collector_binary, "no collector"
        self.webhook = enter.enter_context(HttpReceiver())
        self.alertmanager = enter.enter_context(Alertmanager(alerting(self.webhook.address)))
        demo, canary, query = free_ports(3)
        self.prometheus_address, self.demo_address = f"127.0.0.1:{query}", f"127.0.0.1:{demo}"
        self.jaeger = enter.enter_context(
            ShippedJaeger(self._jaeger_binary, prometheus=f"http://{self.prometheus_address}")
        )
        service, self.collector_at = collector_service(
            self._collector_binary, jaeger=self.jaeger.at["grpc"], prometheus=f"http://{self.prometheus_address}"
        )
        self.collector = enter.enter_context(service)
        self.directory = Path(enter.enter_context(_Directory()))
        configuration = self._prometheus_configuration([self.demo_address, f"127.0.0.1:{canary}"])
        self.prometheus = enter.enter_context(
            PrometheusAt(prometheus_program(), configuration, self.prometheus_address)
        )
        self.demo = enter.enter_context(self._demo(demo, canary))
        self.began = time.time()

    def _prometheus_configuration(self, programs: list[str]) -> Path:
        shipped = yaml.safe_load((STACK / "prometheus/prometheus.yml").read_text())
        shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        addresses = dict(zip(("demo:9464", "demo:9465"), programs, strict=True)) | {
            "alertmanager:9093": self.alertmanager.address,
            "collector:8889": self.collector_at["spans"],
            "collector:8888": self.collector_at["own"],
            "jaeger:8888": self.jaeger.at["own"],
            "localhost:9090": self.prometheus_address,
        }
        found = [_moved_targets(each, addresses) for each in shipped["alerting"]["alertmanagers"]]
        found += [_moved_targets(job, addresses) for job in shipped["scrape_configs"]]
        assert sorted(set().union(*found)) == sorted({*addresses, *_NOT_HERE}), (
            "what is scraped is not what is known here"
        )
        rules = self.directory / "rules"
        rules.mkdir()
        text = (STACK / "prometheus/rules-demo/dotflow.yml").read_text().replace("interval: 5s", "interval: 1s")
        (rules / "dotflow.yml").write_text(text)
        path = self.directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(shipped))
        return path

    def _demo(self, port: int, canary: int) -> Service:
        command = [sys.executable, ROOT / "examples/stack_demo.py", "--port", str(port), "--canary-port", str(canary)]
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.collector_at['http']}"}
        return Service([str(word) for word in command], f"http://127.0.0.1:{port}/metrics", env=env)


def _moved_targets(config: dict[str, Any], addresses: Mapping[str, str]) -> set[str]:
    """Give a scrape configuration other targets; returns those that it had."""
    by_name = [f"{name}:{each['port']}" for each in config.pop("dns_sd_configs", []) for name in each["names"]]
    shipped = {*by_name, *(target for each in config.get("static_configs", []) for target in each["targets"])}
    targets = [addresses[address] for address in sorted(shipped) if address in addresses]
    config["static_configs"] = [{"targets": targets}]
    return shipped


def alerting(webhook: str) -> str:
    """The shipped configuration of Alertmanager, calling this address, without the wait that groups alerts."""
    shipped = (STACK / "alertmanager/alertmanager.yml").read_text()
    return moved(shipped, {"host.docker.internal:9099": webhook, "group_wait: 10s": "group_wait: 0s"})


def prometheus_program() -> tuple[Path, list[str]]:
    """The release that is shipped, with the flags that it is shipped with; where there is none, Debian's, older one."""
    shipped = prometheus_otlp.find()
    if shipped is None:
        return prometheus_server.find(), []
    command = services()["prometheus"]["command"]
    return shipped, [flag for flag in command if not flag.startswith(_SET_BY_THE_TESTS)]


class PrometheusAt(Prometheus):
    """At an address that others had to know before it was started."""

    def __init__(self, program: tuple[Path, list[str]], configuration: str | Path, address: str) -> None:
        self._binary, self._flags = program
        self._configuration = configuration
        self._address = address

    @property
    def url(self) -> str:
        return f"http://{self._address}"

    @url.setter
    def url(self, _: str) -> None:
        """Not a free port but the one that was promised."""


class _Directory:
    def __enter__(self) -> str:
        import tempfile

        self._directory = tempfile.TemporaryDirectory()
        return self._directory.name

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()
