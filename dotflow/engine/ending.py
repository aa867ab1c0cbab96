"""The end of a run: everything buffered is sent, within one deadline that all providers share."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from dotflow.abc.hooks import overridden

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from dotflow.abc.provider import Dropped, Provider
    from dotflow.config import Config
    from dotflow.engine.background_queue import BackgroundQueue
    from dotflow.engine.containment import Containment
    from dotflow.executors.base import Executor
    from dotflow.model.run import Run

__all__ = ["close_all", "flush_all", "providers_of"]

_NETWORK = ("notify", "server")
_KINDS = ("tracer", "metrics", "log", "notify", "server", "storage", "scheduler")


def flush_all(
    config: Config, run: Run, containment: Containment, background_queue: BackgroundQueue, executor: Executor
) -> None:
    """Deliver what is queued and flush every provider that buffers, here and in the workers, side by side.

    One that hangs starves nobody.
    """
    deadline = time.monotonic() + config.drain_timeout

    def flush(kinds: Iterable[str]) -> list[tuple[str, str, threading.Thread]]:
        left = max(0.0, deadline - time.monotonic())
        return [
            _in_thread(containment, run, kind, "flush", left, getattr(config, kind).flush)
            for kind in kinds
            if overridden(getattr(config, kind), "flush") and not background_queue.is_hung(kind)
        ]

    flushing = flush(kind for kind in _KINDS if kind not in _NETWORK)
    if executor.is_buffering:
        flushing.append(_in_thread(containment, run, "workers", "flush", config.drain_timeout, executor.flush))
    background_queue.close(run, config.drain_timeout)
    flushing += flush(_NETWORK)  # only now do they have all their calls
    _await(flushing, deadline, run, containment, config.drain_timeout)
    for kind, method, error in executor.take_failures():
        containment.caught(run, kind, method, error)
    _tell_dropped((lost for _, lost in executor.take_dropped()), run, containment)
    for kind in _KINDS:
        provider: Provider = getattr(config, kind)
        if overridden(provider, "take_dropped"):
            tell = functools.partial(_ask_dropped, provider, run, containment)
            containment.call_apart(run, kind, "take_dropped", tell)


def _ask_dropped(provider: Provider, run: Run, containment: Containment) -> None:
    _tell_dropped(provider.take_dropped(), run, containment)


def _tell_dropped(lost: Iterable[Dropped], run: Run, containment: Containment) -> None:
    """Once a signal, as only the first word on a signal is told: with all of it, and why."""
    reasons: dict[str, Counter[str]] = {}
    for signal, items, why in lost:
        reasons.setdefault(signal, Counter())[why] += items
    for signal, counts in reasons.items():
        why = "; ".join(why if len(counts) == 1 else f"{items}: {why}" for why, items in counts.most_common())
        containment.dropped(run, signal, counts.total(), why)


def providers_of(config: Config) -> list[Provider]:
    """All that may have to be closed."""
    return [getattr(config, kind) for kind in _KINDS]


def close_all(config: Config, containment: Containment, in_use: Container[int]) -> None:
    """Close the providers that hold threads, sockets or files, but those that others still use (by their `id`)."""
    deadline = time.monotonic() + config.drain_timeout
    closing = [
        _in_thread(containment, None, kind, "close", config.drain_timeout, getattr(config, kind).close)
        for kind in _KINDS
        if id(getattr(config, kind)) not in in_use and overridden(getattr(config, kind), "close")
    ]
    _await(closing, deadline, None, containment, config.drain_timeout)


def _in_thread(
    containment: Containment,
    run: Run | None,
    kind: str,
    method: str,
    timeout: float,
    function: Callable[[float], object],
) -> tuple[str, str, threading.Thread]:
    thread = threading.Thread(
        target=containment.call_apart,
        args=(run, kind, method, lambda: function(timeout)),
        name=f"dotflow-{method}-{kind}",
        daemon=True,
    )
    try:
        thread.start()
    except (
        RuntimeError
    ):  # from Python 3.12 on none starts once the main thread has ended, where a background run may go on
        thread.run()
    return kind, method, thread


def _await(
    threads: list[tuple[str, str, threading.Thread]],
    deadline: float,
    run: Run | None,
    containment: Containment,
    timeout: float,
) -> None:
    for kind, method, thread in threads:
        if thread.ident is not None:  # else its work is done already
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            containment.caught(run, kind, method, TimeoutError(f"no end after {timeout:g} s"))
