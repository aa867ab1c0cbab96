"""Where log records go: which logger provider is used, what exports, and a bounded end."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from opentelemetry import _logs as api

from dotflow_otel.export.target import close_at_exit, resource_for, target_of, within
from dotflow_otel.logs.attributes import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry._logs import Logger, LoggerProvider
    from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider
    from opentelemetry.sdk.resources import Resource

    from dotflow_otel.export.target import Target
    from dotflow_otel.logs.outbox import LogOutbox

__all__ = ["LogDestination", "LogPipeline", "foreign_pipeline", "log_target", "private_pipeline", "worker_pipeline"]

_WORKER_DELAY_SECONDS = 0.1
_SHARE = 0.9  # of the time that there is, so that what is given up is counted before the engine gives up on us


class LogDestination(NamedTuple):
    """Where the lines go that steps write in a worker, and how little they have to matter to be left out.

    `make_provider` takes the place of `target`. `resource` are the attributes of the coordinator's.
    """

    resource: dict[str, Any]
    level: int
    target: Target | None = None
    seconds: float = 2.0
    make_provider: Callable[[], LoggerProvider] | None = None


class _Flushable(Protocol):
    def force_flush(self, timeout_millis: int) -> bool: ...


class LogPipeline:
    """A logger provider and, if it is ours, its way out."""

    def __init__(
        self, provider: LoggerProvider, *, owned: SdkLoggerProvider | None = None, outbox: LogOutbox | None = None
    ) -> None:
        self.provider = provider
        self.is_ours = owned is not None
        self._owned = owned
        self._outbox = outbox
        self._loggers: dict[str, Logger] = {}
        self._closed = False

    @property
    def is_idle(self) -> bool:
        """Whether records would go nowhere."""
        return isinstance(self.provider, api.NoOpLoggerProvider)

    @property
    def is_closed(self) -> bool:
        """Whether it was ours and has been shut down."""
        return self._closed

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes of the provider's resource; empty if it does not tell."""
        return dict(getattr(getattr(self.provider, "resource", None), "attributes", {}))

    def logger(self, name: str) -> Logger:
        """The provider's logger of this name: the instrumentation scope of its records."""
        found = self._loggers.get(name)
        if found is None:
            found = self._loggers[name] = self.provider.get_logger(text(name))
        return found

    @property
    def is_buffering(self) -> bool:
        """Whether records wait to be sent; of a provider that is not ours nobody knows."""
        return self._outbox.is_waiting if self._outbox is not None else not (self.is_ours or self.is_idle)

    def flush(self, timeout: float, at_most: float) -> None:
        """Export what is buffered, within `at_most` seconds, and before `timeout` seconds are over.

        What our own exporter cannot send in time is given up, and counted as lost.

        Raises:
            TimeoutError: a provider of the application's takes longer than that; it goes on in a daemon thread.
        """
        if not hasattr(self.provider, "force_flush"):
            return
        provider = cast("_Flushable", self.provider)
        taken = self._outbox.taken if self._outbox is not None else 0
        seconds = min(_SHARE * timeout, at_most)
        try:
            within(seconds, "flush of logs", lambda: provider.force_flush(round(seconds * 1000)))
        except TimeoutError:
            if self._outbox is None:
                raise
            self._outbox.give_up(taken)

    def take_lost(self) -> list[tuple[int, str]]:
        """How many records did not get through since this was last asked, and why; of a provider of our own."""
        return list(self._outbox.take_lost()) if self._outbox is not None else []

    def close(self, timeout: float, at_most: float = math.inf) -> None:
        """Shut down what was created here, in time as `flush`; a provider of the application's is left alone.

        Raises:
            TimeoutError: it takes longer than that, and something is lost of which nobody has been told.
        """
        if self._owned is None or self._closed:
            return
        self._closed = True
        try:
            within(min(_SHARE * timeout, at_most), "shutdown of logs", self._owned.shutdown)
        except TimeoutError:
            if self._outbox is None or self._outbox.is_waiting:
                raise


def log_target(endpoint: str | None = None, protocol: str | None = None) -> Target | None:
    """Where a logger provider of ours sends to; None as well where the SDK is switched off.

    Raises:
        InvalidOption, InvalidChoice: see `target_of`.
    """
    target = target_of("logs", endpoint, protocol)
    return None if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" else target


def foreign_pipeline(given: LoggerProvider | None) -> LogPipeline | None:
    """The provider that was passed, else the global one if the application has set one, else None."""
    provider = given or api.get_logger_provider()
    return None if type(provider).__name__ == "ProxyLoggerProvider" else LogPipeline(provider)


def private_pipeline(service_name: str | None, target: Target | None, seconds: float) -> LogPipeline:
    """A provider of our own, batching by the `OTEL_*` variables; without a target, one that does nothing.

    It is shut down at the end of the program, within `seconds`.
    """
    if target is None:
        return LogPipeline(api.NoOpLoggerProvider())
    return _our_pipeline(resource_for(service_name), target, seconds)


def worker_pipeline(there: LogDestination) -> LogPipeline:
    """The provider of a worker process: made by the application's own function, else one of ours.

    It sends more often than the SDK would, so that a worker which is killed takes fewer records along.
    """
    if there.make_provider is not None:
        return LogPipeline(there.make_provider())
    if there.target is None:
        return LogPipeline(api.NoOpLoggerProvider())
    from opentelemetry.sdk.resources import Resource

    return _our_pipeline(Resource(there.resource), there.target, there.seconds, _WORKER_DELAY_SECONDS)


def _our_pipeline(resource: Resource, target: Target, seconds: float, delay: float | None = None) -> LogPipeline:
    # Only here: most worker processes, and programs without an endpoint, never need the SDK.
    from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider

    from dotflow_otel.logs.outbox import LogOutbox

    provider = SdkLoggerProvider(resource=resource, shutdown_on_exit=False)
    outbox = LogOutbox(target.exporter(seconds), target.name, delay)
    provider.add_log_record_processor(outbox)
    pipeline = LogPipeline(provider, owned=provider, outbox=outbox)
    close_at_exit(pipeline, seconds)
    return pipeline
