"""Datadog for dotflow: every run, task and attempt as a span of the application's own ddtrace tracer.

Here: spans of ddtrace, their names and tags, and the half that goes to worker processes. Not here: the names that all tracers
share (`dotflow.names.spans`), and a tracer of our own. Never imports the engine or another provider.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotflow_datadog.tracer import TracerDatadog
else:

    def __getattr__(name: str) -> object:
        # Lazily, because worker processes come through here and need ddtrace only if a step does.
        if name == "TracerDatadog":
            from dotflow.toolkit.extras import needing

            with needing(name, "datadog"):
                from dotflow_datadog.tracer import TracerDatadog
            return TracerDatadog
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["TracerDatadog"]
