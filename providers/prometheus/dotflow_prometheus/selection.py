"""What is handed over at the end of a run, of all that a registry holds."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final

from prometheus_client.registry import Collector

from dotflow.names import metrics as names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

__all__ = ["KEPT", "Snapshot", "for_gateway", "for_textfile"]

_OWN: Final = {metric.prometheus: metric for metric in names.METRICS}
_COMPLETION: Final = names.WORKFLOW_LAST_COMPLETION.series[0]
_SUCCESS: Final = names.WORKFLOW_LAST_SUCCESS.series[0]
_TIMES: Final = (_SUCCESS, _COMPLETION)
_VERDICT: Final = names.WORKFLOW_LAST_RUN_SUCCESS.series[0]

KEPT: Final = (*_TIMES, _VERDICT)
"""The series that tell of the last run, which may have been an earlier process's; this one's 0 means: not known."""


class Snapshot(Collector):
    """Families of one moment, in the place of a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = [family for family in families if family.samples]

    @property
    def points(self) -> int:
        """How many values these are; a histogram is one."""
        samples = (sample.name for family in self._families for sample in family.samples)
        return sum(not name.endswith(("_bucket", "_sum")) for name in samples)

    @property
    def knows_success(self) -> bool:
        """Whether it holds the time of the last success, so that nothing is lost if it replaces its whole group."""
        return any(s.name == _SUCCESS for family in self._families for s in family.samples)

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def for_gateway(families: Iterable[Metric], workflow: str, *, with_rest: bool) -> Snapshot:
    """The series of one workflow, without the times that this process does not know: they would replace known ones.

    `with_rest` adds what belongs to no workflow; it must go with one group only, or sums over the groups count it twice.
    """
    return Snapshot(_with(family, _of(family, workflow, with_rest=with_rest)) for family in families)


def for_textfile(families: Iterable[Metric], owner: str, earlier: Mapping[tuple[str, str], float]) -> Snapshot:
    """Everything, with `earlier` values (by series and workflow) in the place of those that this process does not know.

    Series of dotflow's that belong to no workflow get the label of `owner`, as a Pushgateway's group would give it to
    them. Without it those of two programs were the same, and node_exporter refuses one of two series that are the same.
    """
    families = list(families)
    not_ended = {s.labels[names.WORKFLOW] for f in families for s in f.samples if s.name == _COMPLETION and not s.value}

    def fill(sample: Sample) -> Sample:
        workflow = sample.labels.get(names.WORKFLOW)
        if workflow is None:
            return sample._replace(labels={**sample.labels, names.WORKFLOW: owner})
        is_unknown = workflow in not_ended if sample.name == _VERDICT else not sample.value
        if sample.name in KEPT and is_unknown:
            return sample._replace(value=earlier.get((sample.name, workflow), sample.value))
        return sample

    return Snapshot(_with(f, map(fill, f.samples)) if f.name in _OWN else f for f in families)


def _of(family: Metric, workflow: str, *, with_rest: bool) -> Iterator[Sample]:
    own = _OWN.get(family.name)
    for sample in family.samples:
        if own is None or names.WORKFLOW not in own.labels:
            if with_rest:
                yield sample
        elif sample.labels[names.WORKFLOW] == workflow and (sample.value or sample.name not in _TIMES):
            yield sample


def _with(family: Metric, samples: Iterable[Sample]) -> Metric:
    other = copy(family)
    other.samples = list(samples)
    return other
