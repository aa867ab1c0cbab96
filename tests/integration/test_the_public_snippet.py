"""The `Config` of the documentation, as written there but for the hosts, against the real systems: a schedule and a resume."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest
from slack_sdk.models.blocks import Block

from dotflow_redis import StorageRedis
from support import datadog_agent, missing, redis_server, statsd_server
from support.ddtrace_programs import environment
from support.http_receiver import receiver
from support.public_snippet import SECRET, snippet
from support.redis_server import RedisServer
from support.statsd_server import UdpListener, until

pytestmark = pytest.mark.built

LIMIT = 120  # seconds after which a program that hangs fails its test; none takes that long to pass
EXECUTORS = [{}, {"mode": "parallel", "max_workers": 2}]

_STEPS = """
import json
import pathlib
import sys

from ddtrace.trace import tracer

import dotflow
from dotflow import DotFlow, action


@action
def extract():
    with tracer.trace("query"):
        return {"rows": 3, "days": (1, 2)}


@action(retry=2)
def load():
    failed = pathlib.Path("load has failed")
    if not failed.exists():
        failed.touch()
        raise ConnectionError("the warehouse is closed")
    failed.unlink()
    dotflow.record("rows", 3)
    return "loaded"


@action
def publish():
    published = pathlib.Path("published")
    if published.exists():
        published.unlink()
        raise ValueError("published already")
    published.touch()
    return "published"
"""

_RUNS = """

def tell(run):
    print(json.dumps({"run_id": run.run_id, "status": run.status, "trigger": run.trigger,
                      "errors": [list(key) for key in run.provider_errors], "dropped": run.dropped,
                      "results": [task.result for task in run.tasks]}), flush=True)


def second(tasks):
    tell(workflow.task.latest)
    config.scheduler.stop()


with DotFlow(config=config, name="nightly-etl", workflow_id="nightly-1") as workflow:
    workflow.task.add(step=[extract, load, publish])
    workflow.schedule(on_success=lambda tasks: tell(workflow.task.latest), on_failure=second, keep_going=True, **EXECUTOR)
    tell(workflow.start(resume=True, **EXECUTOR))
