"""PromQL from the table of metrics: nobody writes the name of a series by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dotflow.names import metrics as names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.names.metrics import Metric

# What the variables at the top of a dashboard select. Grafana puts `.+` for "All".
JOB: Final = 'job=~"$job"'
SCOPE: Final = f'{JOB}, instance=~"$instance"'
WORKFLOW: Final = f'{names.WORKFLOW}=~"$workflow"'
TASK: Final = f'{names.TASK}=~"$task"'

RATE: Final = "$__rate_interval"
"""Long enough for four scrapes, as short as the zoom allows:
https://grafana.com/blog/2020/09/28/new-in-grafana-7.2-__rate_interval-for-prometheus-rate-queries-that-just-work/"""

RANGE: Final = "$__range"
"""All that the dashboard shows."""


def total(metric: Metric) -> str:
    """The one series of a counter, a gauge or an info."""
    (name,) = metric.series
    return name


def part(metric: Metric, suffix: str) -> str:
    """A series of a histogram: `bucket`, `count` or `sum`."""
    return next(name for name in metric.series if name.endswith(f"_{suffix}"))


def picked(metric: Metric, series: str, more: str = "") -> str:
    """A series as the variables of the dashboard select it; `more` are further matchers."""
    matchers = [SCOPE]
    if names.WORKFLOW in metric.labels:
        matchers.append(WORKFLOW)
    return f"{series}{{{', '.join([*matchers, more] if more else matchers)}}}"


def gauge(metric: Metric, more: str = "") -> str:
    """A gauge, as it is now."""
    return picked(metric, total(metric), more)


def rate(metric: Metric, by: Sequence[str] = (), more: str = "") -> str:
    """How often something is counted, a second."""
    return f"{_sum(by)} (rate({picked(metric, total(metric), more)}[{RATE}]))"


def increase(metric: Metric, by: Sequence[str] = (), *, window: str = RATE, more: str = "") -> str:
    """How often something was counted within a window."""
    return f"{_sum(by)} (increase({picked(metric, total(metric), more)}[{window}]))"


def observed(metric: Metric, by: Sequence[str] = (), *, window: str = RATE, more: str = "") -> str:
    """How many values a histogram took in within a window."""
    return f"{_sum(by)} (increase({picked(metric, part(metric, 'count'), more)}[{window}]))"


def spent(metric: Metric, by: Sequence[str] = (), *, window: str = RATE) -> str:
    """The sum of the values that a histogram took in within a window."""
    return f"{_sum(by)} (increase({picked(metric, part(metric, 'sum'))}[{window}]))"


def buckets(metric: Metric) -> str:
    """The buckets of a histogram, for a heatmap."""
    return f"sum by (le) (increase({picked(metric, part(metric, 'bucket'))}[{RATE}]))"


def quantile(share: float, metric: Metric, by: Sequence[str] = (), *, window: str = RATE, more: str = "") -> str:
    """A quantile of a histogram."""
    inner = f"rate({picked(metric, part(metric, 'bucket'), more)}[{window}])"
    return f"histogram_quantile({share:g}, sum by ({', '.join([*by, 'le'])}) ({inner}))"


def mean(metric: Metric, by: Sequence[str] = (), *, window: str = RATE) -> str:
    """The mean of a histogram."""
    return f"{spent(metric, by, window=window)} / {observed(metric, by, window=window)}"


def last_run() -> str:
    """Whether the latest run of each workflow ended well, 1 or 0; nothing where none has ended yet."""
    return f"{gauge(names.WORKFLOW_LAST_RUN_SUCCESS)} and {gauge(names.WORKFLOW_LAST_COMPLETION)} > 0"


def _sum(by: Sequence[str]) -> str:
    return f"sum by ({', '.join(by)})" if by else "sum"
