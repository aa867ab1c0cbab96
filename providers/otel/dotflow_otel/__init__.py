"""OpenTelemetry for dotflow: every run, task and attempt as a span."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotflow_otel.tracer import TracerOpenTelemetry
else:

    def __getattr__(name: str) -> object:
        # Lazily, because worker processes come through here and most of them never need the SDK.
        if name == "TracerOpenTelemetry":
            from dotflow_otel.tracer import TracerOpenTelemetry

            return TracerOpenTelemetry
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["TracerOpenTelemetry"]
