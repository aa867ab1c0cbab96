"""The suites of `dotflow.testing` over the providers that send to somebody, with a receiver that takes everything."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dotflow import providers
from dotflow.providers import MetricsStatsd, NotifyApprise, NotifySlack
from dotflow.testing.contracts import MetricsContract, NotifyContract
from support import datadog_agent, missing
from support.ddtrace_programs import environment
from support.http_receiver import HttpReceiver
from support.statsd_server import UdpListener

_LIMIT = 300  # seconds after which a suite that hangs fails; none takes that long to pass


@pytest.fixture
def stack(request):
    if "after_close" in request.node.name:  # what a provider then raises is its affair
        request.node.add_marker("contained")
    with ExitStack() as stack:
        yield stack


class _ToHttp(NotifyContract):
    """A notifier that posts to a receiver, which has to get every change of every task."""

    @pytest.fixture(autouse=True)
    def _receiver(self, stack):
        self.receiver = stack.enter_context(HttpReceiver())

    def check_run(self, provider, run):
        told = "\n".join(request.body.decode() for request in self.receiver.requests)
        for task in run.tasks:
            if task.started_at:
                assert f"contract / {task.name}: {task.status.value}" in told
                assert run.run_id in told


class TestNotifySlack(_ToHttp):
    def make_provider(self):
        return NotifySlack(f"http://{self.receiver.address}/services/T0/B0/hush")


class TestNotifyApprise(_ToHttp):
    def make_provider(self):
        return NotifyApprise(f"json://{self.receiver.address}/hush")


class TestMetricsStatsd(MetricsContract):
    @pytest.fixture(autouse=True, params=[False, True], ids=["plain", "dogstatsd"])
    def _listener(self, request, stack):
        self.dogstatsd = request.param
        self.listener = stack.enter_context(UdpListener())

    def make_provider(self):
        return MetricsStatsd("127.0.0.1", self.listener.port, dogstatsd=self.dogstatsd)

    def check_run(self, provider, run):
        how = "completed" if run.status == "Completed" else "failed"
        ended = (
            f"dotflow.workflow.{how}:1|c|#workflow:contract"
            if self.dogstatsd
            else f"dotflow.workflow.{how}.contract:1|c"
        )
        self.listener.wait_for(ended)


_DATADOG = """
import sys
import unittest

from dotflow.testing.contracts import TracerContract
from dotflow_datadog import TracerDatadog


class TestTracerDatadog(TracerContract, unittest.TestCase):
    def make_provider(self):
        return TracerDatadog("contract")

    def check_run(self, provider, run):
        print(run.run_id, *(task.name for task in run.tasks if task.started_at))


unittest.main(argv=["suite"])
"""


@pytest.mark.built
def test_tracer_datadog(tmp_path):
    """In a program of its own: ddtrace settles at its import where it sends to."""
    try:
        program = datadog_agent.find()
    except (RuntimeError, OSError) as error:
        missing.skip_unbuilt("ddapm-test-agent", "what Datadog's agent makes of the spans", f"pip: {error}")
    with datadog_agent.DatadogAgent(program) as agent:
        (tmp_path / "suite.py").write_text(_DATADOG)
        done = subprocess.run(
            [sys.executable, "suite.py"],
            cwd=tmp_path,
            env=environment(agent.url),
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "skipped" not in done.stderr
        runs = [line.split() for line in done.stdout.splitlines()]
        assert len(runs) > 10
        for run_id, *tasks in runs:
            found = {span.resource for span in agent.trace(run_id) if span.name == "dotflow.task"}
            assert found >= set(tasks)


def test_every_provider_has_its_suite():
    """Behind the door there is nothing that no table or class of these tests makes."""
    made = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    missing = [name for name in dir(providers) if f"{name}(" not in made and f"Backend({name})" not in made]
    assert missing == ["Schedules"]  # several workflows with a schedule each: no provider
