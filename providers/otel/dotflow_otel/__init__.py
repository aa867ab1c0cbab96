"""OpenTelemetry for dotflow: every run, task and attempt as a span."""

from dotflow_otel.tracer import TracerOpenTelemetry

__all__ = ["TracerOpenTelemetry"]
