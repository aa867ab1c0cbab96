"""Dagster: a job of ops, executed in this process on the instance that lasts no longer than the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import DagsterInstance, In, Nothing, job, op
from measure import figures, report

if TYPE_CHECKING:
    from collections.abc import Callable


QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


@op(ins={"after": In(Nothing)})
def noop() -> None:
    """The work, which is none."""


def prepare(tasks: int) -> Callable[[], object]:
    @job
    def workflow() -> None:
        last = None
        for number in range(tasks):
            made = noop.alias(f"task_{number}")
            last = made() if last is None else made(last)

    return lambda: workflow.execute_in_process(QUIET, instance=DagsterInstance.ephemeral())


if __name__ == "__main__":
    report(figures(prepare, tasks=50))
