"""A coordinator in another process, killed while one of its tasks runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

from dotflow import Config, DotFlow, action
from dotflow.testing.contracts.base import GUARD_SECONDS, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.abc.storage import Storage
    from dotflow.model.context import Context

__all__ = ["Killed", "numbered", "step_of"]

_PROGRAM = """
{source}

import sys, threading
from dotflow.testing.contracts.killing import numbered

def tell(number):
    print("began", number, flush=True)
    if number == {blocks_at}:
        threading.Event().wait({seconds})

numbered(storage, 4, tell).start(resume={resume})
print("ended", flush=True)
"""


def numbered(
    storage: Storage, count: int, tell: Callable[[int], None] | None = None, *, workflow_id: str = "w-1"
) -> DotFlow:
    """So many tasks; the result of each is the numbers of those before it in its lane, and its own."""
    workflow = DotFlow(Config(storage=storage), name="contract", workflow_id=workflow_id)
    for number in range(count):
        workflow.task.add(step=step_of(number, tell))
    return workflow


def step_of(number: int, tell: Callable[[int], None] | None = None) -> Callable[..., tuple[int, ...]]:
    """One of them: calls `tell` with its number, before anything else."""

    @action(name=f"step-{number}")
    def step(previous_context: Context) -> tuple[int, ...]:
        if tell is not None:
            tell(number)
        return (*(previous_context.storage or ()), number)

    return step


class Killed:
    """A workflow of four tasks, run by processes that are killed."""

    def __init__(self, source: str) -> None:
        self._source = textwrap.dedent(source)

    def at(self, number: int, *, resume: bool) -> list[str]:
        """Start a process, and kill it as soon as this task has begun; what it has told."""
        text = _PROGRAM.format(source=self._source, blocks_at=number, resume=resume, seconds=GUARD_SECONDS)
        told: list[str] = []
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a text of ours
            [sys.executable, "-c", text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        guard = threading.Timer(GUARD_SECONDS, process.kill)
        guard.start()
        try:
            for line in process.stdout or ():
                told.append(line.strip())
                if line.strip() in {f"began {number}", "ended"}:
                    break
        finally:
            guard.cancel()
            process.kill()
            _, errors = process.communicate()
        check(told and told[-1] == f"began {number}", f"the process that was to be killed told {told}: {errors}")
        return told
