"""Where the attempts of a run are run: what a mode and an executor come to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dotflow.engine.attempt import Sides
from dotflow.engine.dispatch import overridden
from dotflow.engine.inline import InlineExecutor
from dotflow.errors import InvalidOption
from dotflow.modes import BACKGROUND, INLINE, PROCESS, THREAD, place_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dotflow.config import Config
    from dotflow.engine.contain import Containment
    from dotflow.engine.executor import Executor
    from dotflow.engine.interrupts import Interrupts
    from dotflow.engine.workers import WorkerStock
    from dotflow.options import StartOptions
    from dotflow.run import Run

__all__ = ["Places"]


class Places:
    """Makes the executors of a workflow's runs, and keeps the worker processes that they share."""

    def __init__(self, config: Config, containment: Containment) -> None:
        self._config = config
        self._containment = containment
        self._stock: WorkerStock | None = None

    def executor(
        self, run: Run, options: StartOptions, *, groups: int, loop: asyncio.AbstractEventLoop | None
    ) -> Callable[[Interrupts], Executor]:
        """What makes the executor of a run; it is called by the thread that will use it.

        Raises:
            InvalidOption: worker processes on a system that cannot have them.
        """
        place = options.executor or place_of(options.mode, groups)
        clock, sides = self._config.clock, self._sides()
        if place == INLINE:
            # A run of a schedule must come to its end when the schedule gives it up, whatever its step does.
            detached = options.mode == BACKGROUND or run.trigger == "schedule"
            return lambda interrupts: InlineExecutor(clock, sides, interrupts, detached=detached, loop=loop)
        workers = options.max_workers or _processors()
        if place == THREAD:
            from dotflow.engine.threads import ThreadExecutor

            return lambda _: ThreadExecutor(clock, sides, workers, loop=loop)
        if place == PROCESS:
            return self._processes(run, min(workers, max(1, len(run.tasks))))
        return self._futures(run, place, sides, options.max_workers)

    def clear(self) -> None:
        """End the worker processes that wait for a next run."""
        if self._stock is not None:
            self._stock.clear()

    def close(self) -> None:
        """End the worker processes for good."""
        if self._stock is not None:
            self._stock.close()

    def _processes(self, run: Run, workers: int) -> Callable[[Interrupts], Executor]:
        if os.name != "posix":
            raise InvalidOption(
                "worker processes need a POSIX system: use executor='thread', or an executor of your own"
            )
        from dotflow.engine.processes import ProcessExecutor
        from dotflow.engine.workers import WorkerStock

        stock = self._stock = self._stock or WorkerStock()
        clock = self._config.clock
        return lambda _: ProcessExecutor(clock, self._pickled_sides(run), workers, stock)

    def _futures(self, run: Run, executor: Any, sides: Sides, workers: int | None) -> Callable[[Interrupts], Executor]:
        from dotflow.engine.futures import FuturesExecutor, shares_memory, workers_of

        clock, size = self._config.clock, workers or workers_of(executor)

        def make(_: Interrupts) -> Executor:
            pickled = b"" if shares_memory(executor) else self._pickled_sides(run)
            return FuturesExecutor(clock, executor, sides, pickled, size)

        return make

    def _sides(self) -> Sides:
        tracer, log = self._config.tracer, self._config.log
        return Sides(
            tracer=tracer.attach if overridden(tracer, "attach") else None,
            log=log.attach if overridden(log, "attach") else None,
        )

    def _pickled_sides(self, run: Run) -> bytes:
        """The `WorkerSide`s of the providers, as bytes; one that cannot be made is left out, and told of."""
        from dotflow.engine.parcels import pickle_sides

        found: dict[str, Any] = {}
        for name in Sides._fields:
            provider = getattr(self._config, name)
            if overridden(provider, "for_worker"):

                def add(name: str = name, provider: Any = provider) -> None:
                    side = provider.for_worker()
                    if side is not None:
                        pickle_sides({name: side})
                        found[name] = side

                self._containment.call(run, name, "for_worker", add)
        return pickle_sides(found)


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
