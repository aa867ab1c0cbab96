"""OpenTelemetry for dotflow: runs, tasks and attempts as spans, what happens as log records, and metrics of it all."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotflow_otel.logs import LogOpenTelemetry
    from dotflow_otel.metrics import MetricsOpenTelemetry
    from dotflow_otel.tracer import TracerOpenTelemetry
else:

    def __getattr__(name: str) -> object:
        # Lazily, because worker processes come through here and most of them never need the SDK.
        if name == "TracerOpenTelemetry":
            from dotflow_otel.tracer import TracerOpenTelemetry

            return TracerOpenTelemetry
        if name == "LogOpenTelemetry":
            from dotflow_otel.logs import LogOpenTelemetry

            return LogOpenTelemetry
        if name == "MetricsOpenTelemetry":
            from dotflow_otel.metrics import MetricsOpenTelemetry

            return MetricsOpenTelemetry
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LogOpenTelemetry", "MetricsOpenTelemetry", "TracerOpenTelemetry"]
