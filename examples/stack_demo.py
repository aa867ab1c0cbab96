"""A shop's pipelines on their schedules, with all that can go wrong: something to look at in Grafana and Jaeger.

    docker compose --profile demo up                 # in the stack, see docs/stack.md
    python examples/stack_demo.py --port 9464        # on its own; OTEL_EXPORTER_OTLP_ENDPOINT says where traces go

Each workflow has one habit, so that within two minutes every panel shows something, and at the pace of the
demonstration rules (`DOTFLOW_RULES=rules-demo`) every alert fires:

| workflow  | habit | alert |
|---|---|---|
| orders    | healthy: a retry now and then, and one run in eight fails | WorkflowFailed |
| payments  | the bank refuses every charge three times before it takes it | TaskRetryStorm |
| inventory | its supplier is gone, every run fails | WorkflowFailureRatioHigh, WorkflowNoRecentSuccess |
| pricing   | fast for a while, then slow | WorkflowSlow |
| ingest    | too many tasks for its one worker, so runs overlap and ticks are skipped | QueueWaitHigh, ScheduleSkipping |
| backup    | takes very long | WorkflowStuck |
| audit     | opens more spans than anybody can send | TelemetryDropped |

Beside them a second endpoint comes and goes (TargetDown), and the notifier of the orders finds nobody (provider errors).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from dotflow import Config, DotFlow, action, record
from dotflow.abc import Notify
from dotflow.providers import LogOpenTelemetry, LogStructlog, MetricsPrometheus, SchedulerInterval, TracerOpenTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow import Context, Task

FAST_SECONDS = 30.0  # of every minute, pricing is fast
FLOOD = 10_000  # spans; far more than the queue of the exporter holds
CANARY_UP, CANARY_DOWN = 15.0, 45.0  # seconds


class Pager(Notify):
    """Tells somebody of every task that failed; but nobody listens at that address."""

    def hook_status_task(self, task: Task) -> None:
        """Called in the background, so the run does not wait for it."""
        if task.error:
            urllib.request.urlopen("http://127.0.0.1:9/", task.name.encode(), timeout=1).close()


class Shop:
    """The steps. `stopping` is set at the end of the program, so that nothing that waits delays it."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._began = time.monotonic()

    def orders(self) -> list[Callable[..., Any]]:
        """Extract, transform, load; every third load is refused once, every eighth for good."""
        loads = itertools.count(1)
        refused: list[int] = []

        @action(name="extract")
        def extract() -> dict[str, int]:
            self._stopping.wait(0.15)
            return {"rows": 1200}

        @action(name="transform")
        def transform(previous_context: Context) -> dict[str, int]:
            rows = previous_context.storage["rows"] - 7
            record("rows", rows)
            with trace.get_tracer("shop").start_as_current_span("deduplicate"):
                self._stopping.wait(0.1)
            return {"rows": rows}

        @action(name="load", retry=3, retry_delay=0.1, backoff=True)
        def load(previous_context: Context) -> int:
            if not refused:
                number = next(loads)
                refused.extend([number] * (3 if number % 8 == 0 else number % 3 == 0))
            if refused and refused.pop():
                raise ConnectionError("the warehouse is locked")
            return int(previous_context.storage["rows"])

        return [extract, transform, load]

    def payments(self) -> list[Callable[..., Any]]:
        """One charge, taken at the fourth attempt."""
        attempts = itertools.count(1)

        @action(name="charge", retry=4, retry_delay=0.05)
        def charge() -> str:
            if next(attempts) % 4:
                raise TimeoutError("the bank does not answer")
            return "charged"

        return [charge]

    def inventory(self) -> list[Callable[..., Any]]:
        """Never works."""

        @action(name="fetch-stock")
        def fetch_stock() -> None:
            raise LookupError("the supplier has closed its API")

        @action(name="update-shelves")
        def update_shelves() -> None:
            """Never reached."""

        return [fetch_stock, update_shelves]

    def pricing(self) -> list[Callable[..., Any]]:
        """Half of every minute twenty times slower."""

        @action(name="compute-prices")
        def compute_prices() -> None:
            slow = (time.monotonic() - self._began) % 60 >= FAST_SECONDS
            self._stopping.wait(2.0 if slow else 0.1)

        return [compute_prices]

    def ingest(self) -> list[Callable[..., Any]]:
        """Six files at a time."""

        @action(name="read-file")
        def read_file() -> None:
            self._stopping.wait(0.6)

        return [read_file] * 6

    def backup(self) -> list[Callable[..., Any]]:
        """A minute and a half."""

        @action(name="copy-everything")
        def copy_everything() -> None:
            self._stopping.wait(90)

        return [copy_everything]


