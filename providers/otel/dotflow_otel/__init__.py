"""OpenTelemetry for dotflow: runs, tasks and attempts as spans, what happens as log records, and metrics of it all.

Here: a folder for each signal, what they share on their way out (`export`), and the options of all three. Not here: the names of spans,
metrics and fields (`dotflow.names`). Never imports the engine or another provider. The folders do not import each other, but for `export`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotflow_otel.logs.provider import LogOpenTelemetry
    from dotflow_otel.metrics.provider import MetricsOpenTelemetry
    from dotflow_otel.tracing.tracer import TracerOpenTelemetry
else:

    def __getattr__(name: str) -> object:
        # Lazily, because worker processes come through here and most of them never need the SDK.
        module = {
            "TracerOpenTelemetry": "tracing.tracer",
            "LogOpenTelemetry": "logs.provider",
            "MetricsOpenTelemetry": "metrics.provider",
        }.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        from dotflow.toolkit.extras import needing

        with needing(name, "otel"):
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)


__all__ = ["LogOpenTelemetry", "MetricsOpenTelemetry", "TracerOpenTelemetry"]
