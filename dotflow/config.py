"""Config: which provider stands behind each contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from dotflow.abc import Log, Metrics, Notify, Scheduler, Server, Storage, Tracer
from dotflow.errors import InvalidOption, NotCallableObject
from dotflow.model.action import check_seconds
from dotflow.model.clock import Clock, IdSource, RandomIds, Randomness, SystemClock, SystemRandomness
from dotflow.providers import defaults

if TYPE_CHECKING:
    from dotflow.model.events import Event

__all__ = ["Config"]

P = TypeVar("P")
Listener = Callable[["Event"], object]


class Config:
    """The providers of a workflow. What is left out is the default, which does nothing and costs nothing.

    Args:
        storage, notify, log, server, scheduler, tracer, metrics: instances of the contracts in `dotflow.abc`.
        listeners: called with every event (`dotflow.events`), in line, in the coordinator.
        drain_timeout: seconds that the end of a run waits, in all, for what providers still have to send.
        clock, ids: where times and run ids come from; see `dotflow.testing` for ones that can be foreseen.
        rng: where the jitter of retries comes from; default: the operating system. For tests: `random.Random(7)`.

    Raises:
        NotCallableObject: an argument is not an instance of its contract.
        InvalidOption: a listener that cannot be called, a timeout that is no time, a clock that tells none; a method of a
            provider, or a listener, that is `async def`.
    """

    def __init__(
        self,
        *,
        storage: Storage | None = None,
        notify: Notify | None = None,
        log: Log | None = None,
        server: Server | None = None,
        scheduler: Scheduler | None = None,
        tracer: Tracer | None = None,
        metrics: Metrics | None = None,
        listeners: Sequence[Listener] = (),
        drain_timeout: float = 5.0,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        rng: Randomness | None = None,
    ) -> None:
        self.storage: Storage = _provider("storage", storage, Storage, defaults.StorageDefault)
        self.notify: Notify = _provider("notify", notify, Notify, defaults.NotifyDefault)
        self.log: Log = _provider("log", log, Log, defaults.LogDefault)
        self.server: Server = _provider("server", server, Server, defaults.ServerDefault)
        self.scheduler: Scheduler = _provider("scheduler", scheduler, Scheduler, defaults.SchedulerDefault)
        self.tracer: Tracer = _provider("tracer", tracer, Tracer, defaults.TracerDefault)
        self.metrics: Metrics = _provider("metrics", metrics, Metrics, defaults.MetricsDefault)
        self.listeners = _listeners(listeners)
        self.drain_timeout = _seconds("drain_timeout", drain_timeout)
        self.clock: Clock = _capable("clock", clock or SystemClock(), "time_ns", "monotonic_ns", "wait")
        self.ids: IdSource = _capable("ids", ids or RandomIds(), "run_id")
        self.rng: Randomness = _capable("rng", rng or SystemRandomness(), "random")


def _provider(name: str, given: P | None, contract: type[P], default: Callable[[], P]) -> P:
    if given is None:
        return default()
    if not isinstance(given, contract):
        raise NotCallableObject(name, given, contract)
    import inspect  # here, because it takes as long to import as the contracts

    for method in _methods_of(contract):
        if inspect.iscoroutinefunction(getattr(given, method, None)):
            raise InvalidOption(
                f"{name}={type(given).__name__}(...): {method} is `async def`, and nobody would await it; write `def`"
            )
    return given


def _methods_of(contract: type) -> tuple[str, ...]:
    return tuple(name for name in dir(contract) if not name.startswith("_") and callable(getattr(contract, name)))


def _listeners(given: Sequence[Listener]) -> tuple[Listener, ...]:
    if callable(given) or not isinstance(given, Iterable):
        raise InvalidOption("listeners=...: a list of callables; write listeners=[f]")
    for listener in given:
        if not callable(listener):
            raise InvalidOption(f"listeners=[..., {listener!r}]: a listener is called with each event, this cannot be")
        import inspect

        if inspect.iscoroutinefunction(listener):
            raise InvalidOption(
                f"listeners=[..., {listener!r}]: it is `async def`, and nobody would await it; write `def`"
            )
    return tuple(given)


def _capable(name: str, given: P, *methods: str) -> P:
    """What was given, if it has these methods."""
    missing = [method for method in methods if not callable(getattr(given, method, None))]
    if missing:
        raise InvalidOption(f"{name}={given!r}: it has no {', '.join(missing)}; see dotflow.model.clock")
    return given


def _seconds(name: str, value: float) -> float:
    check_seconds(name, value)
    return float(value)