"""


class Listened:
    """What a bare socket has got, as a statsd server would count it."""

    def __init__(self, listener: UdpListener) -> None:
        self._listener = listener

    @property
    def counters(self) -> dict[str, float]:
        found: Counter[str] = Counter()
        for name, value, kind in self._metrics():
            if kind == "c":
                found[name] += int(value)
        return dict(found)

    @property
    def gauges(self) -> dict[str, float]:
        return {name: float(value) for name, value, kind in self._metrics() if kind == "g"}

    def _metrics(self):
        return [re.fullmatch(r"([^:|]+):([^:|]+)\|(\w+)", line).groups() for line in self._listener.lines]


@contextmanager
def a_listener():
    with UdpListener() as listener:
        yield listener.port, Listened(listener)


@contextmanager
def a_server():
    program = statsd_server.find_statsd()
    if program is None:
        missing.skip("statsd, nor node and npm to get it with", "npm", "the public snippet with npm's statsd")
    with statsd_server.StatsdServer(program) as server:
        yield server.port, server


@pytest.fixture(scope="module")
def agent():
    try:
        program = datadog_agent.find()
    except (RuntimeError, OSError) as error:
        missing.skip_unbuilt("ddapm-test-agent", "the public snippet", f"pip: {error}")
    with datadog_agent.DatadogAgent(program) as running:
        yield running
        failed = [name for name, counts in running.checks().items() if counts["Failed_Checks"]]
        assert not failed


@pytest.fixture(scope="module")
def redis():
    if redis_server.find() is None:
        missing.skip("redis-server", "redis-server", "the public snippet")
    with RedisServer() as server:
        yield server


class Told:
    """What a program has printed of its three runs, and what every system has got of them."""

    def __init__(self, out: str, err: str, systems: dict) -> None:
        self.runs = [json.loads(line) for line in out.splitlines()]
        self.err = err
        self.ids = [run["run_id"] for run in self.runs]
        self.redis, self.slack, self.agent, self.statsd = systems.values()


@pytest.fixture(scope="module", params=[a_listener, a_server], ids=lambda kind: kind.__name__)
def statsd(request):
    return request.param


@pytest.fixture(scope="module", params=EXECUTORS, ids=["inline", "in workers"])
def told(request, tmp_path_factory, agent, redis, statsd):
    path = tmp_path_factory.mktemp("snippet")
    with ExitStack() as stack:
        slack = stack.enter_context(receiver())
        port, counting = stack.enter_context(statsd())
        with redis.client() as client:
            client.flushall()
        config = snippet(redis.port, slack.port, port, seconds=0.05)
        (path / "nightly.py").write_text(f"EXECUTOR = {request.param}\n{_STEPS}{config}{_RUNS}")
        done = subprocess.run(
            [sys.executable, "nightly.py"],
            cwd=path,
            env=environment(agent.url),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        systems = {"redis": redis, "slack": slack, "agent": agent, "statsd": counting}
        yield Told(done.stdout, done.stderr, systems)


def test_the_runs_went_as_they_should(told):
    assert [(run["status"], run["trigger"], run["results"]) for run in told.runs] == [
        ("Completed", "schedule", ["success", "success", "success"]),
        ("Failed", "schedule", ["success", "success", "failure"]),
        ("Completed", "resume", ["restored", "restored", "success"]),
    ]
    assert [(run["errors"], run["dropped"]) for run in told.runs] == [([], {})] * 3
    assert "hush" not in told.err
    assert "lost in run" not in told.err


def test_redis_has_the_results_and_the_record(told):
    storage = StorageRedis("127.0.0.1", told.redis.port)
    with told.redis.client() as client:
        names = sorted(client.keys())
    assert names == [b"dotflow:nightly-1#run", *(b"dotflow:nightly-1:" + t for t in (b"extract", b"load", b"publish"))]
    assert storage.get("nightly-1:extract").storage == {"rows": 3, "days": (1, 2)}
    assert storage.get("nightly-1:load").storage == "loaded"
    assert storage.get("nightly-1:publish").storage == "published"
    assert told.ids[-1] in str(storage.get_run("nightly-1").storage)
    storage.close(1)


def test_slack_has_a_message_for_every_change(told):
    assert {(request.method, request.path) for request in told.slack.requests} == {("POST", SECRET)}
    changes: dict[tuple[str, str], list[str]] = {}
    for message in told.slack.jsons:
        assert set(message) == {"text", "blocks"}
        for block in message["blocks"]:
            Block.parse(block).validate_json()
        (fields,) = [block["fields"] for block in message["blocks"] if "fields" in block]
        shown = dict(field["text"].strip("*").split("*\n") for field in fields)
        (footer,) = message["blocks"][-1]["elements"]
        changes.setdefault((footer["text"].split(" ")[1], shown["Task"]), []).append(shown["Status"])
    first, second, third = told.ids
    ends_well, retried = ["In progress", "Completed"], ["In progress", "Retry", "Completed"]
    assert changes == {
        **{(run_id, "extract"): ends_well for run_id in (first, second)},
        **{(run_id, "load"): retried for run_id in (first, second)},
        (first, "publish"): ends_well,
        (second, "publish"): ["In progress", "Failed"],
        (third, "publish"): ends_well,
    }


def test_datadog_has_the_spans_nested_and_active(told):
    for run in told.runs:
        spans = told.agent.trace(run["run_id"])
        by_id = {span.span_id: span for span in spans}
        shape = {(s.name, s.resource, by_id[s.parent_id].resource if s.parent_id else None) for s in spans}
        tasks = {("dotflow.task", name, "nightly-etl") for name in ("extract", "load", "publish")}
        ran = {("query", "query", "extract"), ("dotflow.attempt", "load", "load")}
        assert shape == {
            ("dotflow.workflow", "nightly-etl", None),
            *tasks,
            *(ran if run["trigger"] == "schedule" else ()),
        }
        (root,) = (span for span in spans if span.name == "dotflow.workflow")
        assert root.meta["dotflow.run.trigger"] == run["trigger"]
        assert root.meta["dotflow.run.id"] == run["run_id"]
        assert root.error == (run["status"] == "Failed")
        failed = {(span.name, span.resource) for span in spans if span.error and span is not root}
        retried = {("dotflow.attempt", "load")} if run["trigger"] == "schedule" else set()
        assert failed == retried | ({("dotflow.task", "publish")} if run["status"] == "Failed" else set())


def test_statsd_has_counted_everything(told):
    last = "dotflow.workflow.last_run_success.nightly-etl"
    until(lambda: told.statsd.counters.get("dotflow.workflow.completed.nightly-etl") == 2, "the last line has not come")
    until(lambda: told.statsd.gauges.get(last) == 1, "the last line has not come")
    counters = {name: value for name, value in told.statsd.counters.items() if "nightly-etl" in name}
    assert {name: value for name, value in counters.items() if "schedule" not in name and value} == {
        "dotflow.workflow.started.nightly-etl": 3,
        "dotflow.workflow.completed.nightly-etl": 2,
        "dotflow.workflow.failed.nightly-etl": 1,
        "dotflow.task.started.nightly-etl.extract": 2,
        "dotflow.task.started.nightly-etl.load": 2,
        "dotflow.task.started.nightly-etl.publish": 3,
        "dotflow.task.completed.nightly-etl.extract": 2,
        "dotflow.task.completed.nightly-etl.load": 2,
        "dotflow.task.completed.nightly-etl.publish": 2,
        "dotflow.task.failed.nightly-etl.publish": 1,
        "dotflow.task.retried.nightly-etl.load": 2,
        "dotflow.task.errors.nightly-etl.load.ConnectionError": 2,
        "dotflow.task.errors.nightly-etl.publish.ValueError": 1,
        "dotflow.task.restored.nightly-etl.extract": 1,
        "dotflow.task.restored.nightly-etl.load": 1,
    }
    assert told.statsd.gauges["dotflow.workflow.expected_interval.nightly-etl"] == 0.05
    assert told.statsd.gauges["dotflow.task.recorded.nightly-etl.load.rows"] == 3
    assert told.statsd.gauges["dotflow.workflow.active_runs.nightly-etl"] == 0
