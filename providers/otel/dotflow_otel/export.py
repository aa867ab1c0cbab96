"""Where spans go: which tracer provider is used, what exports, and a bounded end."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider

from dotflow.errors import InvalidOption
from dotflow_otel.ids import RunIdGenerator
from dotflow_otel.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace.export import SpanExporter

    from dotflow_otel.worker import Destination

__all__ = ["Pipeline", "destination_url", "foreign_pipeline", "private_pipeline", "traces_url", "worker_pipeline"]

_TRACES_EXPORTER = "OTEL_TRACES_EXPORTER"  # the SDK leaves this one to `opentelemetry-instrument`
_TRACES_PATH = "/v1/traces"
_WORKER_DELAY_SECONDS = 0.5


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
    def resource(self) -> dict[str, Any]:
        """The attributes of the provider's resource; empty if it does not tell."""
        resource = getattr(self.provider, "resource", None)
        return dict(resource.attributes) if isinstance(resource, Resource) else {}

    @property
    def is_buffering(self) -> bool:
        """Whether spans wait to be sent; of a provider that is not ours nobody knows."""
        return self._owned is None or any(outbox.is_waiting for outbox in self._outboxes)

    def flush(self, seconds: float) -> None:
        """Export what is buffered.

        Raises:
            TimeoutError: it takes longer than `seconds`; it goes on in a daemon thread, which delays nobody.
        """
        if hasattr(self.provider, "force_flush"):
            provider = cast("_Flushable", self.provider)
            _within(seconds, "dotflow-otel-flush", lambda: provider.force_flush(round(seconds * 1000)))

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
            _within(seconds, "dotflow-otel-shutdown", self._owned.shutdown)


def foreign_pipeline(given: trace.TracerProvider | None) -> Pipeline | None:
    """The provider that was passed, else the global one if the application has set one, else None."""
    provider = given or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    ids = getattr(provider, "id_generator", None)
    return Pipeline(provider, ids=ids if isinstance(ids, RunIdGenerator) else None)


def private_pipeline(*, service_name: str | None, url: str | None, file: str | Path | None, seconds: float) -> Pipeline:
    """A provider of our own: sampler, limits and batching by the `OTEL_*` variables, exporters as asked for.

    It is shut down at the end of the program, within `seconds`; the SDK's own exit handler would wait far longer for
    a collector that does not answer.
    """
    resource = Resource.create({SERVICE_NAME: service_name} if service_name else _default_name())
    return _our_pipeline(resource, url, file, seconds)


def worker_pipeline(there: Destination) -> Pipeline:
    """The provider of a worker process: made by the application's own function, else one of ours.

    It sends more often than the SDK would, so that a worker which is killed takes fewer spans along.
    """
    if there.make_provider is not None:
        return Pipeline(there.make_provider())
    return _our_pipeline(Resource(there.resource), there.url, there.file, there.seconds, delay=_WORKER_DELAY_SECONDS)


def destination_url(endpoint: str | None) -> str | None:
    """Where traces are sent: to the endpoint that was given, else to what the environment says, else nowhere."""
    return traces_url(endpoint) if endpoint else _url_in_environment()


def _our_pipeline(
    resource: Resource, url: str | None, file: str | Path | None, seconds: float, delay: float | None = None
) -> Pipeline:
    ids = RunIdGenerator()
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    outboxes = [Outbox(exporter, where, delay) for exporter, where in _exporters(url, file, seconds)]
    for outbox in outboxes:
        provider.add_span_processor(outbox)
    pipeline = Pipeline(provider, ids=ids, owned=provider, outboxes=outboxes)
    atexit.register(_close_at_exit, weakref.ref(pipeline), seconds)
    return pipeline


def traces_url(endpoint: str) -> str:
    """The URL that takes traces, from a base URL (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).

    Raises:
        InvalidOption: the endpoint is no http(s) URL.
    """
    if not endpoint.startswith(("http://", "https://")):
        raise InvalidOption(f"endpoint={endpoint!r}: a base URL such as http://localhost:4318 (OTLP over HTTP)")
    base = endpoint.rstrip("/")
    return base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH


def _exporters(url: str | None, file: str | Path | None, seconds: float) -> Iterator[tuple[SpanExporter, str]]:
    if file is not None:
        from dotflow_otel.file import OtlpJsonFileExporter

        yield OtlpJsonFileExporter(file), str(file)
    if url is not None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # It gives up before a flush does, so that a flush can tell what was lost.
        yield OTLPSpanExporter(endpoint=url, timeout=0.75 * seconds), _without_credentials(url)


def _url_in_environment() -> str | None:
    """`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` as it is, else `OTEL_EXPORTER_OTLP_ENDPOINT` with the path of traces."""
    if os.environ.get(_TRACES_EXPORTER, "").strip().lower() == "none":
        return None
    for_traces = os.environ.get(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)
    base = os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT)
    return for_traces or (base.rstrip("/") + _TRACES_PATH if base else None)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _default_name() -> dict[str, str]:
    """A name in place of the SDK's `unknown_service`, unless the environment has one."""
    found = Resource.create().attributes.get(SERVICE_NAME, "")
    return {SERVICE_NAME: "dotflow"} if str(found).startswith("unknown_service") else {}


def _within(seconds: float, name: str, call: Callable[[], object]) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again below, in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"spans could not be exported within {seconds:g} s")
    if failures:
        raise failures[0]


def _close_at_exit(pipeline: weakref.ref[Pipeline], seconds: float) -> None:
    alive = pipeline()
    if alive is not None:
        try:
            alive.close(seconds)
        except (TimeoutError, RuntimeError):
            # Told at the end of the run already; and from Python 3.12 on no thread can start this late.
            return
