"""The `Config` of the documentation, with what it sends to stopped, slow or talking nonsense in the middle of a run.

Storage is different, and has its tests beside the storages: what happens to it there fails the task.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from dotflow_redis import StorageRedis
from support import datadog_agent, missing, redis_server
from support.ddtrace_programs import environment
from support.garbling import Garbling
from support.http_receiver import Answer, receiver
from support.public_snippet import snippet
from support.redis_server import RedisServer
from support.statsd_server import UdpListener

pytestmark = pytest.mark.built

_PROGRAM = """
import json
import sys

from dotflow import DotFlow, action


@action
def first():
    return 1


@action
def middle():
    print("in the middle", flush=True)
    assert sys.stdin.readline() == "go on\\n"
    return 2


@action(retry=2)
def last():
    return 3


with DotFlow(config=config, name="nightly-etl", workflow_id="nightly-1") as workflow:
    workflow.task.add(step=[first, middle, last])
    run = workflow.start()
print(json.dumps([run.status, [task.current_context.storage for task in run.tasks],
                  {"/".join(key): count for key, count in run.provider_errors.items()}, run.dropped]), flush=True)
"""


class Systems:
    """A real Redis, and everything else behind something that can be stopped, slowed down or garbled."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.gate = threading.Event()
        self.ports: dict[str, int] = {}

    @contextmanager
    def running(self):
        with (
            datadog_agent.DatadogAgent(datadog_agent.find()) as self.agent,
            Garbling(int(self.agent.url.rpartition(":")[2])) as self.between,
            receiver() as self.slack,
            UdpListener() as self.statsd,
        ):
            self.ports = {"redis": self.redis.port, "slack": self.slack.port, "statsd": self.statsd.port}
            try:
                yield self
            finally:
                self.gate.set()

    def stop(self) -> None:
        self.slack.stop()
        self.between.__exit__()
        self.statsd.__exit__()

    def slow(self) -> None:
        self.slack.usual = Answer(gate=self.gate)
        self.between.nonsense = b" "  # one byte for each packet of the request, and never an answer

    def nonsense(self) -> None:
        self.slack.usual = Answer(raw=bytes(64))
        self.between.nonsense = bytes(64)


@pytest.fixture
def systems():
    if redis_server.find() is None:
        missing.skip("redis-server", "redis-server", "the public snippet")
    try:
        datadog_agent.find()
    except (RuntimeError, OSError) as error:
        missing.skip_unbuilt("ddapm-test-agent", "the public snippet", f"pip: {error}")
    with RedisServer() as redis, Systems(redis).running() as systems:
        yield systems


@pytest.fixture(params=["stop", "slow", "nonsense"])
def ended(request, systems, tmp_path):
    """The program's report, and what it wrote to standard error; its systems fail while its second step runs."""
    (tmp_path / "nightly.py").write_text(snippet(**systems.ports) + _PROGRAM)
    with subprocess.Popen(
        [sys.executable, "nightly.py"],
        cwd=tmp_path,
        env=environment(f"http://127.0.0.1:{systems.between.port}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "in the middle\n"
            systems.slack.wait_for(3)
            getattr(systems, request.param)()
            process.stdin.write("go on\n")
            process.stdin.flush()
            report = process.stdout.readline()
        finally:
            process.kill()  # the end of the program is ddtrace's, which waits for 21 s
            err = process.communicate()[1]
    return request.param, *json.loads(report), err


def test_nothing_changes_but_a_counter_and_a_line(ended, systems):
    how, status, results, errors, dropped, err = ended
    assert (status, results) == ("Completed", [1, 2, 3])
    storage = StorageRedis("127.0.0.1", systems.redis.port)
    assert [storage.get(f"nightly-1:{task}").storage for task in ("first", "middle", "last")] == [1, 2, 3]
    storage.close(1)
    assert dropped.pop("spans") == 5
    told = errors.pop("notify/hook_status_task", 0) + dropped.pop("notify", 0)
    assert told == 3  # once each: the call that hangs is given up, or has just come back with an error
    if how == "stop":
        assert dropped.pop("metrics") > 1
    assert (errors, dropped) == ({}, {})
    lines = [line.partition(":")[0].partition(" raised")[0] for line in err.splitlines() if "only counted" in line]
    assert sorted(lines) == sorted(set(lines))
    assert set(lines) <= {"notify.hook_status_task", "notify", "spans", "metrics"}
    assert "spans" in lines
    assert "hush" not in err
