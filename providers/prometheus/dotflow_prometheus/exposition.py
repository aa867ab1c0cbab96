"""The exposition: readings in, the two formats that Prometheus reads out.

Done here and not by prometheus_client, whose OpenMetrics writer looks at every character of every name at every scrape:
7 ms of the interpreter's lock for 500 series, so ten scrapes a second took 7 % of a busy program. Labels never change, so a
line is a prefix that is made once, and a number; and a series that has not changed is not written anew.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client.utils import floatToGoString

from dotflow.names import metrics as names
from dotflow_prometheus.collector import exemplar_of
from dotflow_prometheus.reading import HistogramReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dotflow.names.metrics import Metric
    from dotflow_prometheus.reading import Mark, Reading
    from dotflow_prometheus.series import Series

__all__ = ["Exposition"]

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Exposition:
    """Writes all series of a provider in one format, byte for byte as prometheus_client would.

    OpenMetrics has units and exemplars: https://prometheus.io/docs/specs/om/open_metrics_spec/; the text format has not:
    https://prometheus.io/docs/instrumenting/exposition_formats/. May be called from several threads at once.
    """

    def __init__(self, series: Series, bounds: tuple[float, ...], *, openmetrics: bool) -> None:
        self._series = series
        self._bounds = [*map(_number, bounds), "+Inf"]
        self._openmetrics = openmetrics
        self._heads = {metric.name: _head(metric, openmetrics=openmetrics) for metric in names.METRICS}
        self._lines: dict[tuple[str, tuple[str, ...]], _Lines] = {}

    def write(self) -> bytes:
        """Everything, now."""
        families = {name: [head] for name, head in self._heads.items()}
        for reading in self._series.read():
            name = reading.metric.name
            key = name, reading.labels
            lines = self._lines.get(key) or self._lines.setdefault(key, self._new(reading))
            families[name].append(lines.write(reading))
        end = ["# EOF\n"] if self._openmetrics else []
        return "".join(text for family in (*families.values(), end) for text in family).encode()

    def _new(self, reading: Reading) -> _Lines:
        labels = [
            (name, value.translate(_ESCAPES)) for name, value in zip(reading.metric.labels, reading.labels, strict=True)
        ]
        if isinstance(reading.value, HistogramReading):
            return _HistogramLines(reading.metric, labels, self._bounds, exemplars=self._openmetrics)
        return _Line(reading.metric, labels, exemplars=self._openmetrics)


class _Lines(Protocol):
    def write(self, reading: Reading) -> str: ...


class _Line:
    """The line of a counter, a gauge or an info."""

    def __init__(self, metric: Metric, labels: Sequence[tuple[str, str]], *, exemplars: bool) -> None:
        self._prefix = _prefix(metric.series[0], labels)
        self._exemplars = exemplars
        self._written: tuple[object, str] = (None, "")  # in one: it is replaced while another thread reads it

    def write(self, reading: Reading) -> str:
        last, text = self._written
        if reading != last:
            number = _number(reading.value)  # type: ignore[arg-type]  # no histogram comes here
            text = f"{self._prefix}{number}{_exemplar(reading.mark) if self._exemplars else ''}\n"
            self._written = reading, text
        return text


class _HistogramLines:
    """The lines of a histogram."""

    def __init__(
        self, metric: Metric, labels: Sequence[tuple[str, str]], bounds: Sequence[str], *, exemplars: bool
    ) -> None:
        bucket, count, total = metric.series
        self._buckets = [_prefix(bucket, [*labels, ("le", bound)]) for bound in bounds]
        self._count, self._sum = _prefix(count, labels), _prefix(total, labels)
        self._exemplars = exemplars
        self._written: tuple[object, str] = (None, "")

    def write(self, reading: Reading) -> str:
        last, text = self._written
        if reading != last:
            text = "".join(self._text(reading.value))  # type: ignore[arg-type]  # nothing but a histogram comes here
            self._written = reading, text
        return text

    def _text(self, value: HistogramReading) -> Iterable[str]:
        count = 0
        for prefix, count, mark in zip(self._buckets, accumulate(value.counts), value.marks, strict=True):
            yield f"{prefix}{count}.0{_exemplar(mark) if mark and self._exemplars else ''}\n"
        yield f"{self._count}{count}.0\n{self._sum}{_number(value.sum)}\n"


def _head(metric: Metric, *, openmetrics: bool) -> str:
    name, kind = metric.prometheus, metric.kind
    if not openmetrics:
        # Of this format, prometheus_client says it so: the name as it stands in the lines, and no type `info`.
        name, kind = (name if kind == "histogram" else metric.series[0]), ("gauge" if kind == "info" else kind)
    unit = metric.prometheus[len(metric.name) :].lstrip("_") if openmetrics else ""
    return f"# HELP {name} {metric.help}\n# TYPE {name} {kind}\n" + (f"# UNIT {name} {unit}\n" if unit else "")


def _prefix(series: str, labels: Sequence[tuple[str, str]]) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in sorted(labels))
    return f"{series}{{{pairs}}} " if labels else f"{series} "


def _number(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _exemplar(mark: Mark | None) -> str:
    found = exemplar_of(mark)
    if found is None:
        return ""
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(found.labels.items()))
    return f" # {{{labels}}} {_number(found.value)} {found.timestamp}"
