"""`MetricsOpenTelemetry`: the metrics of runs and tasks, sent by OTLP.

Here: the provider, its series and instruments, and the pipeline that exports them. Not here: which metrics there are
(`dotflow.names.metrics`), and how many label sets may exist (`dotflow.toolkit.label_sets`).
"""
