"""Schedules whose clock is fake: what tests need to drive them, and to see what they do."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

from dotflow.providers import SchedulerCron, SchedulerInterval
from dotflow.testing.clock import FakeClock

PATIENCE = 60  # seconds after which a test that hangs fails; none ever waits that long to pass
SECOND_NS = 1_000_000_000
NOTHING_SKIPPED = {"overlap": 0, "missed": 0, "stopped": 0}


def at(text, zone="UTC"):
    """The instant of a wall-clock time, in nanoseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_NS


class SettledClock(FakeClock):
    """Stands still while a run goes on, so a run takes no time and every tick finds the one before ended."""

    scheduler = None
    wall_offset_ns = 0
    late_seconds = 0.0

    def time_ns(self):
        self.settle()
        return super().time_ns() + self.wall_offset_ns

    def monotonic_ns(self):
        self.settle()
        return super().monotonic_ns()

    def wait(self, event, seconds):
        self.settle()
        return super().wait(event, seconds + self.late_seconds)

    def settle(self):
        if self.scheduler is None or self.scheduler.idle.is_set():
            return
        if threading.current_thread().name != "dotflow-scheduled-run":
            assert self.scheduler.idle.wait(PATIENCE)


class ScriptedClock(FakeClock):
    """Does the next step of a script at every wait, then jumps over it."""

    wall_offset_ns = 0

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)

    def time_ns(self):
        return super().time_ns() + self.wall_offset_ns

    def wait(self, event, seconds):
        self.script.pop(0)()
        return super().wait(event, seconds)


class Gate:
    """A run that tells when it has begun and ends when it is let go."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.active = self.peak = self.ended = 0

    def __call__(self):
        with self.lock:
            self.active += 1
            self.peak = max(self.peak, self.active)
        self.begun.release()
        assert self.release.acquire(timeout=PATIENCE)
        with self.lock:
            self.active -= 1
            self.ended += 1

    def wait_begun(self):
        assert self.begun.acquire(timeout=PATIENCE)

    def let_go(self, runs=1):
        self.release.release(runs)


def record(scheduler, clock, read, limit, at_tick=None):
    """Start a schedule and collect `read()` at each of its first `limit` ticks."""
    seen = []
    clock.scheduler = scheduler

    def run():
        seen.append(read())
        if at_tick is not None:
            at_tick(len(seen))
        if len(seen) == limit:
            scheduler.stop()

    scheduler.start(run)
    return seen


def interval_times(seconds, limit, at_tick=None, late_seconds=0.0):
    clock = SettledClock()
    clock.late_seconds = late_seconds
    scheduler = SchedulerInterval(seconds, clock=clock)
    times = record(scheduler, clock, clock.monotonic_ns, limit, at_tick and (lambda count: at_tick(count, clock)))
    return [ns / SECOND_NS for ns in times], scheduler


def cron_times(cron, zone, start, limit):
    """The wall-clock times of the first ticks after `start`, with their offsets."""
    clock = SettledClock(start_ns=at(start, zone))
    scheduler = SchedulerCron(cron, timezone=zone, clock=clock)
    times = record(scheduler, clock, clock.time_ns, limit)
    assert scheduler.skipped == NOTHING_SKIPPED
    return [datetime.fromtimestamp(ns / SECOND_NS, ZoneInfo(zone)).isoformat() for ns in times]


@contextmanager
def scripted(scheduler_of, *steps):
    """A schedule every 10 s whose clock does one step per tick, and then stops it."""
    gate = Gate()
    clock = ScriptedClock()
    scheduler = scheduler_of(clock)
    reasons = []
    scheduler.on_skip = reasons.append
    clock.script = [*(lambda step=step: step(gate, scheduler) for step in steps)]
    scheduler.start(gate)
    yield gate, scheduler, reasons
    assert clock.script == []


def begun(gate, _):
    gate.wait_begun()


def nothing(_, __):
    pass


def finish(runs):
    def step(gate, scheduler):
        gate.let_go(runs)
        assert scheduler.idle.wait(PATIENCE)

    return step


def stop(_, scheduler):
    scheduler.stop()


def begun_then_stop(gate, scheduler):
    gate.wait_begun()
    scheduler.stop()


def interval(**options):
    return lambda clock: SchedulerInterval(10, clock=clock, **options)
