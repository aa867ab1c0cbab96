"""OTLP metrics: the provider, its series and instruments, and the pipeline that exports them."""
