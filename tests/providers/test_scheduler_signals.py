"""The schedulers and real signals: each test talks to a schedule in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

PATIENCE = 60  # seconds after which a test that hangs fails; none ever waits that long to pass
NOTHING_SKIPPED = {"overlap": 0, "missed": 0, "stopped": 0}


CHILD = """
import signal, sys
from dotflow.model.clock import SystemClock
from dotflow.providers import SchedulerInterval

def say(*words):
    print(*words, flush=True)

class AnnouncingClock(SystemClock):
    def wait(self, event, seconds):
        if seconds == 17:
            say("draining")
        return super().wait(event, seconds)

def run():
    say("running")
    sys.stdin.readline()
    say("finished")

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run in the background
scheduler = SchedulerInterval(3600, drain_timeout=17, clock=AnnouncingClock())
"""

START = """
try:
    scheduler.start(run)
    say("returned")
except KeyboardInterrupt:
    say("interrupted")
say("restored", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


class Child:
    """A program that runs a schedule, says what it does, and does what it is told."""

    def __init__(self, code):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD + textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        self.watchdog = threading.Timer(PATIENCE, self.process.kill)
        self.watchdog.start()
        return self

    def __exit__(self, *_):
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate()

    def expect(self, *lines):
        for line in lines:
            assert self.process.stdout.readline().strip() == line

    def send(self, signum):
        os.kill(self.process.pid, signum)

    def let_go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def is_told(self, signum):
        """While its run goes on it gets a signal."""
        self.expect("running")
        self.send(signum)
        self.expect("draining")

    def finishes(self, *lines):
        """Its run may end now, and the program after it."""
        self.let_go()
        self.expect("finished", *lines)

    def ends_with(self, returncode):
        self.expect("")
        assert self.process.wait(PATIENCE) == returncode


posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a process")


@posix_only
def test_sigterm_finishes_the_run_and_start_returns():
    with Child(START) as child:
        child.is_told(signal.SIGTERM)
        child.finishes("returned", "restored True")
        child.ends_with(0)


@posix_only
def test_sigint_finishes_the_run_and_start_raises():
    with Child(START) as child:
        child.is_told(signal.SIGINT)
        child.finishes("interrupted", "restored True")
        child.ends_with(0)


@posix_only
def test_a_second_sigint_interrupts_at_once():
    with Child(START) as child:
        child.is_told(signal.SIGINT)
        child.send(signal.SIGINT)
        child.expect("interrupted", "restored True")
        child.ends_with(0)


@posix_only
def test_a_second_sigterm_kills():
    with Child(START) as child:
        child.is_told(signal.SIGTERM)
        child.send(signal.SIGTERM)
        child.ends_with(-signal.SIGTERM)


@posix_only
def test_signals_while_nothing_runs_end_a_long_wait():
    code = """
    def run():
        say("running")
    """
    with Child(textwrap.dedent(code) + START) as child:
        child.expect("running")
        child.send(signal.SIGTERM)
        child.expect("draining", "returned", "restored True")
        child.ends_with(0)


@posix_only
def test_the_handler_of_the_program_is_called_after_the_run():
    code = """
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(7))
    scheduler.start(run)
    """
    with Child(code) as child:
        child.is_told(signal.SIGTERM)
        child.finishes()
        child.ends_with(7)


@posix_only
def test_stop_may_be_called_by_a_signal_handler():
    code = """
    signal.signal(signal.SIGUSR1, lambda signum, frame: scheduler.stop())
    """
    with Child(textwrap.dedent(code) + START) as child:
        child.is_told(signal.SIGUSR1)
        child.finishes("returned", "restored True")
        child.ends_with(0)


@posix_only
def test_a_signal_is_noticed_whenever_it_comes():
    code = """
    import os
    scheduler = SchedulerInterval(3600)
    for _ in range(500):
        scheduler.start(lambda: os.kill(os.getpid(), signal.SIGTERM))
    say(scheduler.skipped)
    """
    with Child(code) as child:
        child.expect(str(NOTHING_SKIPPED))
        child.ends_with(0)


@posix_only
def test_an_ignored_signal_stays_ignored():
    code = """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    """
    with Child(textwrap.dedent(code) + START) as child:
        child.expect("running")
        child.send(signal.SIGINT)
        child.send(signal.SIGTERM)
        child.expect("draining")
        child.finishes("returned", "restored False")
        child.ends_with(0)


def test_cronsim_is_imported_by_cron_only():
    code = """
    SchedulerInterval(1)
    say("cronsim" in sys.modules)
    from dotflow.providers import SchedulerCron
    SchedulerCron("* * * * *")
    say("cronsim" in sys.modules)
    """
    with Child(code) as child:
        child.expect("False", "True")
        child.ends_with(0)
