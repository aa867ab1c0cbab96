"""An OTLP/HTTP endpoint on the loopback that decodes metrics, and shows them as Prometheus would store them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from support.http_server import HttpServer, OtlpHandler

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
NO_TEMPORALITY = 0

_UNITS = {"": "", "s": "_seconds"}

Series = tuple[str, frozenset[tuple[str, str]]]


class Exemplar(NamedTuple):
    """Ids as lower-case hex, empty if there are none."""

    trace_id: str
    span_id: str
    value: float


@dataclass(frozen=True)
class Point:
    """One data point as it came over the wire.

    `kind` is `counter`, `gauge`, `histogram`, `exponential_histogram` or `other`; the value of a histogram is its sum.
    """

    name: str
    kind: str
    unit: str
    description: str
    temporality: int
    attributes: dict[str, Any]
    start_ns: int
    time_ns: int
    value: float
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    count: int
    exemplars: tuple[Exemplar, ...]
    scope: str
    resource: dict[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[str, frozenset[tuple[str, Any]]]:
        return self.name, frozenset(self.attributes.items())


class OtlpMetricsEndpoint:
    """Listens on a free port from `with` on; `status` is what it answers, and only 200 takes anything in.

    While `stalled` is set it does not answer at all.
    """

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.stalled = threading.Event()
        self.batches: list[list[Point]] = []
        self.requests = 0
        self._released = threading.Event()
        self._changed = threading.Condition()

    def __enter__(self) -> OtlpMetricsEndpoint:
        endpoint = self

        class Handler(OtlpHandler):
            def do_POST(self) -> None:
                endpoint._take(self.path, self.body())
                if endpoint.stalled.is_set():
                    endpoint._released.wait()
                    return
                self.answer(endpoint.status, ExportMetricsServiceResponse().SerializeToString())

        self._server = HttpServer(Handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.stop()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def points(self) -> list[Point]:
        """All points, in the order in which they came."""
        with self._changed:
            return [point for batch in self.batches for point in batch]

    def wait_for(self, batches: int) -> None:
        """Wait until so many batches have come."""
        deadline = time.monotonic() + 20
        with self._changed:
            while len(self.batches) < batches:
                assert self._changed.wait(deadline - time.monotonic()), "no more batches come"

    def named(self, name: str) -> list[Point]:
        return [point for point in self.points if point.name == name]

    def latest(self, name: str, /, **attributes: Any) -> Point:
        """The newest point with exactly these attributes."""
        return max((p for p in self.named(name) if p.attributes == attributes), key=lambda p: p.time_ns)

    def total(self, name: str, /, **attributes: Any) -> float:
        """What a series has come to: the newest cumulative value, or the sum of the deltas; the count of a histogram."""
        found = [p for p in self.named(name) if p.attributes == attributes]
        assert found, (name, attributes)
        values = [p.count if p.kind == "histogram" else p.value for p in sorted(found, key=lambda p: p.time_ns)]
        return sum(values) if found[0].temporality == DELTA else values[-1]

    def prometheus(self) -> dict[Series, float]:
        """The newest value of each series, named by the rules by which Prometheus translates OTLP.

        https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus
        """
        newest: dict[Any, Point] = {}
        for point in sorted(self.points, key=lambda p: p.time_ns):
            assert point.temporality != DELTA, "Prometheus does not take deltas"
            newest[point.key] = point
        return {series: value for point in newest.values() for series, value in _as_series(point)}

    def _take(self, path: str, body: bytes) -> None:
        assert path == "/v1/metrics", path
        request = ExportMetricsServiceRequest.FromString(body)
        with self._changed:
            self.requests += 1
            if self.status == 200 and not self.stalled.is_set():
                self.batches.append(_decode(request))
                self._changed.notify_all()


def _as_series(point: Point) -> list[tuple[Series, float]]:
    name = point.name.replace(".", "_") + _UNITS[point.unit]
    labels = {(key.replace(".", "_"), str(value)) for key, value in point.attributes.items()}
    if point.kind == "counter":
        return [((f"{name}_total", frozenset(labels)), point.value)]
    if point.kind == "gauge":
        return [((name, frozenset(labels)), point.value)]
    series = [((f"{name}_sum", frozenset(labels)), point.value), ((f"{name}_count", frozenset(labels)), point.count)]
    below = 0
    for bound, count in zip((*point.bounds, float("inf")), point.buckets, strict=True):
        below += count
        le = "+Inf" if bound == float("inf") else str(bound)
        series.append(((f"{name}_bucket", frozenset(labels | {("le", le)})), below))
    return series


def _decode(request: ExportMetricsServiceRequest) -> list[Point]:
    return [
        _point(metric, kind, data, point, scoped.scope.name, _attributes(resource.resource.attributes))
        for resource in request.resource_metrics
        for scoped in resource.scope_metrics
        for metric in scoped.metrics
        for kind, data in [(_kind(metric), getattr(metric, metric.WhichOneof("data")))]
        for point in data.data_points
    ]


def _kind(metric: Any) -> str:
    which = metric.WhichOneof("data")
    if which == "sum":
        return "counter" if metric.sum.is_monotonic else "other"
    return which if which in ("gauge", "histogram", "exponential_histogram") else "other"


def _point(metric: Any, kind: str, data: Any, point: Any, scope: str, resource: dict[str, Any]) -> Point:
    is_histogram, has_bounds = kind.endswith("histogram"), kind == "histogram"
    return Point(
        name=metric.name,
        kind=kind,
        unit=metric.unit,
        description=metric.description,
        temporality=getattr(data, "aggregation_temporality", NO_TEMPORALITY),
        attributes=_attributes(point.attributes),
        start_ns=point.start_time_unix_nano,
        time_ns=point.time_unix_nano,
        value=point.sum if is_histogram else _number(point),
        bounds=tuple(point.explicit_bounds) if has_bounds else (),
        buckets=tuple(point.bucket_counts) if has_bounds else (),
        count=point.count if is_histogram else 0,
        exemplars=tuple(Exemplar(e.trace_id.hex(), e.span_id.hex(), _number(e)) for e in point.exemplars),
        scope=scope,
        resource=resource,
    )


def _number(point: Any) -> float:
    which = point.WhichOneof("value")
    return getattr(point, which) if which else 0


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
