"""Scheduled workflows in a process of their own, stopped by real signals: every run that began has ended, and was told of."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import pytest

from support.programs import LIMIT, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a process")

# Every step says where it runs, and then waits for the pipe to be opened by the test.
PROGRAM = """
from dotflow.model.clock import SystemClock
from dotflow.providers import SchedulerInterval
from dotflow.providers.schedulers.provider import Schedules

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once and whole, whatever else is written

class Metrics(RecordingMetrics):
    def schedule_ticked(self, workflow, lateness):
        self.calls.note("metrics", "schedule_ticked")

    def schedule_skipped(self, workflow, reason, count=1):
        if count and reason != "stopped":
            say("full")

class Saying(SystemClock):
    def wait(self, event, seconds):
        if seconds == DRAIN:
            say("draining")
        return super().wait(event, seconds)

@action
def work():
    say("begun", os.getpid())
    open(GATE).close()

def scheduled(name, step=work, **options):
    scheduler = SchedulerInterval(0.02, drain_timeout=DRAIN, clock=Saying(), max_parallel=2, max_queued=1, **options)
    config = Config(scheduler=scheduler, metrics=Metrics(calls), tracer=RecordingTracer(calls))
    workflow = DotFlow(config, name=name)
    workflow.task.add(step)
    return workflow

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run in the background

def tell():
    names = calls.names()
    counted = {name: names.count(name) for name in set(names)}
    say(json.dumps(counted))
"""


class Scheduled:
    """A program that runs schedules, and the pipe that its steps wait for."""

    def __init__(self, process, gate):
        self.process, self.gate, self.writer = process, gate, None
        self.workers = set()

    def until(self, *words):
        """Read what the program says until all of `words` have been said."""
        missing = set(words)
        while missing:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            word, _, rest = line.strip().partition(" ")
            if word == "begun":
                self.workers.add(int(rest))
            missing.discard(word)

    def drains(self, signum, word):
        """It gets a signal, and its steps may go on once it begins to end; `word` is what it says when it has."""
        self.process.send_signal(signum)
        self.until("draining")
        self.let_go()
        self.until(word)

    def let_go(self):
        """Let the steps go on, those that come to the pipe later too."""
        self.writer = os.open(self.gate, os.O_RDWR)  # which waits for no reader

    def close(self):
        if self.writer is not None:
            os.close(self.writer)

    def ended(self):
        """How the program ended, and how often which provider was called."""
        counted = [line for line in self.process.stdout if line.startswith("{")]
        assert counted, self.process.stderr.read()
        return self.process.wait(LIMIT), json.loads(counted[0])


@pytest.fixture
def run(tmp_path):
    """Start a program; `drain` is its drain timeout."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    begun = []

    def start(text, drain=LIMIT):
        context = program(f"GATE, DRAIN = {str(gate)!r}, {drain}\n{PROGRAM}{text}")
        process = context.__enter__()
        watchdog = threading.Timer(LIMIT, process.kill)
        watchdog.start()
        begun.append((context, watchdog, Scheduled(process, gate)))
        return begun[-1][2]

    yield start
    for context, watchdog, scheduled in begun:
        watchdog.cancel()
        scheduled.close()
        context.__exit__(None, None, None)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def check_balance(counted, ended_as):
    """As many runs have ended, in this way, as were begun."""
    runs = counted["metrics.workflow_started"]
    assert counted[f"metrics.{ended_as}"] == runs
    assert counted["tracer.start_workflow"] == counted["tracer.end_workflow"] == runs
    assert counted["tracer.start_task"] == counted["tracer.end_task"]
    assert counted["metrics.schedule_ticked"] == runs
    return runs


SCHEDULE = """
workflow = scheduled("w", overlap={overlap!r})
with workflow:
    try:
        workflow.schedule(mode={mode!r})
        say("returned")
    except KeyboardInterrupt:
        say("interrupted")
    tell()
"""


@pytest.mark.parametrize(("overlap", "runs"), [("skip", 1), ("queue", 1), ("parallel", 2)])
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_sigterm_lets_the_current_runs_finish(run, mode, overlap, runs):
    schedule = run(SCHEDULE.format(mode=mode, overlap=overlap))
    schedule.until("begun", "full")
    schedule.drains(signal.SIGTERM, "returned")
    status, counted = schedule.ended()
    assert status == 0
    assert check_balance(counted, "workflow_completed") == runs
    assert all(is_gone(pid) for pid in schedule.workers)


def test_sigint_lets_the_current_run_finish_and_then_interrupts(run):
    schedule = run(SCHEDULE.format(mode="parallel", overlap="skip"))
    schedule.until("begun", "full")
    schedule.drains(signal.SIGINT, "interrupted")
    _, counted = schedule.ended()
    assert check_balance(counted, "workflow_completed") == 1


@pytest.mark.parametrize(
    ("mode", "overlap", "runs"),
    [("sequential", "skip", 1), ("parallel", "skip", 1), ("parallel", "parallel", 2), ("background", "skip", 1)],
)
def test_runs_that_outlive_the_drain_end_as_cancelled(run, mode, overlap, runs):
    schedule = run(SCHEDULE.format(mode=mode, overlap=overlap), drain=0.01)
    schedule.until("begun", "full")
    schedule.process.send_signal(signal.SIGTERM)
    schedule.until("returned")
    status, counted = schedule.ended()
    assert status == 0
    assert check_balance(counted, "workflow_failed") == runs
    assert all(is_gone(pid) for pid in schedule.workers)


def test_a_second_sigterm_kills_and_the_workers_end_themselves(run):
    schedule = run(SCHEDULE.format(mode="parallel", overlap="skip"))
    schedule.until("begun")
    schedule.process.send_signal(signal.SIGTERM)
    schedule.until("draining")
    schedule.process.send_signal(signal.SIGTERM)
    assert schedule.process.wait(LIMIT) == -signal.SIGTERM
    assert schedule.process.stdout.read() == ""  # closed by the last worker: it has ended


TOGETHER = """
schedules = Schedules()
schedules.add(scheduled("one"), mode="parallel")
schedules.add(scheduled("other", overlap="queue"))
try:
    schedules.start()
    say("returned")
except KeyboardInterrupt:
    say("interrupted")
tell()
"""


@pytest.mark.parametrize(("signum", "word"), [(signal.SIGTERM, "returned"), (signal.SIGINT, "interrupted")])
def test_a_signal_stops_several_schedules_and_each_finishes_its_run(run, signum, word):
    schedule = run(TOGETHER)
    while len(schedule.workers) < 2:  # one step in a worker process, one in the program itself
        schedule.until("begun")
    schedule.process.send_signal(signum)
    schedule.until("draining")
    schedule.until("draining")  # the other one
    schedule.let_go()
    schedule.until(word)
    status, counted = schedule.ended()
    assert status == 0
    assert check_balance(counted, "workflow_completed") == 2
