"""A collector that is down, in every way it can be: the run completes, and every span that was lost is counted.

Each program runs apart, so that all that it and its workers write to stderr can be looked at: it is one line.
How long it takes is measured in `benchmarks/collector_down.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.otlp import DOWN, OtlpEndpoint, down

pytestmark = pytest.mark.shares  # programs, of which some run at a time

LIMIT = 60  # seconds after which a test that hangs fails; none waits that long to pass
TASKS = 8
AT_ONCE = 4  # programs, which mostly wait for a collector
MODES = {
    "inline": {"mode": "sequential"},
    "two workers": {"mode": "parallel", "max_workers": 2},
}

_PROGRAM = """
    import json, sys, time
    from opentelemetry import trace
    from dotflow import Config, DotFlow, action
    from dotflow.providers import MetricsPrometheus, TracerOpenTelemetry

    options = json.loads(sys.argv[1])

    @action(name="work")
    def work(initial_context):
        tracer = trace.get_tracer("the step's own")
        for number in range(options["spans"]):
            with tracer.start_as_current_span("part", attributes={"ballast": "x" * options["ballast"]}):
                time.sleep(0.005)
        return initial_context.storage

    metrics = MetricsPrometheus()
    tracer = TracerOpenTelemetry(endpoint=options["url"], shutdown_timeout=options["patience"], set_global=True)
    config = Config(tracer=tracer, metrics=metrics, drain_timeout=options["drain"])
    with DotFlow(config, name="down") as workflow:
        for number in range(options["tasks"]):
            workflow.task.add(work, initial_context=number)
        for number in range(options["runs"]):
            run = workflow.start(**options["start"])
            print(json.dumps({
                "status": run.status,
                "results": workflow.result_storage(),
                "dropped": run.dropped,
                "errors": [f"{provider}.{method}" for provider, method in run.provider_errors],
            }))
    print(json.dumps(metrics.registry.get_sample_value("dotflow_telemetry_dropped_total", {"signal": "spans"})))
"""


class Done:
    """What became of a program that has run a workflow, once or several times."""

    def __init__(self, out: str, err: str, made: int) -> None:
        *self.runs, self.counted = [json.loads(line) for line in out.splitlines()]
        self.stderr = err.splitlines()
        self.made = made

    def lost(self) -> int:
        """How many spans a run says were lost, here and in the workers; the same in each. All else has gone well."""
        for run in self.runs:
            assert run["status"] == "Completed"
            assert run["results"] == list(range(TASKS))
            assert run["errors"] == []
            assert set(run["dropped"]) <= {"spans"}
        (lost,) = {run["dropped"].get("spans", 0) for run in self.runs}
        assert self.counted == lost * len(self.runs)
        return lost

    def check_that_the_loss_is_told_once(self, url: str) -> None:
        (line,) = self.stderr
        # Here and in a worker it may have failed in different ways.
        why = rf"(\d+: )?not delivered to {re.escape(url)}/v1/traces( \([\w ]+\))?"
        assert re.fullmatch(
            rf"spans: \d+ lost in run [0-9a-f]{{32}}, {why}(; {why})*; more of the same is only counted", line
        )


def run(
    url: str,
    mode: str,
    *,
    runs: int = 1,
    spans: int = 3,
    ballast: int = 0,
    patience: float = 2.0,
    drain: float = 5.0,
    **environment: str,
) -> Done:
    """Run the program to its end. Each step opens so many `spans` of its own, wherever it runs."""
    options = {
        "url": url,
        "start": MODES[mode],
        "tasks": TASKS,
        "runs": runs,
        "spans": spans,
        "ballast": ballast,
        "patience": patience,
        "drain": drain,
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return Done(done.stdout, done.stderr, made=1 + TASKS + TASKS * spans)


def run_while_down(kind: str, mode: str, **options) -> tuple[Done, str]:
    with down(kind) as url:
        return run(url, mode, ballast=300_000 if kind == "never reads" else 0, **options), url


@pytest.fixture(scope="module")
def programs():
    """A program for every way to be down and every mode, some at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {(kind, mode): pool.submit(run_while_down, kind, mode) for kind in DOWN for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", DOWN)
def test_the_run_completes_and_says_once_what_was_lost(programs, kind, mode):
    done, url = programs[kind, mode].result()
    assert done.lost() == done.made
    done.check_that_the_loss_is_told_once(url)


SMALL_BATCHES = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4", "OTEL_BSP_SCHEDULE_DELAY": "20"}


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["refuses", "never answers", "503"])
def test_when_one_batch_is_being_sent_and_others_wait_all_are_counted(kind, mode):
    done, url = run_while_down(kind, mode, **SMALL_BATCHES)
    assert done.lost() == done.made
    done.check_that_the_loss_is_told_once(url)


@pytest.mark.parametrize("mode", MODES)
def test_when_the_run_may_wait_less_than_the_exporter_would_all_are_counted(mode):
    done, url = run_while_down("never answers", mode, patience=20, drain=2)
    assert done.lost() == done.made
    done.check_that_the_loss_is_told_once(url)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["never answers", "trickles"])
def test_the_next_run_counts_its_own_and_says_nothing_more(kind, mode):
    done, url = run_while_down(kind, mode, runs=2, patience=1)
    assert len(done.runs) == 2
    assert done.lost() == done.made
    done.check_that_the_loss_is_told_once(url)


@pytest.mark.parametrize("mode", MODES)
def test_what_a_collector_takes_and_what_is_lost_is_all_there_was(mode):
    with OtlpEndpoint(first=(200, 400, 200, 413, 200, 401)) as endpoint:
        done = run(endpoint.url, mode, **SMALL_BATCHES)
    assert 0 < done.lost() < done.made
    assert done.lost() + len(endpoint.spans) == done.made
    done.check_that_the_loss_is_told_once(endpoint.url)


@pytest.mark.parametrize("mode", MODES)
def test_a_collector_that_is_back_soon_gets_everything_and_nothing_is_said(mode):
    with OtlpEndpoint(first=(503,), headers={"Retry-After": "0"}) as endpoint:
        done = run(endpoint.url, mode)
    assert done.lost() == 0
    assert len(endpoint.spans) == done.made
    assert done.stderr == []
