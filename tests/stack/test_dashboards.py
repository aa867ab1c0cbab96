"""The dashboards: as generated, and by the rules of grafana/dashboard-linter (https://github.com/grafana/dashboard-linter)."""

from __future__ import annotations

import re

import pytest

from dotflow.names import metrics as names
from support.compose import ROOT
from support.generated import BOARDS, dashboard, expressions, package, panels

promql = pytest.importorskip("promql_parser", reason="SKIPPED: no promql-parser: PromQL was not parsed")

pytestmark = pytest.mark.tree

OWN = {series: metric for metric in names.METRICS for series in metric.series}
SPAN_METRICS = {"traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds_bucket"}
# Grafana's own, which PromQL does not know.
_STAND_INS = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s"}

each_query = pytest.mark.parametrize(
    ("panel", "target"), expressions(), ids=lambda value: str(value) if not isinstance(value, dict) else value["refId"]
)
each_board = pytest.mark.parametrize("board", BOARDS)
each_panel = pytest.mark.parametrize("panel", list(panels()), ids=str)


def parsed(expr):
    for name, stand_in in _STAND_INS.items():
        expr = expr.replace(name, stand_in)
    return promql.parse(expr)


def selectors(node, inside=()):
    """Every vector selector below a node, with the names of the functions that it stands in."""
    if isinstance(node, promql.VectorSelector):
        yield node, inside
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector, inside
    elif isinstance(node, promql.Call):
        for argument in node.args:
            yield from selectors(argument, (*inside, node.func.name))
    elif isinstance(node, promql.BinaryExpr):
        yield from selectors(node.lhs, inside)
        yield from selectors(node.rhs, inside)
    elif isinstance(node, (promql.AggregateExpr, promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        yield from selectors(node.expr, inside)
    else:
        assert isinstance(node, (promql.NumberLiteral, promql.StringLiteral)), node


def matchers(selector):
    return {f"{m.name}{_OPERATORS[str(m.op)]}{m.value}" for m in selector.matchers.matchers}


_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def recorded():
    text = (ROOT / "stack/prometheus/rules/dotflow.yml").read_text()
    return set(re.findall(r"record: (\S+)", text))


def test_what_is_committed_is_what_is_generated():
    stale = [path for path, text in package().generated().items() if (ROOT / path).read_text() != text]
    assert stale == [], "run: python grafana/generate.py"


def test_generating_twice_gives_the_same():
    assert package().generated() == package().generated()


@each_board
def test_a_dashboard_is_read_only_has_an_address_and_numbers_its_panels(board):
    found = dashboard(board)
    assert (found["uid"], found["title"]) == (f"dotflow-{board}", f"dotflow / {board.title()}")
    assert found["editable"] is False
    assert found["description"]
    assert found["schemaVersion"] == 42
    ids = [panel["id"] for panel in found["panels"]]
    assert ids == sorted(set(ids))
    assert min(ids) > 0


@each_board
def test_no_panel_lies_over_another(board):
    taken = set()
    for panel in dashboard(board)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@each_board
def test_variables_are_templated_and_refreshed(board):
    variables = {each["name"]: each for each in dashboard(board)["templating"]["list"]}
    assert list(variables)[:5] == ["datasource", "jaeger", "job", "instance", "workflow"]
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["jaeger"]["query"] == "jaeger"
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert variable["refresh"] == 2  # when the time range changes
            assert variable["label"]
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]
        # What a Pushgateway holds has no instance, and is shown all the same.
        assert variables[name]["allValue"] == (".*" if name == "instance" else ".+")


@each_panel
def test_a_panel_says_what_it_is(panel):
    assert panel.title
    assert len(panel.fields["description"]) > 10
    assert panel.fields["description"].endswith((".", "trace", "!"))
    if panel.fields["type"] != "traces":
        assert panel.unit, "a unit"
    uid = panel.fields["datasource"]["uid"]
    assert uid in ("${datasource}", "${jaeger}")
    assert {target["datasource"]["uid"] for target in panel.targets} == {uid}
    refs = [target["refId"] for target in panel.targets]
    assert len(refs) == len(set(refs)) > 0


@each_query
def test_a_query_asks_for_series_that_exist(panel, target):
    for selector, _ in selectors(parsed(target["expr"])):
        assert selector.name in OWN.keys() | SPAN_METRICS | recorded() | {"ALERTS"}, selector.name


@each_query
def test_a_query_is_narrowed_to_what_was_chosen(panel, target):
    for selector, _ in selectors(parsed(target["expr"])):
        found = matchers(selector)
        if selector.name in SPAN_METRICS:
            assert {"service_name=$service", "dotflow_workflow_name=$workflow"} <= found
            continue
        assert "job=~$job" in found
        if selector.name in OWN:
            assert "instance=~$instance" in found
        metric = OWN.get(selector.name)
        if metric is None or names.WORKFLOW in metric.labels:
            assert "workflow=~$workflow" in found or selector.name == "ALERTS"


@each_query
def test_a_query_uses_the_labels_that_a_metric_has(panel, target):
    for selector, _ in selectors(parsed(target["expr"])):
        if selector.name in OWN:
            labels = {each.name for each in selector.matchers.matchers} - {"job", "instance", "le"}
            assert labels <= set(OWN[selector.name].labels), selector.name


@each_query
def test_counters_are_looked_at_as_rates_and_gauges_are_not(panel, target):
    for selector, inside in selectors(parsed(target["expr"])):
        metric = OWN.get(selector.name)
        if (metric and metric.kind in ("counter", "histogram")) or selector.name in SPAN_METRICS:
            assert {"rate", "increase"} & set(inside), selector.name
        else:
            assert not {"rate", "increase"} & set(inside), selector.name


@each_query
def test_windows_follow_the_zoom(panel, target):
    windows = set(re.findall(r"\[([^\]]+)\]", target["expr"]))
    assert windows <= {"$__rate_interval"} or (windows == {"$__range"} and target.get("instant"))


def test_what_a_diamond_stands_for_can_have_one():
    """Exemplars are on the buckets of durations and on counters of failures, and nowhere else."""
    shown = [(str(panel), target["expr"]) for panel, target in expressions() if target.get("exemplar")]
    assert len(shown) >= 7
    marked = ("_duration_seconds_bucket", "_failed_total", "_retried_total", "_errors_total")
    for panel, expr in shown:
        assert all(selector.name.endswith(marked) for selector, _ in selectors(parsed(expr))), panel


def test_every_metric_has_its_place():
    """A metric that nobody looks at is a metric that nobody misses."""
    text = "".join((ROOT / path).read_text() for path in package().generated())
    unused = [metric.name for metric in names.METRICS if not any(series in text for series in metric.series)]
    assert unused == []


def test_links_between_dashboards_lead_to_dashboards():
    uids = {dashboard(board)["uid"] for board in BOARDS}
    for board in BOARDS:
        text = (ROOT / f"grafana/dashboards/{board}.json").read_text()
        assert set(re.findall(r"/d/([\w-]+)", text)) <= uids
    alerts = (ROOT / "stack/prometheus/rules/dotflow.yml").read_text()
    assert set(re.findall(r"/d/([\w-]+)", alerts)) <= uids
    jaeger = (ROOT / "stack/jaeger/ui.json").read_text()
    assert set(re.findall(r"/d/([\w-]+)", jaeger)) <= uids
