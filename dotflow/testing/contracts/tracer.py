"""The suite for a Tracer."""

from __future__ import annotations

import contextvars
import pickle
import re
from typing import TYPE_CHECKING

from dotflow.abc.tracer import Tracer
from dotflow.abc.worker import WorkerSide
from dotflow.testing.contracts.base import check, fail
from dotflow.testing.contracts.telemetry import TelemetryContract
from dotflow.testing.contracts.workloads import eventful

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from dotflow.model.task import Task

__all__ = ["TracerContract"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STRANGE_CARRIERS: list[dict[str, str]] = [{}, {"traceparent": "nonsense"}, {"x": "\ud800"}]


class TracerContract(TelemetryContract[Tracer]):
    """What a Tracer promises. `make_provider` is yours to write, `check_run` may be."""

    argument = "tracer"

    def tell(self, provider: Tracer, task: Task) -> None:
        """Every method, the ends first, with keywords that later versions may add."""
        provider.end_attempt(task)
        provider.end_task(task)
        provider.restore_task(task)
        provider.skip_task(task)
        provider.start_task(task)
        provider.start_attempt(task)
        provider.end_workflow(task.workflow_id, run_id=task.run_id, duration=0.0, failed=True, more=1)
        provider.start_workflow(
            task.workflow_id, run_id=task.run_id, name="n", mode="m", tasks_count=0, trigger="manual", more=1
        )

    def test_carriers_are_w3c_headers(self) -> None:
        """`carrier` gives text for text; a `traceparent` in it is one, and that of another task is another."""
        task, other, _ = eventful().task
        with self.provider() as provider:
            provider.start_workflow("w", run_id="1" * 32, name="n", mode="sequential", tasks_count=2, trigger="manual")
            found = []
            for each in (task, other):
                provider.start_task(each)
                found.append(provider.carrier(each))
            for carrier in found:
                texts = [text for pair in carrier.items() for text in pair]
                check(all(type(text) is str for text in texts), f"carrier() gave {carrier!r}: text for text")
                parent = carrier.get("traceparent")
                check(parent is None or _TRACEPARENT.fullmatch(parent), f"traceparent={parent!r} is none")
            check(not found[0] or found[0] != found[1], f"two tasks have one carrier: {found[0]!r}")

    def test_attach_lets_the_steps_own_error_through(self) -> None:
        """With every carrier, also with one that is none."""
        with self.provider() as provider:
            for carrier in _STRANGE_CARRIERS:
                passes_errors(provider.attach, carrier)

    def test_its_worker_side_can_travel(self) -> None:
        """As a pickle. What it does in a worker shows in a run in worker processes."""
        with self.provider() as provider:
            check_travels(provider.for_worker())


def passes_errors(attach: Any, carried: Mapping[str, Any]) -> None:
    """Entering and leaving does nothing to the block; what is raised inside comes out.

    As in the engine, each in a `contextvars` context of its own, which nothing has to be taken back from.
    """
    contextvars.copy_context().run(_passes_errors, attach, carried)


def _passes_errors(attach: Any, carried: Mapping[str, Any]) -> None:
    manager: AbstractContextManager[None] = attach(carried)
    with manager:
        pass
    error = ZeroDivisionError("the step's own")
    try:
        with attach(carried):
            raise error
    except ZeroDivisionError as found:
        check(found is error, "attach() replaced the step's own error")
        return
    fail("attach() swallowed the step's own error")


def check_travels(side: WorkerSide | None) -> None:
    """Nothing travels, or something that arrives as a WorkerSide."""
    if side is not None:
        arrived = pickle.loads(pickle.dumps(side))  # noqa: S301 - made here
        check(isinstance(arrived, WorkerSide), f"for_worker() arrives as {arrived!r}, which is no WorkerSide")