@action(name="check-rows")
def check_rows() -> None:
    """Open a span for every row, which is not what spans are for."""
    tracer = trace.get_tracer("shop")
    for _ in range(FLOOD):
        tracer.start_span("check row").end()


def workflows(shop: Shop, **providers: Any) -> list[tuple[DotFlow, dict[str, Any]]]:
    """The workflows, each with the keywords that it is scheduled with."""

    def made(name: str, seconds: float, steps: list[Callable[..., Any]], **more: Any) -> DotFlow:
        scheduler = SchedulerInterval(seconds=seconds, drain_timeout=5)
        workflow = DotFlow(Config(scheduler=scheduler, **providers, **more), name=name, workflow_id=name)
        workflow.task.add(step=steps)
        return workflow

    return [
        (made("orders", 2, shop.orders(), notify=Pager()), {}),
        (made("payments", 1, shop.payments()), {}),
        (made("inventory", 2, shop.inventory()), {}),
        (made("pricing", 2.5, shop.pricing()), {}),
        (made("ingest", 1, shop.ingest()), {"mode": "parallel", "executor": "thread", "max_workers": 1}),
        (made("backup", 120, shop.backup()), {}),
        # In a worker process, so that its flood drowns no spans but its own.
        (made("audit", 10, [check_rows]), {"mode": "parallel", "executor": "process", "max_workers": 1}),
    ]


def come_and_go(host: str, port: int, stopping: threading.Event) -> None:
    """A second endpoint, which is there for a while and then is not."""
    while not stopping.is_set():
        canary = MetricsPrometheus(host=host, port=port)
        stopping.wait(CANARY_UP)
        canary.close(1.0)
        stopping.wait(CANARY_DOWN)


def run(host: str, port: int, canary_port: int, seconds: float | None, log_level: str) -> None:
    """Run all schedules until a signal comes, or for so many seconds."""
    stopping = threading.Event()
    metrics = MetricsPrometheus(host=host, port=port)
    tracer = TracerOpenTelemetry(service_name="dotflow-demo", set_global=True)
    # With an endpoint the log lines go where the traces go; the two of a run have the same id.
    exported = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    log = LogOpenTelemetry(service_name="dotflow-demo") if exported else LogStructlog(level=log_level)
    shop = workflows(Shop(stopping), metrics=metrics, tracer=tracer, log=log)
    print(f"metrics {metrics.url}", flush=True)

    threads = [threading.Thread(target=come_and_go, args=(host, canary_port, stopping), daemon=True)]
    threads += [threading.Thread(target=each.schedule, kwargs=how, daemon=True) for each, how in shop[1:]]
    for thread in threads:
        thread.start()
    orders, _ = shop[0]
    if seconds is not None:
        threading.Timer(seconds, orders.config.scheduler.stop).start()
    with contextlib.suppress(KeyboardInterrupt):
        orders.schedule()  # in the main thread, so SIGTERM and Ctrl-C end it in order
    stopping.set()
    for workflow, _ in shop:
        workflow.config.scheduler.stop()
    for thread in threads:
        thread.join()
    for workflow, _ in shop:
        workflow.close()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="where to serve /metrics")
    parser.add_argument("--port", type=int, default=9464)
    parser.add_argument("--canary-port", type=int, default=9465)
    parser.add_argument("--seconds", type=float, default=None, help="end after so many")
    parser.add_argument(
        "--log-level", default="ERROR", help="of what is written to stderr, if there is no endpoint to send it to"
    )
    options = parser.parse_args()
    run(options.host, options.port, options.canary_port, options.seconds, options.log_level)


if __name__ == "__main__":
    main()
