"""An executor of somebody else's, as `futures` sees it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dotflow.executors.remote import run_and_flush

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor as AnyExecutor
    from concurrent.futures import Future

__all__ = ["Pool", "is_dask", "workers_of"]


class Pool:
    """What is special about an executor of somebody else's: of most, nothing."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    @property
    def size(self) -> int:
        """How many attempts it can run at a time."""
        return workers_of(self._executor)

    def submit(self, name: str, payload: bytes, on_begin: Callable[[], None] | None) -> Future[Any]:
        """Hand it a payload, whose attempt is called `name`. The future has what `read` reads, or why there is nothing.

        `on_begin` is for an attempt whose time is limited. It is called, from any thread, when that time begins: here at
        once, because nobody tells when a worker takes it.
        """
        del name
        if on_begin is not None:
            on_begin()
        future: Future[Any] = self._executor.submit(run_and_flush, payload)
        return future

    def read(self, found: Any) -> bytes:
        """The packed report in what a future brought.

        Raises:
            WorkerDied: there is none.
        """
        report: bytes = found
        return report

    def look(self) -> None:
        """Called about twice a second while attempts are out, to see what no future tells."""

    def give_up(self, future: Future[Any]) -> bool:
        """Nobody waits for it any more. Whether it is certain that it does not, and will not, run."""
        return future.cancel()

    def close(self) -> None:
        """The run is over."""


def workers_of(executor: AnyExecutor) -> int:
    """How many attempts an executor can run at a time, if it tells; else as many as this machine has processors.

    0 for a cluster, whose size changes: it is asked again and again.
    """
    if is_dask(executor):
        return 0
    size = getattr(executor, "_max_workers", None)
    return size if isinstance(size, int) and size > 0 else (os.cpu_count() or 1)


def is_dask(executor: AnyExecutor) -> bool:
    """Whether it is what a Dask client's `get_executor` returns. Who has one has imported Dask."""
    module = sys.modules.get("distributed.cfexecutor")
    return module is not None and isinstance(executor, module.ClientExecutor)
