"""Attempts on a Dask cluster: what `futures` does otherwise when the executor is that of a Dask client."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import uuid
from concurrent.futures import CancelledError, Future, InvalidStateError, wait
from typing import TYPE_CHECKING, Any

from dotflow.errors import InvalidOption, WorkerDied
from dotflow.executors.pool import Pool
from dotflow.executors.remote import run_and_flush

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["DaskPool", "run_once"]

_LOOK_SECONDS = 2.0  # between two looks at how many threads the cluster has
_START_SECONDS = 5.0  # for the first of them, which is waited for
_CLEAR_SECONDS = 1.0  # at the end of a run, for the marks on the scheduler to be taken back
_WATCH_SECONDS = 30.0  # after which the scheduler lets go of a wait that nobody may be interested in any more
_MOST_WATCHED = 200  # attempts that have not begun; each takes one of the client's 512 connections
_LARGE = 1_000_000  # bytes
_config_lock = threading.Lock()


def run_once(mark: str, payload: bytes) -> bytes | None:
    """Runs on the cluster: the attempt in `payload`, or None if the attempt was begun before.

    Dask runs a task again, without a word, when the worker that ran it or that had its result is lost. A step may have
    done half of its work by then, and only the coordinator knows whether it may be run again. So what has begun is
    marked on the scheduler, which outlives the worker.
    """
    begun = _event(mark)
    if begun.is_set():
        return None
    begun.set()
    report = run_and_flush(payload)
    with contextlib.suppress(Exception):  # what the attempt has done is worth more than a mark
        if not _is_wanted():
            begun.clear()
    return report


def _is_wanted() -> bool:
    """Whether the coordinator still waits for this Dask task, and so will clear its mark; not if its client is gone."""
    import distributed

    worker: Any = distributed.get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state != "cancelled"


class DaskPool(Pool):
    """The workers of a Dask cluster, which come and go, and which are lost without an exception.

    Every attempt is a Dask task with a key of its own, which begins with the name of the task, and a mark of its own: an
    `Event` on the scheduler. It is cleared as soon as the attempt has come back, however that was; by the worker, when
    the step has ended, if the client has been closed before or the program killed. What can stay behind is the mark of an
    attempt that ends in the very moment in which its client is closed.

    An attempt that is given up is not cancelled: Dask would take the worker for idle while the step still runs, and put
    the next attempt behind it. Its mark is set, so that it does not begin if it has not yet.
    """

    def __init__(self, executor: Any, wake: Callable[[], None]) -> None:
        super().__init__(executor)
        self._client = executor._client  # noqa: SLF001 - there is no other way to it
        if self._client.asynchronous:
            raise InvalidOption(
                "the executor of an asynchronous Dask client cannot be waited for in the thread of its event loop: "
                "use start_async, or a Client(asynchronous=False)"
            )
        self._wake = wake
        self._marks: dict[Future[Any], str] = {}
        self._telling: set[Future[None]] = set()
        self._watched: dict[str, Future[None]] = {}
        self._threads = 0
        self._look_at = time.monotonic() + _LOOK_SECONDS
        with contextlib.suppress(Exception):  # then there is one slot, until a later look succeeds
            self._threads = sum(self._client.nthreads(callback_timeout=_START_SECONDS).values())

    @property
    def size(self) -> int:
        """How many threads the workers had when that was last looked at."""
        return self._threads

    def submit(self, name: str, payload: bytes, on_begin: Callable[[], None] | None) -> Future[Any]:
        """Hand a payload to the cluster; it has begun when its mark is set."""
        unique = uuid.uuid4().hex
        mark = f"dotflow-{unique}"
        with _without_advice(len(payload)):
            remote = self._submit(mark, payload, key=f"{name}-{unique}")
        future: Future[Any] = Future()
        self._marks[future] = mark
        future.add_done_callback(self._forget)
        if on_begin is not None:
            self._watch(mark, future, on_begin)
        self._client.loop.add_callback(_fetch, remote, future)
        return future

    def _submit(self, *arguments: Any, key: str) -> Any:
        # What the executor's own `submit` does, but for the future that it returns: one that stays pending for ever if
        # fetching the result fails, as it does when a connection is lost or the client is closed at that moment.
        executor = self._executor
        if executor._shutdown:  # noqa: SLF001
            raise RuntimeError("the executor has been shut down")
        remote = self._client.submit(run_once, *arguments, key=key, **executor._kwargs)  # noqa: SLF001
        executor._futures.add(remote)  # noqa: SLF001
        return remote

    def read(self, found: Any) -> bytes:
        """The report of an attempt, if there is one."""
        if found is None:
            raise WorkerDied("the Dask worker that had this attempt was lost, with the attempt or with its result")
        report: bytes = found
        return report

    def look(self) -> None:
        """See whether the client has been closed, and now and then how large the cluster is."""
        if self._client.status == "closed":
            for future in list(self._marks):
                _settle(future, error=CancelledError("the Dask client was closed"))
        elif time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            self._client.loop.add_callback(self._count_threads)

    def give_up(self, future: Future[Any]) -> bool:
        """Not to be stopped if it runs; if it does not run yet, it never will."""
        mark = self._marks.get(future)
        if mark is not None:
            self._tell(lambda: self._hold_back(mark, future))
        return future.done()

    def close(self) -> None:
        """Wait a moment for what the scheduler is still being told: a client that is closed now tells it no more."""
        if self._client.status == "running":
            wait(list(self._telling), _CLEAR_SECONDS)

    def _watch(self, mark: str, future: Future[Any], on_begin: Callable[[], None]) -> None:
        if len(self._watched) >= _MOST_WATCHED:
            on_begin()
            return
        self._watched[mark] = Future()
        self._client.loop.add_callback(self._wait_for_begin, mark, future, on_begin)

    # --- in the thread of the client's event loop, where methods of Dask's return awaitables

    def _forget(self, future: Future[Any]) -> None:
        mark = self._marks.pop(future)
        self._tell(lambda: self._clear(mark))

    def _tell(self, call: Callable[[], Awaitable[Any]]) -> None:
        told: Future[None] = Future()
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)
        self._client.loop.add_callback(_contained, call, told)

    async def _wait_for_begin(self, mark: str, future: Future[Any], on_begin: Callable[[], None]) -> None:
        try:
            while not future.done():
                if await _event(mark, self._client).wait(_WATCH_SECONDS):
                    on_begin()
                    return
        except Exception:  # noqa: BLE001 - a connection is lost: better an early end than a step without any
            on_begin()
        finally:
            self._watched.pop(mark).set_result(None)

    async def _clear(self, mark: str) -> None:
        watch = self._watched.get(mark)
        if watch is not None:  # it has not begun, or that is not known yet: a wait after the clearing would be in vain
            await _event(mark, self._client).set()
            await asyncio.wrap_future(watch)
        await _event(mark, self._client).clear()

    async def _hold_back(self, mark: str, future: Future[Any]) -> None:
        await _event(mark, self._client).set()
        if future.done():  # and so its mark has been cleared, perhaps before it was set
            await _event(mark, self._client).clear()

    async def _count_threads(self) -> None:
        with contextlib.suppress(Exception):
            threads = sum((await self._client.nthreads()).values())
            if threads != self._threads:
                self._threads = threads
                self._wake()


def _event(mark: str, client: Any = None) -> Any:
    from distributed import Event

    make: Any = Event
    return make(mark, client=client)


async def _fetch(remote: Any, future: Future[Any]) -> None:
    try:
        try:
            found = await remote
        except OSError:  # a connection that was idle for long may be gone: the next try makes another
            found = await remote
    except BaseException as error:  # noqa: BLE001 - raised where the future is read
        _settle(future, error=error)
    else:
        _settle(future, found)


def _settle(future: Future[Any], found: Any = None, error: BaseException | None = None) -> None:
    with contextlib.suppress(InvalidStateError):  # it was given up when the client was closed
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)


async def _contained(call: Callable[[], Awaitable[Any]], told: Future[None]) -> None:
    try:
        await call()
    except Exception:  # noqa: BLE001 - the cluster is gone, and its memory with it
        return
    finally:
        told.set_result(None)


@contextlib.contextmanager
def _without_advice(size: int) -> Iterator[None]:
    """Without Dask's warning that a task carries much data, which advises what a user of dotflow cannot do."""
    if size < _LARGE:
        yield
        return
    import dask

    # Dask's configuration is the process's. Not `warnings.catch_warnings`, which is undone in the wrong order when two
    # runs do it at once.
    with _config_lock, dask.config.set({"distributed.admin.large-graph-warning-threshold": sys.maxsize}):
        yield
