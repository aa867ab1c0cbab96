"""Prometheus metrics of dotflow: `Config(metrics=MetricsPrometheus(port=9464))`."""

from dotflow.toolkit.extras import needing
from dotflow.toolkit.label_sets import OVERFLOW

with needing("MetricsPrometheus", "prometheus"):
    from dotflow_prometheus.endpoint import PortUnavailable
    from dotflow_prometheus.provider import MetricsPrometheus

__all__ = ["OVERFLOW", "MetricsPrometheus", "PortUnavailable"]
