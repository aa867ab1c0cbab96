"""What metrics cost: a task, and a scrape while tasks run.

A task is measured against the same series written by hand with the cached children of prometheus_client, in one run and
in turn; the promise is at most 6 µs for all series and an exemplar. For the scrapes another process asks ten times a
second for about 500 series, as Prometheus does; rounds with and without it take turns, and the promise is that it slows
tasks by less than 5 %. Processor time is shown beside the clock, because it is the steadier figure on a machine
that others use, too: what one scrape takes of it, times ten, is what tasks lose that never wait.

    python benchmarks/metrics.py [--rounds 7] [--tasks 20000] [--scrapes 10] [--names 6]
"""

from __future__ import annotations

import argparse
import gc
import gzip
import hashlib
import logging
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from dotflow import Config, DotFlow, action
from dotflow.abc import Tracer
from dotflow.names.metrics import DURATION_BUCKETS
from dotflow.providers import MetricsPrometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.model.task import Task

IDS = {"trace_id": "5e41b7a2127e31da90c7d385250f8bf6", "span_id": "90c7d385250f8bf6"}
# What Prometheus sends, so that it gets the exemplars.
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
PROMISED_US, PROMISED_PERCENT = 6.0, 5.0


@action(name="noop")
def noop() -> None:
    """The work, which is none: what is left is the engine."""


@action(name="failing")
def failing() -> None:
    raise ValueError


@action(name="short")
def short() -> None:
    """Some work: a tenth of a millisecond that holds the interpreter's lock."""
    digest = b""
    for _ in range(100):
        digest = hashlib.sha256(digest).digest()


@action(name="waiting")
def waiting() -> None:
    """A step that waits for somebody else, as most do."""
    time.sleep(0.001)


class Spans(Tracer):
    """Gives every task the same sampled span, so that exemplars are made, and a tracer costs next to nothing."""

    def start_workflow(self, workflow_id: str, **kwargs: Any) -> None: ...

    def end_workflow(self, workflow_id: str, **kwargs: Any) -> None: ...

    def start_task(self, task: Task) -> None: ...

    def end_task(self, task: Task) -> None: ...

    def carrier(self, owner: object) -> dict[str, str]:
        del owner
        return {"traceparent": f"00-{IDS['trace_id']}-{IDS['span_id']}-01"}


# --- a task


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time: nothing here waits, so it is the time of a machine that nobody else uses."""
    gc.collect()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def engine(tasks: int, **providers: Any) -> Callable[[], float]:
    """One run of the engine, in seconds; the tasks are added beforehand."""

    def measure() -> float:
        workflow = DotFlow(Config(tracer=Spans(), **providers), name="bench")
        for _ in range(tasks):
            workflow.task.add(noop)
        return timed(workflow.start)

    return measure


def calls_alone(tasks: int, step: Any) -> Callable[[], float]:
    """What the engine calls for a task, on tasks that have run."""
    metrics = MetricsPrometheus()
    workflow = DotFlow(Config(tracer=Spans()), name="bench")
    for _ in range(tasks):
        workflow.task.add(step)
    ran = workflow.start(keep_going=True).tasks

    def work() -> None:
        for task in ran:
            metrics.task_started(task)
            if task.error:
                metrics.task_failed(task)
            else:
                metrics.task_completed(task)

    return lambda: timed(work)


class ByHand:
    """The series of a task, with the children at hand; the same buckets, the same exemplars."""

    def __init__(self) -> None:
        labels, registry = ["workflow", "task"], CollectorRegistry()

        def child(kind: Any, name: str, *more: str, **options: Any) -> Any:
            made = kind(f"hand_{name}", "By hand.", [*labels, *dict.fromkeys(more[::2])], registry=registry, **options)
            return made.labels("bench", "noop", *more[1::2])

        seconds = {"buckets": DURATION_BUCKETS}
        self.started = child(Counter, "started")
        self.completed = child(Counter, "completed")
        self.failed = child(Counter, "failed")
        self.errors = child(Counter, "errors", "error_type", "ValueError")
        self.active = child(Gauge, "active")
        self.queue = child(Histogram, "queue_seconds", **seconds)
        self.duration = child(Histogram, "duration_seconds", "status", "completed", **seconds)

    def complete(self) -> None:
        self.started.inc()
        self.active.inc()
        self.queue.observe(0.001)
        self.completed.inc()
        self.active.dec()
        self.duration.observe(0.01, IDS)

    def fail(self) -> None:
        self.started.inc()
        self.active.inc()
        self.queue.observe(0.001)
        self.failed.inc(1, IDS)
        self.errors.inc(1, IDS)
        self.active.dec()
        self.duration.observe(0.01, IDS)


def by_hand(tasks: int, one: Callable[[], None]) -> Callable[[], float]:
    def work() -> None:
        for _ in range(tasks):
            one()

    return lambda: timed(work)


def cost_of_a_task(rounds: int, tasks: int) -> None:
    hand = ByHand()
    # Apart from the others, which keep tasks that Python's garbage collector looks at.
    inside = in_turn(rounds, tasks, {"bare": engine(tasks), "engine": engine(tasks, metrics=MetricsPrometheus())})
    ends_well = in_turn(rounds, tasks, {"by hand": by_hand(tasks, hand.complete), "calls": calls_alone(tasks, noop)})
    # Not in the engine: there, making a traceback costs much more than counting it.
    fails = in_turn(rounds, tasks, {"by hand": by_hand(tasks, hand.fail), "calls": calls_alone(tasks, failing)})
    added = statistics.median(a - b for a, b in zip(inside["engine"], inside["bare"], strict=True))
    print(f"µs a task, median of {rounds} rounds of {tasks:,}; promised: at most {PROMISED_US:g}")
    for kind, found in (("ends well", ends_well), ("fails", fails)):
        hand_us, calls_us = (statistics.median(found[name]) for name in ("by hand", "calls"))
        print(
            f"  one that {kind:9}  by hand {hand_us:5.2f}, MetricsPrometheus {calls_us:5.2f}: {calls_us / hand_us:4.2f} times"
        )
    print(f"  what it adds to one in the engine {added:18.2f}\n")


def in_turn(rounds: int, tasks: int, measures: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Microseconds a task, of each case in each round; the cases are taken in turn."""
    seen: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            took = measure() / tasks * 1e6
            if number:  # the first one warms up
                seen[name].append(took)
    return seen


