"""Programs that run a workflow with recording providers, report how it went, and are sent signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass

_PRELUDE = """
import asyncio, json, os, random, signal, sys, threading
from dotflow import Config, DotFlow, action, events
from dotflow.testing import Calls, RecordingLog, RecordingMetrics, RecordingServer, RecordingTracer

calls = Calls()

class Flushing(RecordingTracer):
    def flush(self, timeout):
        self.calls.note("tracer", "flush")

def ready(*_):
    print("ready", flush=True)

def block():
    ready()
    threading.Event().wait(60)

def report(run):
    names = calls.names()
    print(json.dumps({
        "run": [run.status, run.result],
        "tasks": [[t.task_id, t.status, t.result, [e.exception for e in t.errors]] for t in run.tasks],
        "counts": {name: names.count(name) for name in set(names)},
    }), flush=True)

@action(name="good")
def good():
    return 1

def workflow_of(*steps, tracer=Flushing, **more):
    config = Config(tracer=tracer(calls), metrics=RecordingMetrics(calls), log=RecordingLog(calls),
                    server=RecordingServer(calls), **more)
    workflow = DotFlow(config, name="w")
    workflow.task.add(step=list(steps))
    return workflow

def run_and_report(workflow, **start):
    try:
        workflow.start(**start)
    finally:
        report(workflow.task.latest)
"""


@contextmanager
def program(text):
    """A program with the prelude above, ended if it has not ended itself."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", _PRELUDE + textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Report:
    """What a program reported about a run: its status and result, its tasks, and how often which provider was called."""

    def __init__(self, line):
        found = json.loads(line)
        self.run, self.tasks, self.counts = found["run"], found["tasks"], found["counts"]

    def check_balance(self):
        """Whatever was started has ended, exactly once, for every provider, and was flushed."""
        count = self.counts.get
        started = count("tracer.start_task", 0)
        assert count("tracer.end_task", 0) == started
        assert count("metrics.task_completed", 0) + count("metrics.task_failed", 0) == started
        assert len([task for task in self.tasks if task[1] in ("Completed", "Failed")]) == started
        assert {task[1] for task in self.tasks} <= {"Completed", "Failed", "Not started"}
        retried = count("metrics.task_retried", 0)
        lines = sum(count(f"log.{level}", 0) for level in ("info", "error", "warning"))
        skipped = len([task for task in self.tasks if task[1] == "Not started" and task[2]])
        assert lines == 2 + 2 * started + retried + skipped
        assert count("server.update_task", 0) == 2 * started + retried + skipped
        assert count("tracer.start_workflow") == count("tracer.end_workflow") == count("tracer.flush") == 1


class Ended(Report):
    """How a program ended, too: its exit status and what it wrote; the last line of it is the report."""

    def __init__(self, process):
        out, self.err = process.communicate(timeout=LIMIT)
        self.pid, self.status, self.lines = process.pid, process.returncode, out.splitlines()
        assert self.lines, self.err
        super().__init__(self.lines[-1])


def ended(text):
    """Run a program to its end."""
    with program(text) as process:
        return Ended(process)


def interrupted(text, signum=signal.SIGINT, *others):
    """Run a program, send it Ctrl-C or another signal when it is ready, and look at how it ended.

    `others`: the lines that it is to have written as well by then.
    """
    awaited = {"ready\n", *others}
    with program(text) as process:
        while awaited:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            awaited.discard(line)
        process.send_signal(signum)
        return Ended(process)
