"""OTLP log records: the provider, what it captures of steps, the pipeline that sends them, and the half for workers."""
