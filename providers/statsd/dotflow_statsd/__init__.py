"""Statsd for dotflow: counts, durations and gauges of runs and tasks, over UDP.

Here: how a metric becomes a line of the protocol, and how lines are sent without waiting. Not here: which metrics there are
(`dotflow.names.metrics`). Never imports the engine or another provider.
"""

from dotflow_statsd.provider import MetricsStatsd

__all__ = ["MetricsStatsd"]
