"""A run that is awaited: driven in a thread beside the event loop of its caller."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dotflow.engine.background import background

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.model.run import Run

__all__ = ["in_thread"]


async def in_thread(work: Callable[[asyncio.AbstractEventLoop, Callable[[Run], None]], Run]) -> Run:
    """Call `work(loop, began)` in a thread, and await what it returns; `began` takes the run that it starts.

    When the awaiting task is cancelled, so is the run; its end is awaited before the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Run] = loop.create_future()
    runs: list[Run] = []
    unwanted = threading.Event()
    context = contextvars.copy_context()

    def began(run: Run) -> None:
        runs.append(run)
        background.add(run)
        if unwanted.is_set():
            run.cancel()

    def tell(method: Callable[[Any], None], value: object) -> None:
        if not ended.done():
            method(value)

    def call() -> None:
        try:
            loop.call_soon_threadsafe(tell, ended.set_result, context.run(work, loop, began))
        except BaseException as error:  # noqa: BLE001 - raised where the run is awaited
            with suppress(RuntimeError):  # the loop was closed without waiting for us
                loop.call_soon_threadsafe(tell, ended.set_exception, _raisable(error))
        finally:
            for run in runs:
                background.remove(run)

    background.watch()
    threading.Thread(target=call, name="dotflow-run", daemon=False).start()
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        unwanted.set()
        for run in runs:
            run.cancel()
        with suppress(Exception):  # what went wrong in the run is told by the run
            await _uncancelled(ended)
        raise


async def _uncancelled(ended: asyncio.Future[Run]) -> None:
    """Wait for the end of the run. Another cancellation in the meantime gives up waiting."""
    await asyncio.shield(ended)


def _raisable(error: BaseException) -> BaseException:
    """A future cannot carry a StopIteration."""
    return RuntimeError(f"{type(error).__name__}: {error}") if isinstance(error, StopIteration) else error
