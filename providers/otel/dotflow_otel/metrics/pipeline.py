"""Where metrics go: which meter provider is used, what exports, and a bounded end."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics

from dotflow.names.spans import SCOPE
from dotflow_otel.export.target import close_at_exit, resource_for, target_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics import ExemplarReservoir
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
    from opentelemetry.sdk.metrics.view import View

    from dotflow.names.metrics import Metric
    from dotflow_otel.export.target import Target
    from dotflow_otel.metrics.export import Reader, WatchedExporter
    from dotflow_otel.metrics.histograms import OwnHistograms
    from dotflow_otel.metrics.instruments import Histogram

__all__ = ["MeterPipeline", "foreign_provider", "idle_pipeline", "load", "metrics_target", "private_pipeline"]

_UNSET: Final = "_ProxyMeterProvider"  # what the API gives as long as no provider has been set


class MeterPipeline:
    """A meter provider that is not ours: the application says when it is read, and ends it.

    It is not even flushed. Its periodic readers send all there is when the application ends, and the reader of
    OpenTelemetry's Prometheus exporter would show every series twice in the next scrape.
    """

    def __init__(self, provider: MeterProvider, make_histogram: Callable[[Metric], Histogram] | None = None) -> None:
        """`make_histogram`: makes the histograms that are sent with what the provider collects; default: its own."""
        self.provider = provider
        self.make_histogram = make_histogram

    @property
    def is_ours(self) -> bool:
        """Whether it is shut down by us."""
        return False

    @property
    def is_forked(self) -> bool:
        """Whether it is the copy that a forked child has of one of ours, which sends nothing."""
        return False

    def send_zeros(self) -> None:
        """Send what has been declared, before anything has happened. Returns at once."""

    def flush(self, seconds: float) -> None:
        """Send what there is; what cannot be sent within `seconds` is counted as lost."""

    def take_lost(self) -> tuple[int, str]:
        """How many data points did not get through since this was last asked, and why."""
        return 0, ""

    def close(self, seconds: float) -> None:
        """Shut down what was created here."""


class PrivatePipeline(MeterPipeline):
    """A meter provider of our own, with one reader and one exporter."""

    def __init__(
        self,
        provider: SdkMeterProvider,
        reader: Reader,
        exporter: WatchedExporter,
        where: str,
        histograms: OwnHistograms | None,
    ) -> None:
        super().__init__(provider, histograms.make if histograms is not None else None)
        self._shut_down = provider.shutdown
        self._reader = reader
        self._exporter = exporter
        self._where = where
        self._closed = False

    @property
    def is_ours(self) -> bool:
        """Whether it is shut down by us."""
        return True

    @property
    def is_forked(self) -> bool:
        """Whether it is the copy that a forked child has of one of ours, which sends nothing."""
        return self._reader.is_forked

    def send_zeros(self) -> None:
        """Send what has been declared, before anything has happened. Returns at once."""
        self._reader.send_zeros()

    def flush(self, seconds: float) -> None:
        """Send what there is; what cannot be sent within `seconds` is counted as lost.

        Raises:
            TimeoutError: it takes longer than that, and nothing is being sent.
        """
        if self.is_forked:
            return
        try:
            within(seconds, "flush of metrics", lambda: self._reader.force_flush(seconds * 1000))
        except TimeoutError:
            if not self._exporter.give_up():
                raise

    def take_lost(self) -> tuple[int, str]:
        """How many data points did not get through since this was last asked, and why."""
        return self._exporter.take_lost(), f"not delivered to {self._where}{self._exporter.why}"

    def close(self, seconds: float) -> None:
        """Shut down what was created here, within `seconds`."""
        if not self._closed and not self.is_forked:
            self._closed = True
            # Not in a thread of its own: from Python 3.12 on none can start at the end of a program. The SDK waits for
            # the reader and for nothing else, and ours keeps to its time.
            self._shut_down(timeout_millis=seconds * 1000)


def foreign_provider() -> MeterProvider | None:
    """The global meter provider if the application has set one."""
    provider = metrics.get_meter_provider()
    return None if type(provider).__name__ == _UNSET else provider


def idle_pipeline() -> MeterPipeline:
    """One that leads nowhere."""
    return MeterPipeline(metrics.NoOpMeterProvider())


def metrics_target(endpoint: str | None, protocol: str | None) -> Target | None:
    """Where a meter provider of ours sends to; None as well where the SDK is switched off.

    Raises:
        InvalidOption, InvalidChoice: see `target_of`.
    """
    target = target_of("metrics", endpoint, protocol)
    return None if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" else target


def load(target: Target, seconds: float) -> None:
    """Import what a private pipeline needs, which takes a tenth of a second: better now than as a part of the first run.

    Raises:
        MissingExtra: (an `ImportError`) the extra `otel-grpc` is not installed.
    """
    importlib.import_module("dotflow_otel.metrics.export")
    target.exporter(seconds).shutdown()


def private_pipeline(
    *, service_name: str | None, target: Target | None, seconds: float, bounds: Sequence[float], max_series: int
) -> MeterPipeline:
    """A provider of our own: interval, temporality and exemplar filter by the `OTEL_*` variables.

    It is shut down at the end of the program, within `seconds`. Without a target it does nothing.
    """
    if target is None:
        return idle_pipeline()
    # Only here: programs without an endpoint never need the SDK.
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

    from dotflow_otel.metrics.export import Reader, WatchedExporter

    exporter = WatchedExporter(target.exporter(seconds))
    histograms = exporter.own_histograms(bounds)
    reader = Reader(exporter, histograms, max_series)
    provider = SdkMeterProvider(
        [reader], resource=resource_for(service_name), views=[_latest_exemplars()], shutdown_on_exit=False
    )
    reader.start()
    pipeline = PrivatePipeline(provider, reader, exporter, target.name, histograms)
    close_at_exit(pipeline, seconds)
    return pipeline


def _latest_exemplars() -> View:
    """Counters keep their latest exemplar.

    The SDK would choose one by the global `random`, and so change what the steps of a program that seeds it get.
    """
    from opentelemetry.sdk.metrics import AlignedHistogramBucketExemplarReservoir, Counter
    from opentelemetry.sdk.metrics.view import View

    def reservoir(**_: Any) -> ExemplarReservoir:
        return AlignedHistogramBucketExemplarReservoir(boundaries=())

    factory: Any = lambda _: reservoir  # noqa: E731 - typed by the SDK as called with a dict; it is with keywords
    return View(instrument_type=Counter, meter_name=SCOPE, exemplar_reservoir_factory=factory)
