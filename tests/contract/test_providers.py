"""The suites of `dotflow.testing` over every provider of the repository that is told what happens: one table.

A line is a name and a function of the test's `Surroundings`, which makes the provider; `receiving` enters a receiver of the
loopback that takes everything, and ends it with the test. The storages have a table of their own.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from dotflow.providers import (
    LogDefault,
    LogOpenTelemetry,
    LogStructlog,
    MetricsDefault,
    MetricsOpenTelemetry,
    MetricsPrometheus,
    NotifyDefault,
    SchedulerCron,
    SchedulerDefault,
    SchedulerInterval,
    ServerDefault,
    TracerDefault,
    TracerOpenTelemetry,
)
from dotflow.testing import (
    RecordingLog,
    RecordingMetrics,
    RecordingNotify,
    RecordingServer,
    RecordingTracer,
)
from dotflow.testing.contracts import (
    LogContract,
    MetricsContract,
    NotifyContract,
    SchedulerContract,
    ServerContract,
    TracerContract,
)
from support.otlp import OtlpEndpoint
from support.otlp_logs import LogsEndpoint
from support.otlp_metrics import OtlpMetricsEndpoint


class Surroundings:
    """What a provider of one test may write to; gone after it."""

    def __init__(self, path, stack):
        self.path, self._stack = path, stack
        self._made = []

    def made(self, provider):
        """A provider that ends with the test, also with runs of which the suite told no end."""
        self._made.append(provider)
        return provider

    def end(self):
        for provider in self._made:
            getattr(provider, "_runs", {}).clear()
            provider.close(5.0)

    def receiving(self, receiver):
        return self._stack.enter_context(receiver)


TRACERS = {
    "TracerDefault": lambda _: TracerDefault(),
    "RecordingTracer": lambda _: RecordingTracer(),
    "TracerOpenTelemetry": lambda _: TracerOpenTelemetry(),
    "TracerOpenTelemetry-file": lambda at: TracerOpenTelemetry(file=at.path / "spans.jsonl"),
    "TracerOpenTelemetry-http": lambda at: TracerOpenTelemetry(endpoint=at.receiving(OtlpEndpoint()).url),
}
METRICS = {
    "MetricsDefault": lambda _: MetricsDefault(),
    "RecordingMetrics": lambda _: RecordingMetrics(),
    "MetricsPrometheus": lambda _: MetricsPrometheus(),
    "MetricsOpenTelemetry": lambda _: MetricsOpenTelemetry(),
    "MetricsOpenTelemetry-http": lambda at: MetricsOpenTelemetry(endpoint=at.receiving(OtlpMetricsEndpoint()).url),
    "MetricsPrometheus-port": lambda _: MetricsPrometheus(port=0),
}
LOGS = {
    "LogDefault": lambda _: LogDefault(),
    "RecordingLog": lambda _: RecordingLog(),
    "LogStructlog-json": lambda at: LogStructlog(level="DEBUG", format="json", output=at.path / "log"),
    "LogStructlog-console": lambda at: LogStructlog(level="DEBUG", format="console", output=at.path / "log"),
    "LogOpenTelemetry": lambda at: LogOpenTelemetry(level="DEBUG", endpoint=at.receiving(LogsEndpoint()).url),
}
NOTIFIERS = {
    "NotifyDefault": lambda _: NotifyDefault(),
    "RecordingNotify": lambda _: RecordingNotify(),
}
SERVERS = {
    "ServerDefault": lambda _: ServerDefault(),
    "RecordingServer": lambda _: RecordingServer(),
}
SCHEDULERS = {
    "SchedulerDefault": lambda _: SchedulerDefault(),
    "SchedulerInterval": lambda _: SchedulerInterval(seconds=0.01),
    "SchedulerInterval-queue": lambda _: SchedulerInterval(seconds=0.01, overlap="queue"),
    "SchedulerInterval-parallel": lambda _: SchedulerInterval(seconds=0.01, overlap="parallel"),
    "SchedulerCron": lambda _: SchedulerCron("* * * * * *"),
}


def each_of(table):
    """A fixture that runs every test of its class for every line of the table."""

    @pytest.fixture(autouse=True, params=table)
    def choose(self, request, tmp_path):
        if "after_close" in request.node.name:  # what a provider then raises is its affair
            request.node.add_marker("contained")
        with ExitStack() as stack:
            self.line, self.at = request.param, Surroundings(tmp_path, stack)
            yield
            self.at.end()

    return choose


class TestTracers(TracerContract):
    choose = each_of(TRACERS)

    def make_provider(self):
        return self.at.made(TRACERS[self.line](self.at))


class TestMetrics(MetricsContract):
    choose = each_of(METRICS)

    def make_provider(self):
        return self.at.made(METRICS[self.line](self.at))


class TestLogs(LogContract):
    choose = each_of(LOGS)

    def make_provider(self):
        return self.at.made(LOGS[self.line](self.at))


class TestNotifiers(NotifyContract):
    choose = each_of(NOTIFIERS)

    def make_provider(self):
        return self.at.made(NOTIFIERS[self.line](self.at))


class TestServers(ServerContract):
    choose = each_of(SERVERS)

    def make_provider(self):
        return self.at.made(SERVERS[self.line](self.at))


class TestSchedulers(SchedulerContract):
    choose = each_of(SCHEDULERS)

    def make_provider(self):
        self.ticks = self.line != "SchedulerDefault"
        return self.at.made(SCHEDULERS[self.line](self.at))
