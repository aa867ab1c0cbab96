"""An event loop for the async parts of one attempt, made when the first of them is called."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

__all__ = ["CallersLoop", "Loop", "is_running_here"]


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

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """What it comes to, or what it raises."""
        if is_running_here():  # a second loop cannot run in this thread
            return _in_thread(lambda: self._run(awaitable))
        return self._run(awaitable)

    def _run(self, awaitable: Awaitable[Any]) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(_DaemonThreads())
        self._task = self._loop.create_task(_value_of(awaitable))
        return self._loop.run_until_complete(self._task)

    def cancel(self) -> None:
        """Cancel the coroutine that runs, from another thread."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:  # the loop has closed in the meantime: nothing is left to cancel
                return


class CallersLoop:
    """Runs coroutines on a loop that runs already, in another thread: that of the caller of `start_async`.

    What is current here (the span, the ids of the log) is current there, for this coroutine.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: Future[Any] | None = None

    def __enter__(self) -> CallersLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self._future = None

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """What it comes to, or what it raises."""
        self._future = asyncio.run_coroutine_threadsafe(_value_of(awaitable), self._loop)
        try:
            return self._future.result()
        except BaseException as error:  # noqa: BLE001 - the same, without the frames between us and the coroutine
            raise error.with_traceback(_without_futures(error.__traceback__)) from error.__cause__

    def cancel(self) -> None:
        """Cancel the coroutine that runs, from any thread."""
        future = self._future
        if future is not None:
            future.cancel()


class _DaemonThreads(ThreadPoolExecutor):
    """What `asyncio.to_thread` uses: like its base, but the end of the program does not wait for the threads.

    The threads of the base class are joined at exit, so an attempt that was given up while it waited for one would hold
    up the program for as long as that takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._workers: list[threading.Thread] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in an idle thread, in a new one, or when one comes free."""
        future: Future[Any] = Future()
        self._jobs.put(lambda: _fulfil(future, lambda: fn(*args, **kwargs)))
        if not self._idle.acquire(blocking=False) and len(self._workers) < self._max_workers:
            worker = threading.Thread(target=self._work, name="dotflow-asyncio", daemon=True)
            self._workers.append(worker)
            worker.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Let the threads end; with `wait`, when their work is done."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        for _ in self._workers:
            self._jobs.put(None)
        for worker in self._workers if wait else ():
            worker.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._idle.release()


def _fulfil(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the coroutine that awaits it gets it
        future.set_exception(error)


async def _value_of(awaitable: Awaitable[Any]) -> Any:
    """What it comes to, also where that is to be awaited once more."""
    value: Any = awaitable
    while hasattr(type(value), "__await__"):
        value = await value
    return value


def _in_thread(call: Callable[[], Any]) -> Any:
    """Make the call in a thread of its own, which sees what is current here, and wait for it."""
    future: Future[Any] = Future()
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_fulfil, future, call), name="dotflow-asyncio", daemon=True)
    thread.start()
    return future.result()


def _without_futures(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from where the coroutine's own begins."""
    names = (__name__, "concurrent.futures._base")
    first = tb
    while first is not None and first.tb_frame.f_globals.get("__name__") in names:
        first = first.tb_next
    return first or tb


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
