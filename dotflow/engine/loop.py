"""An event loop for the async parts of one attempt, made when the first of them is called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Loop", "is_running_here"]


class Loop:
    """Runs coroutines one after another on one loop. On leaving, what they left behind is cancelled and closed.

    `asyncio.Runner` does the same, from Python 3.11.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The coroutine's result, or what it raises."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(coroutine)
        return self._loop.run_until_complete(self._task)

    def cancel(self) -> None:
        """Cancel the coroutine that runs, from another thread."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:  # the loop has closed in the meantime: nothing is left to cancel
                return


def is_running_here() -> bool:
    """True inside a running event loop, where no second one can run."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
