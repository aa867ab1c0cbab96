"""Statsd for dotflow: counts, durations and gauges of runs and tasks, over UDP."""

from dotflow_statsd.provider import MetricsStatsd

__all__ = ["MetricsStatsd"]
