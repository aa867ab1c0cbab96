"""The kinds of panels, dressed alike: what a panel shows is said where it is used, how it looks is said here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap as build_heatmap
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard, heatmap
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dotflow_stack.variables import PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "COUNT",
    "GREEN_TO_RED",
    "OK_OR_FAILED",
    "RED_TO_GREEN",
    "SECONDS",
    "durations",
    "heat",
    "instant",
    "lines",
    "number",
    "query",
    "stacked",
    "timeline",
    "valued",
]

# https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts
SECONDS: Final = "s"
COUNT: Final = "none"  # of whole things: increase() estimates, and says 3.1 runs

Thresholds = tuple[tuple[float | None, str], ...]
GREEN_TO_RED: Final[Thresholds] = ((None, "green"), (1, "red"))
RED_TO_GREEN: Final[Thresholds] = ((None, "red"), (0.9, "yellow"), (0.99, "green"))

OK_OR_FAILED: Final = dashboard.ValueMap(
    options={
        "0": dashboard.ValueMappingResult(text="failed", color="red", index=1),
        "1": dashboard.ValueMappingResult(text="succeeded", color="green", index=0),
    }
)

_STATUS_COLOURS: Final = {"completed": "green", "failed": "red"}

Panel = TypeVar("Panel", stat.Panel, timeseries.Panel, table.Panel, statetimeline.Panel, build_heatmap.Panel)


def query(expr: str, legend: str = "", ref: str = "A", *, exemplars: bool = False) -> prometheus.Dataquery:
    """A query over the time that is shown. With `exemplars`, the traces behind the points are asked for, too."""
    built = prometheus.Dataquery().datasource(PROMETHEUS).ref_id(ref).expr(expr).range().legend_format(legend)
    return built.exemplar(True) if exemplars else built


def instant(expr: str, ref: str = "A") -> prometheus.Dataquery:
    """A query at the end of the time that is shown, as a table."""
    built = prometheus.Dataquery().datasource(PROMETHEUS).ref_id(ref).expr(expr)
    return built.instant().format(PromQueryFormat.TABLE)


def number(title: str, description: str, expr: str, unit: str, thresholds: Thresholds | None = None) -> stat.Panel:
    """One number: how it is now."""
    panel = (
        _panel(stat.Panel(), title, description, unit, thresholds or ((None, "text"),))
        .with_target(instant(expr))
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.BACKGROUND if thresholds else common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.VALUE)
        .no_value("-")
    )
    return sized(panel.decimals(0) if unit == COUNT else panel, 3, 4)


def lines(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Lines over time."""
    panel = _panel(timeseries.Panel(), title, description, unit)
    for each in queries:
        panel.with_target(each)
    return sized(panel.min(0).line_width(1).fill_opacity(8).legend(_legend()).tooltip(_all_series()), 12, 8)


def stacked(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Bars that add up. Series called `completed` and `failed` are green and red everywhere."""
    panel = (
        lines(title, description, unit, *queries)
        .draw_style(common.GraphDrawStyle.BARS)
        .fill_opacity(60)
        .stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL))
    )
    for status, colour in _STATUS_COLOURS.items():
        panel.override_by_name(status, [_property("color", {"mode": "fixed", "fixedColor": colour})])
    return panel


def durations(title: str, description: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Durations from milliseconds to hours, so on a logarithmic scale, with the exemplars as diamonds."""
    scale = build_common.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
    return lines(title, description, SECONDS, *queries).scale_distribution(scale).fill_opacity(0)


def heat(title: str, description: str, expr: str) -> build_heatmap.Panel:
    """How durations are distributed over time, with the exemplars as diamonds."""
    panel = (
        _panel(build_heatmap.Panel(), title, description, SECONDS)
        .with_target(query(expr, "{{le}}", exemplars=True).format(PromQueryFormat.HEATMAP))
        .calculate(False)
        .color(build_heatmap.HeatmapColorOptions().mode(heatmap.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(build_heatmap.YAxisConfig().unit(SECONDS))
        .exemplars_color("rgba(31, 120, 193, 0.9)")
        .show_legend()
    )
    return sized(panel, 12, 8)


def timeline(title: str, description: str, expr: str, legend: str) -> statetimeline.Panel:
    """States over time, a line each."""
    panel = (
        _panel(statetimeline.Panel(), title, description, "short")
        .with_target(query(expr, legend))
        .mappings([OK_OR_FAILED])
        .show_value(common.VisibilityMode.NEVER)
        .fill_opacity(70)
        .legend(_legend())
    )
    return sized(panel, 12, 8)


def valued(
    title: str, description: str, key: str, columns: Mapping[str, tuple[str, str]], leads_to: str = ""
) -> table.Panel:
    """A table: a line for each value of the label `key`; `columns` gives each its unit and its query, by its title.

    A click on the value of `key` leads to `leads_to`.
    """
    panel = _panel(table.Panel(), title, description, "short")
    refs = {chr(ord("A") + index): name for index, name in enumerate(columns)}
    for ref, name in refs.items():
        panel.with_target(instant(columns[name][1], ref))
        panel.override_by_name(name, _unit(columns[name][0]))
    panel.with_transformation(dashboard.DataTransformerConfig("joinByField", options={"byField": key, "mode": "outer"}))
    renamed = {f"Value #{ref}": name for ref, name in refs.items()}
    order = {name: index for index, name in enumerate([key, *renamed])}
    organized = {"excludeByName": {f"Time {n}": True for n in range(1, len(refs) + 1)} | {"Time": True},
                 "renameByName": renamed, "indexByName": order}  # fmt: skip
    panel.with_transformation(dashboard.DataTransformerConfig("organize", options=organized))
    if leads_to:
        panel.override_by_name(key, [_property("links", [{"title": "Look into it", "url": leads_to}])])
    return sized(panel, 24, 9)


def sized(panel: Panel, width: int, height: int) -> Panel:
    """The panel, so wide (of 24) and so high."""
    return panel.span(width).height(height)


def _panel(panel: Panel, title: str, description: str, unit: str, thresholds: Thresholds = ((None, "green"),)) -> Panel:
    steps = [dashboard.Threshold(value=value, color=color) for value, color in thresholds]
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(PROMETHEUS)
        .thresholds(build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
    )


def _legend() -> build_common.VizLegendOptions:
    return (
        build_common.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def _all_series() -> build_common.VizTooltipOptions:
    return build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)


def _unit(unit: str) -> list[dashboard.DynamicConfigValue]:
    return [_property("unit", unit), *([_property("decimals", 0)] if unit == COUNT else [])]


def _property(name: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)