# --- scrapes under load


class Scraper:
    """A process that scrapes so many times a second while it is told to."""

    def __init__(self, url: str, a_second: float) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, __file__, "--scrape", url, "--scrapes", str(a_second)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.counts: list[int] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._ask("on")
        yield
        self.counts.append(int(self._ask("off")))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, word: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def scrape(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": ACCEPT, "Accept-Encoding": "gzip"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return gzip.decompress(answer.read())


def scrape_when_told(url: str, a_second: float) -> None:
    """The process' own program: `on` and `off` on standard input; answers the number of scrapes."""
    for _ in sys.stdin:  # on
        print(flush=True)
        off, done = threading.Event(), []

        def work(off: threading.Event = off, done: list[bytes] = done) -> None:
            due = time.perf_counter()
            while not off.wait(max(0.0, due - time.perf_counter())):
                done.append(scrape(url))
                due = max(due + 1 / a_second, time.perf_counter())

        thread = threading.Thread(target=work)
        thread.start()
        sys.stdin.readline()  # off
        off.set()
        thread.join()
        print(len(done), flush=True)


class Round(NamedTuple):
    """Seconds that a run took, of the clock and of this process' processors."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, work: Callable[[], object]) -> Round:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return cls(time.perf_counter() - wall, time.process_time() - cpu)


class Slowdown:
    """One kind of step, with and without scrapes in turn."""

    def __init__(self, step: Any, tasks: int, names: int) -> None:
        self.metrics = MetricsPrometheus(port=0)
        self.workflow = DotFlow(Config(tracer=Spans(), metrics=self.metrics), name="bench")
        for number in range(tasks):
            self.workflow.task.add(step, name=f"task-{number % names}")
        self.workflow.start()  # a warm-up, and every bucket that is hit has its exemplar
        self.series = sum(not line.startswith(b"#") for line in scrape(self.metrics.url or "").splitlines())
        self.alone: list[Round] = []
        self.beside: list[Round] = []

    def measure(self, rounds: int, scrapes: float) -> Scraper:
        scraper = Scraper(self.metrics.url or "", scrapes)
        try:
            for _ in range(rounds):
                self.alone.append(Round.of(self.workflow.start))
                with scraper.at_work():
                    self.beside.append(Round.of(self.workflow.start))
        finally:
            scraper.close()
            self.workflow.close()
        return scraper

    @property
    def seconds(self) -> float:
        return statistics.median(each.wall for each in self.alone)

    @property
    def percent(self) -> float:
        pairs = zip(self.alone, self.beside, strict=True)
        return statistics.median(beside.wall / alone.wall - 1 for alone, beside in pairs) * 100

    def cpu_ms(self, counts: list[int]) -> float:
        """What a scrape costs the program that is scraped."""
        rounds = zip(self.alone, self.beside, counts, strict=True)
        return statistics.median((beside.cpu - alone.cpu) / (count or 1) for alone, beside, count in rounds) * 1e3


def slowdown_by_scrapes(rounds: int, tasks: int, names: int, scrapes: float) -> None:
    print(f"{scrapes:g} scrapes a second from another process; promised: slower by less than {PROMISED_PERCENT:g} %")
    for what, step, count in (
        ("no-ops", noop, 3 * tasks),
        ("0.1 ms of work", short, tasks),
        ("1 ms of waiting", waiting, tasks // 10),
    ):
        found = Slowdown(step, count, names)
        scraper = found.measure(rounds, scrapes)
        cpu_ms = found.cpu_ms(scraper.counts)
        print(
            f"  {what:16} {found.series} series, {sum(scraper.counts) / rounds:4.0f} scrapes in {found.seconds:4.2f} s:"
            f" slower by {found.percent:5.1f} %; processor time {cpu_ms:5.2f} ms a scrape, {cpu_ms * scrapes / 10:4.1f} % of one"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--names", type=int, default=6, help="of tasks; each has some 75 series")
    parser.add_argument("--scrapes", type=float, default=10, help="a second")
    parser.add_argument("--scrape", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()

    if options.scrape:
        scrape_when_told(options.scrape, options.scrapes)
        return
    logging.disable()  # of tasks that fail, as they are meant to
    cost_of_a_task(options.rounds, options.tasks)
    slowdown_by_scrapes(options.rounds, options.tasks, options.names, options.scrapes)


if __name__ == "__main__":
    main()
