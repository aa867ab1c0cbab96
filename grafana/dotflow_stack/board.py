"""A dashboard: its variables, its rows of panels, its links, and the annotation of firing alerts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

from dotflow_stack.variables import PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard

__all__ = ["SHARED", "VIEW", "board", "link", "row", "written"]

TAG: Final = "dotflow"

# What a link to another dashboard takes along.
SHARED: Final = "${__url_time_range}&${datasource:queryparam}&${jaeger:queryparam}&${job:queryparam}"
VIEW: Final = f"{SHARED}&${{instance:queryparam}}"

Row = tuple[str, "list[Builder[dashboard.Panel]]"]


def row(title: str, *panels: Builder[dashboard.Panel]) -> Row:
    """Panels under a heading."""
    return title, list(panels)


def board(
    uid: str,
    title: str,
    description: str,
    variables: Iterable[Builder[dashboard.VariableModel]],
    rows: Iterable[Row],
    links: Iterable[build.DashboardLink] = (),
    annotated: str = "",
) -> build.Dashboard:
    """A dashboard. `annotated` selects the alerts whose firing is drawn into its panels."""
    built = (
        build.Dashboard(f"dotflow / {title}")
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .variables(list(variables))
        .links([_others(), *links])
    )
    if annotated:
        built.annotation(_firing(annotated))
    return _filled(built, rows)


def link(title: str, url: str, *, new_tab: bool = False) -> build.DashboardLink:
    """A link to somewhere."""
    kind = DashboardLinkType.LINK
    return build.DashboardLink(title).type(kind).url(url).target_blank(new_tab).icon("external link").tooltip(title)


def written(built: build.Dashboard) -> str:
    """The dashboard as it is committed."""
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _filled(built: build.Dashboard, rows: Iterable[Row]) -> build.Dashboard:
    # The SDK places the panels but does not number them; Grafana links to a panel by its number.
    number = 0
    for title, panels in rows:
        number += 1
        built.with_row(build.Row(title).id(number))
        for panel in panels:
            number += 1
            panel.build().id_val = number  # `build` of a panel gives the one that it holds
            built.with_panel(panel)
    return built


def _others() -> build.DashboardLink:
    return (
        build.DashboardLink("dotflow")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("dashboard")
        .include_vars(True)
        .keep_time(True)
    )


def _firing(selected: str) -> build.AnnotationQuery:
    expr = f'ALERTS{{alertstate="firing", severity!="info", {selected}}}'
    return (
        build.AnnotationQuery()
        .name("Firing alerts")
        .datasource(PROMETHEUS)
        .enable(True)
        .icon_color("red")
        .expr(expr)
        .target(prometheus.Dataquery().datasource(PROMETHEUS).ref_id("Anno").expr(expr))
        .step("15s")
        .title_format("{{alertname}}")
        .text_format("{{workflow}} {{task}}")
        .tag_keys("severity,workflow")
    )
