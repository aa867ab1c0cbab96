"""The project that is called dotflow on the package index: as its README starts a workflow, one task after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from measure import figures, report

from dotflow import Config, DotFlow, action
from dotflow.providers import LogDefault

if TYPE_CHECKING:
    from collections.abc import Callable


@action
def noop() -> None:
    """The work, which is none."""


def prepare(tasks: int) -> Callable[[], object]:
    workflow = DotFlow(Config(log=LogDefault(level="ERROR")))
    for _ in range(tasks):
        workflow.task.add(step=noop)
    return workflow.start


if __name__ == "__main__":
    report(figures(prepare, tasks=1_000))
