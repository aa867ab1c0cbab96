"""Steps, runs and programs for the tests of metrics providers."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import dotflow
from dotflow import Config, DotFlow, action
from dotflow.abc import Tracer
from dotflow.model.task import Task

NAME = "nightly"
LIMIT = 60  # seconds after which what hangs fails; nothing waits that long to pass
SECOND_NS = 1_000_000_000
RUN_SPAN, TASK_SPAN = "c" * 16, "d" * 16  # the ids of `Headers`


@action
def good():
    return 1


@action(retry=2)
def bad():
    raise ValueError("never")


@action
def measuring():
    dotflow.record("rows", 1)


@action(timeout=0.05, retry=2)
def slow():
    time.sleep(1)


def failing_once(mark):
    """A step that fails at its first attempt, wherever it is run."""

    @action(retry=2, name="flaky")
    def step():
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return
        raise ConnectionError("no answer")

    return step


def failing_twice(clock):
    """A step that fails at its first two attempts, and takes a second for each by this clock."""
    attempts = itertools.count()

    @action(retry=3, name="flaky")
    def step():
        clock.advance(1)
        if next(attempts) < 2:
            raise ConnectionError("no answer")

    return step


def run(metrics, *steps, name=NAME, start=None, **config):
    flow = DotFlow(Config(metrics=metrics, **config), name=name)
    flow.task.add(step=list(steps))
    return flow.start(**(start or {}))


def task_of(name="good", workflow=NAME, span=None, duration=1.0):
    task = Task(good, name=name, workflow_name=workflow)
    task.span, task.duration = span, duration
    return task


def scraped(prometheus):
    """The series of a MetricsPrometheus."""
    return {(s.name, frozenset(s.labels.items())): s.value for f in prometheus.registry.collect() for s in f.samples}


class Headers(Tracer):
    """Makes no spans, only their ids."""

    def __init__(self, flags="01", trace_id="ab" * 16):
        self.flags = flags
        self.trace_id = trace_id

    def start_workflow(self, workflow_id, **kwargs): ...

    def end_workflow(self, workflow_id, **kwargs): ...

    def start_task(self, task): ...

    def end_task(self, task): ...

    def workflow_carrier(self, run):
        return {"traceparent": f"00-{self.trace_id}-{RUN_SPAN}-{self.flags}"}

    def carrier(self, task):
        return {"traceparent": f"00-{self.trace_id}-{TASK_SPAN}-{self.flags}"}


def exemplars(endpoint):
    return {(p.name, *e[:2]) for p in endpoint.points for e in p.exemplars}


def python(program, **environment):
    """Run a program in a fresh interpreter; its output, both channels together."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * LIMIT,
        check=True,
    ).stdout


PROGRAM = """
    from opentelemetry import metrics as api
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from dotflow import Config, DotFlow, action
    from dotflow_otel.metrics.provider import MetricsOpenTelemetry

    @action
    def good(): ...

    def run(metrics):
        flow = DotFlow(Config(metrics=metrics), name="nightly")
        flow.task.add(step=good)
        return flow.start()
"""


@contextmanager
def refusing():
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
