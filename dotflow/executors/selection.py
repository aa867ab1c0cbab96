"""Where the attempts of a run are run: what a mode and an executor come to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from dotflow.abc.hooks import overridden
from dotflow.errors import InvalidOption
from dotflow.executors.attempt import Sides
from dotflow.executors.inline import InlineExecutor
from dotflow.executors.inner import attempt_around
from dotflow.model.modes import INLINE, PROCESS, SCHEDULE, THREAD, default_executor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dotflow.abc import Log, Metrics, Notify, Server, Storage, Tracer
    from dotflow.executors.base import Executor, InterruptGate
    from dotflow.executors.inner import Surroundings
    from dotflow.executors.workers import WorkerStock
    from dotflow.model.clock import Clock
    from dotflow.model.run import Run
    from dotflow.options import StartOptions

__all__ = ["ExecutorSelection"]


class Contain(Protocol):
    """Calls a function of a provider's, and keeps what it raises from the run."""

    def __call__(self, run: Run | None, provider: str, method: str, function: Callable[[], object], /) -> None: ...


class Providers(Protocol):
    """What is to be known of a `Config`."""

    tracer: Tracer
    log: Log
    metrics: Metrics
    notify: Notify
    server: Server
    storage: Storage
    listeners: tuple[Callable[[Any], object], ...]
    drain_timeout: float
    clock: Clock


class ExecutorSelection:
    """Makes the executors of a workflow's runs, and keeps the worker processes that they share."""

    def __init__(self, config: Providers, *, surroundings: Surroundings, contain: Contain) -> None:
        self._config = config
        self._clock = config.clock
        self._surroundings = surroundings
        self._contain = contain
        self._stock: WorkerStock | None = None

    def executor(
        self, run: Run, options: StartOptions, *, lines: int, loop: asyncio.AbstractEventLoop | None
    ) -> Callable[[InterruptGate], Executor]:
        """What makes the executor of a run; it is called by the thread that will use it.

        Raises:
            InvalidOption: worker processes on a system that cannot have them.
        """
        chosen = options.executor or default_executor(options.mode, lines)
        clock, sides = self._clock, self._sides()
        if chosen == INLINE:
            # A run of a schedule must come to its end when the schedule gives it up, whatever its step does.
            # So must one that a step starts, if the step can be given up.
            around = attempt_around()
            detached = options.is_background or run.trigger == SCHEDULE or (around is not None and around.in_thread)
            return lambda interrupts: InlineExecutor(clock, sides, interrupts, detached=detached, loop=loop)
        workers = options.max_workers or _processors()
        if chosen == THREAD:
            from dotflow.executors.threads import ThreadExecutor

            return lambda _: ThreadExecutor(clock, sides, workers, loop=loop)
        if chosen == PROCESS:
            most = workers if any(task.wiring.is_mapped for task in run.tasks) else len(run.tasks)
            return self._processes(run, min(workers, max(1, most)))
        return self._futures(run, chosen, sides, options.max_workers)

    def clear(self) -> None:
        """End the worker processes that wait for a next run."""
        if self._stock is not None:
            self._stock.clear()

    def close(self) -> None:
        """End the worker processes for good."""
        if self._stock is not None:
            self._stock.close()

    def _processes(self, run: Run, workers: int) -> Callable[[InterruptGate], Executor]:
        if os.name != "posix":
            raise InvalidOption(
                "worker processes need a POSIX system: use executor='thread', or an executor of your own"
            )
        from dotflow.executors.payload import Packer
        from dotflow.executors.processes import ProcessExecutor
        from dotflow.executors.workers import WorkerStock

        stock = self._stock = self._stock or WorkerStock()
        clock, surroundings = self._clock, self._surroundings
        return lambda _: ProcessExecutor(clock, Packer(self._pickled_sides(run), "", surroundings), workers, stock)

    def _futures(
        self, run: Run, executor: Any, sides: Sides, workers: int | None
    ) -> Callable[[InterruptGate], Executor]:
        from dotflow.executors.futures import FuturesExecutor, shares_memory, workers_of

        clock, size = self._clock, workers or workers_of(executor)

        def make(_: InterruptGate) -> Executor:
            pickled = b"" if shares_memory(executor) else self._pickled_sides(run)
            return FuturesExecutor(clock, executor, sides, pickled, size, self._surroundings)

        return make

    def _sides(self) -> Sides:
        tracer, log = self._config.tracer, self._config.log
        return Sides(
            tracer=tracer.attach if overridden(tracer, "attach") else None,
            log=log.attach if overridden(log, "attach") else None,
        )

    def _pickled_sides(self, run: Run) -> bytes:
        """The `WorkerSide`s of the providers, as bytes; one that cannot be made is left out, and told of.

        With them goes what the runs need that steps start there: see `remote.Inner`.
        """
        from dotflow.executors.payload import pickle_sides
        from dotflow.executors.relay import relayed_methods
        from dotflow.executors.remote import RELAYED, STORAGE, Inner

        config = self._config
        found: dict[str, Any] = {RELAYED: Inner(relayed_methods(config), config.drain_timeout)}
        for name, provider in (("tracer", config.tracer), ("log", config.log), (STORAGE, config.storage)):
            if overridden(provider, "for_worker"):

                def add(name: str = name, provider: Any = provider) -> None:
                    side = provider.for_worker()
                    if side is not None:
                        pickle_sides({name: side})
                        found[name] = side

                self._contain(run, name, "for_worker", add)
        return pickle_sides(found)


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
