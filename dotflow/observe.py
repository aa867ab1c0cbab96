"""`observability(...)`: structlog, OpenTelemetry and Prometheus in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

    from dotflow.abc import Log, Metrics, Tracer

__all__ = ["Observability", "observability"]


class Observability(TypedDict):
    """The three providers, under the names that `Config` takes."""

    log: Log
    tracer: Tracer
    metrics: Metrics


def observability(
    service_name: str | None = None,
    *,
    endpoint: str | None = None,
    trace_file: str | Path | None = None,
    set_global: bool = False,
    log_level: str = "INFO",
    log_format: Literal["auto", "json", "console"] = "auto",
    log_output: str | Path = "stderr",
    capture: bool | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    log: Log | None = None,
    tracer: Tracer | None = None,
    metrics: Metrics | None = None,
) -> Observability:
    """Logs, traces and metrics for `Config(**observability("nightly-etl"))`, each of them overridable.

    With no endpoint here or in the environment (`OTEL_EXPORTER_OTLP_ENDPOINT`), nothing goes over the network.

    Args:
        service_name: `service.name` of the traces; default: `OTEL_SERVICE_NAME`, else `dotflow`.
        endpoint: base URL for OTLP over HTTP, such as `http://localhost:4318`.
        trace_file: append the spans to this file as OTLP JSON lines.
        set_global: export the spans that steps and instrumented libraries open, too; see `TracerOpenTelemetry`.
        log_level, log_format, log_output, capture: see `LogStructlog`.
        port: serve `/metrics`; 0 picks a free port, at `metrics.port`.
        host: the address to serve on: the loopback, unless a Prometheus elsewhere is to reach it (`0.0.0.0`: all).
        log, tracer, metrics: used in place of the provider that would be made.

    Raises:
        MissingExtra: (an `ImportError`) the extra `otel` or `prometheus` is not installed.
    """
    from dotflow import providers

    return Observability(
        log=log or providers.LogStructlog(level=log_level, format=log_format, output=log_output, capture=capture),
        tracer=tracer
        or providers.TracerOpenTelemetry(
            service_name=service_name, endpoint=endpoint, file=trace_file, set_global=set_global
        ),
        metrics=metrics or providers.MetricsPrometheus(port=port, host=host),
    )
