"""Where spans go: which tracer provider is used, what exports, and a bounded end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from dotflow_otel.export.target import close_at_exit, resource_for, within
from dotflow_otel.tracing.ids import RunIdGenerator
from dotflow_otel.tracing.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace.export import SpanExporter

    from dotflow_otel.export.target import Target
    from dotflow_otel.tracing.destination import Destination

__all__ = ["Pipeline", "foreign_pipeline", "private_pipeline", "worker_pipeline"]

_WORKER_DELAY_SECONDS = 0.1
_SHARE = 0.8  # of the time to flush, so that what is lost can still be counted and told


class _Flushable(Protocol):
    def force_flush(self, timeout_millis: int) -> bool: ...


class Pipeline:
    """A tracer provider, whether it is ours to shut down, and the id generator if run ids can be trace ids in it."""

    def __init__(
        self,
        provider: trace.TracerProvider,
        *,
        ids: RunIdGenerator | None = None,
        owned: TracerProvider | None = None,
        outboxes: Sequence[Outbox] = (),
    ) -> None:
        self.provider = provider
        self.ids = ids
        self._owned = owned
        self._outboxes = outboxes
        self._closed = False

    @property
    def is_ours(self) -> bool:
        """Whether it is shut down by us."""
        return self._owned is not None

    @property
    def is_closed(self) -> bool:
        """Whether it was ours and has been shut down."""
        return self._closed

    @property
    def resource(self) -> dict[str, Any]:
        """The attributes of the provider's resource; empty if it does not tell."""
        resource = getattr(self.provider, "resource", None)
        return dict(resource.attributes) if isinstance(resource, Resource) else {}

    @property
    def is_buffering(self) -> bool:
        """Whether spans wait to be sent; of a provider that is not ours nobody knows."""
        return self._owned is None or any(outbox.is_waiting for outbox in self._outboxes)

    def flush(self, timeout: float) -> None:
        """Export what is buffered, within `timeout` seconds. What our own exporters cannot deliver by then is lost.

        Raises:
            TimeoutError: a provider of the application's takes longer; it goes on in a daemon thread, which delays nobody.
        """
        if not hasattr(self.provider, "force_flush"):
            return
        provider = cast("_Flushable", self.provider)
        seconds = timeout if self._owned is None else _SHARE * timeout
        taken = [(outbox, outbox.taken) for outbox in self._outboxes]
        try:
            within(seconds, "flush of spans", lambda: provider.force_flush(round(seconds * 1000)))
        except TimeoutError:
            if self._owned is None:
                raise
            for outbox, count in taken:
                outbox.give_up(count)

    def take_lost(self) -> list[tuple[int, str]]:
        """How many spans did not get through since this was last asked, and why; of a provider of our own."""
        return [lost for outbox in self._outboxes for lost in outbox.take_lost()]

    def close(self, seconds: float) -> None:
        """Shut down what was created here, within `seconds`; a provider of the application's is left alone.

        Raises:
            TimeoutError: it takes longer than that.
        """
        if self._owned is not None and not self._closed:
            self._closed = True
            within(seconds, "shutdown of spans", self._owned.shutdown)


def foreign_pipeline(given: trace.TracerProvider | None) -> Pipeline | None:
    """The provider that was passed, else the global one if the application has set one, else None."""
    provider = given or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    ids = getattr(provider, "id_generator", None)
    return Pipeline(provider, ids=ids if isinstance(ids, RunIdGenerator) else None)


def private_pipeline(
    *, service_name: str | None, target: Target | None, file: str | Path | None, seconds: float
) -> Pipeline:
    """A provider of our own: sampler, limits and batching by the `OTEL_*` variables, exporters as asked for.

    It is shut down at the end of the program, within `seconds`.
    """
    return _our_pipeline(resource_for(service_name), target, file, seconds)


def worker_pipeline(there: Destination) -> Pipeline:
    """The provider of a worker process.

    It sends more often than the SDK would, so that a worker which is killed takes fewer spans along.
    """
    return _our_pipeline(Resource(there.resource), there.target, there.file, there.seconds, delay=_WORKER_DELAY_SECONDS)


def _our_pipeline(
    resource: Resource, target: Target | None, file: str | Path | None, seconds: float, delay: float | None = None
) -> Pipeline:
    ids = RunIdGenerator()
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    outboxes = [Outbox(exporter, where, delay) for exporter, where in _exporters(target, file, seconds)]
    for outbox in outboxes:
        provider.add_span_processor(outbox)
    pipeline = Pipeline(provider, ids=ids, owned=provider, outboxes=outboxes)
    close_at_exit(pipeline, seconds)
    return pipeline


def _exporters(target: Target | None, file: str | Path | None, seconds: float) -> Iterator[tuple[SpanExporter, str]]:
    if file is not None:
        from dotflow_otel.export.file import OtlpJsonFileExporter

        yield OtlpJsonFileExporter(file), str(file)
    if target is not None:
        yield target.exporter(seconds), target.name
