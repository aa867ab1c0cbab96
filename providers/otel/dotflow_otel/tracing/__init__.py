"""`TracerOpenTelemetry`: runs, tasks and attempts as spans.

Here: the tracer, attributes and ids of its spans, the pipeline that sends them, and the half of it that goes to worker processes.
Not here: the names of spans and attributes (`dotflow.names.spans`).
"""
