"""The dashboards in words: for each panel its title, its kind and what it shows, as a page of Markdown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from support.dashboard_values import exemplars, samples, traces
from support.generated import BOARDS, dashboard, panels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.dashboard_values import Chosen
    from support.generated import Panel
    from support.live_stack import LiveStack
    from support.prometheus_server import Sample

__all__ = ["HEAD", "page"]

HEAD = """# What the dashboards show

Made by `tests/stack/test_live_stack.py` from a real run of `examples/stack_demo.py`, after a minute or so, at the pace of the
demonstration's rules: Prometheus, Jaeger, the Collector and Alertmanager were the real ones, and each value is what the
panel's own query answered. A diamond is an exemplar: a point that leads to a trace. How to start it all: [the stack](stack.md).
"""

_MOST = 6  # lines of a panel that are shown here


def page(stack: LiveStack, chosen: Chosen) -> str:
    """The page. The dashboards about one workflow are shown for the chosen one."""
    return (
        "\n".join([HEAD, *_alerts(stack), *(line for board in BOARDS for line in _board(stack, chosen, board))]) + "\n"
    )


def _alerts(stack: LiveStack) -> Iterator[str]:
    found = stack.prometheus.api("alerts")["alerts"]
    lines = sorted(
        f"| {each['labels']['alertname']} | {each['labels']['severity']} | {each['annotations']['summary']} |"
        for each in found
        if each["state"] == "firing"
    )
    yield from ("## Firing", "", "| alert | severity | |", "|---|---|---|", *lines, "")


def _board(stack: LiveStack, chosen: Chosen, board: str) -> Iterator[str]:
    about = "" if board == "overview" else f" of `{chosen.workflow}`"
    yield from (f"## {dashboard(board)['title']}{about}", "")
    row = ""
    for panel in panels(board):
        if panel.row != row:
            row = panel.row
            yield from (f"### {row}", "")
        yield from (f"**{panel.title}** ({panel.fields['type']}): {panel.fields['description']}", "")
        yield from _shown(stack, chosen, panel)
        yield ""


def _shown(stack: LiveStack, chosen: Chosen, panel: Panel) -> Iterator[str]:
    if panel.fields["datasource"]["type"] == "jaeger":
        yield from _found(traces(stack, chosen, panel, panel.targets[0]))
    elif panel.fields["type"] == "table":
        yield from _table(stack, chosen, panel)
    else:
        for target in panel.targets:
            yield from _series(stack, chosen, panel, target)


def _series(stack: LiveStack, chosen: Chosen, panel: Panel, target: dict[str, Any]) -> Iterator[str]:
    found = samples(stack, chosen, panel, target)
    if panel.fields["type"] == "heatmap":
        yield from _heat(found)
    else:
        found.sort(key=lambda sample: -sample.value)
        texts = [_named(_legend(sample, target), _text(panel, sample.value)) for sample in found[:_MOST]]
        rest = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
        yield "- " + "; ".join([*texts, *rest])
    if target.get("exemplar"):
        marks = exemplars(stack, chosen, panel, target, time.time())
        latest = max(marks, key=lambda mark: mark.time)
        yield f"- {len(marks)} diamonds; the latest leads to trace `{latest.labels['trace_id']}`"


def _heat(found: list[Sample]) -> Iterator[str]:
    """Buckets are cumulative; each shows what came with it."""
    before, texts = 0.0, []
    for sample in sorted(found, key=lambda each: float(each.labels["le"])):
        if sample.value - before > 0.01:
            texts.append(f"≤ {_in('s', float(sample.labels['le']))}: {sample.value - before:.1f}")
        before = sample.value
    yield "- " + "; ".join(texts)


def _table(stack: LiveStack, chosen: Chosen, panel: Panel) -> Iterator[str]:
    """The queries of a table joined by their label, as its transformations join them."""
    joined, organized = (each["options"] for each in panel.fields["transformations"])
    titles = {ref.removeprefix("Value #"): title for ref, title in organized["renameByName"].items()}
    units = {
        each["matcher"]["options"]: value["value"]
        for each in panel.fields["fieldConfig"]["overrides"]
        for value in each["properties"]
        if value["id"] == "unit"
    }
    lines: dict[str, dict[str, str]] = {}
    for target in panel.targets:
        title = titles[target["refId"]]
        for sample in samples(stack, chosen, panel, target):
            lines.setdefault(sample.labels[joined["byField"]], {})[title] = _in(units[title], sample.value)
    yield f"| {joined['byField']} | {' | '.join(titles.values())} |"
    yield "|---" * (len(titles) + 1) + "|"
    for key, cells in sorted(lines.items()):
        yield f"| {key} | {' | '.join(cells.get(title, '') for title in titles.values())} |"


def _found(found: list[dict[str, Any]]) -> Iterator[str]:
    latest = sorted(found, key=lambda trace: -min(span["startTime"] for span in trace["spans"]))
    for trace in latest[:_MOST]:
        root = min(trace["spans"], key=lambda span: span["startTime"])
        bad = sum(any(tag["key"] == "error" and tag["value"] for tag in span["tags"]) for span in trace["spans"])
        errors = f", {bad} with an error" if bad else ""
        yield (
            f"- `{trace['traceID']}` {root['operationName']}, {_in('s', root['duration'] / 1e6)},"
            f" {len(trace['spans'])} spans{errors}"
        )


def _legend(sample: Sample, target: dict[str, Any]) -> str:
    legend = target.get("legendFormat", "")
    for name, value in sample.labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def _named(name: str, value: str) -> str:
    return f"{name}: {value}" if name else value


def _text(panel: Panel, value: float) -> str:
    """A value as the panel writes it: by its mapping, if it has one."""
    for mapping in panel.fields["fieldConfig"]["defaults"].get("mappings", []):
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    return _in(panel.unit, value)


def _in(unit: str, value: float) -> str:
    """A value as Grafana writes it in a unit, more or less."""
    written: dict[str, Callable[[float], str]] = {
        "s": _duration,
        "none": lambda count: f"{count:.0f}",
        "percentunit": lambda share: f"{share:.1%}",
        "bool_yes_no": lambda yes: "yes" if yes else "no",
        "ops": lambda rate: f"{rate:.2f}/s",
    }
    return written.get(unit, lambda number: f"{number:.1f}".removesuffix(".0"))(value)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"
