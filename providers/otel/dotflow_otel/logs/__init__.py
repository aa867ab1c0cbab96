"""`LogOpenTelemetry`: what happens in a run, and what steps log, as OTLP log records.

Here: the provider, what it captures of steps, the pipeline that sends the records, and the half for worker processes. Not here: which
fields a record has (`dotflow.toolkit.log_fields`).
"""
