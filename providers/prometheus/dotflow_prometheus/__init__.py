"""Prometheus metrics of dotflow: `Config(metrics=MetricsPrometheus(port=9464))`.

Here: series and their exposition, the endpoint, and the ways out for programs that end (Pushgateway, textfile). Not here: which
metrics there are (`dotflow.names.metrics`), and how many label sets may exist (`dotflow.toolkit.label_sets`). Never imports the
engine or another provider.
"""

from dotflow.toolkit.extras import needing
from dotflow.toolkit.label_sets import OVERFLOW

with needing("MetricsPrometheus", "prometheus"):
    from dotflow_prometheus.endpoint import PortUnavailable
    from dotflow_prometheus.provider import MetricsPrometheus

__all__ = ["OVERFLOW", "MetricsPrometheus", "PortUnavailable"]
