"""A list of tasks as the text of a Mermaid flowchart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dotflow.model.outline import FAILED, GOING, NOT_RUN, RESTORED, SKIPPED, WELL, clipped, one_line, outline
from dotflow.model.tree import counted, took
from dotflow.model.wiring import HANDLERS, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dotflow.model.outline import Edge, Entry
    from dotflow.model.task import Task

__all__ = ["COLOURS", "flowchart"]

COLOURS: Final = {
    WELL: ("#d3f2da", "#1a7f37", "#0b3d1a"),
    RESTORED: ("#d6e9fb", "#0969da", "#0a3069"),
    FAILED: ("#ffdcd9", "#cf222e", "#660d14"),
    SKIPPED: ("#fff3c4", "#9a6700", "#4d3300"),
    NOT_RUN: ("#e7eaee", "#6e7781", "#32383f"),
    GOING: ("#eadcfb", "#8250df", "#3b1b73"),
}
"""Background, border and text; each with its own text colour, so that they are readable on white and on black."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.,/()[]=+-")
_PAIRS = frozenset("\\$ﬂ¶")  # Mermaid reads a line break, a formula or an escape of its own, with what follows at once
_START = re.compile(r"\d+[.)](?=\s|$)|\W")  # how a list or a heading begins in Markdown
_DIRECTION = re.compile(r"direction(?=\s)")  # a statement, wherever it stands on a line, also in quotes
_NO_WIDTH = "#8203;"
_LONGEST = 100
_MOST_EDGES = 500


def flowchart(tasks: Sequence[Task], *, has_run: bool) -> str:
    """The tasks as nodes, each with arrows from what it comes after; in a subgraph the members of a family.

    Names stand in labels only, with every character escaped that Mermaid, Markdown or HTML could read as its own. The ids
    of nodes are numbers.
    """
    entries = outline(tasks)
    lines = ["flowchart TD", *_nodes(entries, has_run=has_run)]
    edges = [_edge(edge, entry) for entry in entries for edge in entry.edges.values()]
    if len(edges) > _MOST_EDGES:
        lines.insert(0, f"%% {len(edges)} arrows: Mermaid draws {_MOST_EDGES} unless its option maxEdges is higher")
    lines += edges
    if has_run:
        for kind in dict.fromkeys(entry.kind for entry in entries):
            fill, stroke, colour = COLOURS[kind]
            lines.append(f"    classDef {kind} fill:{fill},stroke:{stroke},color:{colour}")
    return "\n".join(lines) + "\n"


def _nodes(entries: Sequence[Entry], *, has_run: bool) -> Iterator[str]:
    """All nodes; those of a family where its first member stands."""
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.family is not None and not entry.is_folded:
            families.setdefault(entry.family, []).append(entry)
    for entry in entries:
        members = families.get(entry.family) if entry.family is not None and not entry.is_folded else None
        if members is None:
            yield f"    {_node(entry, has_run=has_run)}"
        elif members[0] is entry:
            yield f'    subgraph f{entry.number}["{_text(entry.family or "")}"]'
            yield from (f"        {_node(member, has_run=has_run)}" for member in members)
            yield "    end"


def _node(entry: Entry, *, has_run: bool) -> str:
    """One node; with two lines at its sides if it stands for many."""
    label = _text(entry.label)
    if has_run:
        label += f"<br/>{_text(counted(entry.members) if entry.members else took(entry))}"
        label += f"<br/>{_text(took(entry))}" if entry.members else ""
    is_many = entry.is_folded or entry.task.wiring.is_mapped
    opening, closing = ("[[", "]]") if is_many else ("[", "]")
    return f'{_id(entry)}{opening}"{label}"{closing}{f":::{entry.kind}" if has_run else ""}'


def _edge(edge: Edge, entry: Entry) -> str:
    """An arrow: dotted to what runs because something failed, with what is special about it."""
    when = entry.task.wiring.when
    notes = [*edge.notes, *(() if when == SUCCESS else (when,))]
    arrow = "-.->" if when in HANDLERS else "-->"
    label = f'|"{_text(", ".join(notes))}"|' if notes else ""
    return f"    {_id(edge.parent)} {arrow}{label} {_id(entry)}"


def _id(entry: Entry) -> str:
    return f"t{entry.number}"


def _text(text: str) -> str:
    """The text for a label in quotes: letters and digits of any language as they are, what could be syntax as numbers."""
    shown = clipped(one_line(text), _LONGEST)
    special = {found.start() for found in _DIRECTION.finditer(shown)}
    start = _START.match(shown)
    if start:
        special.add(start.end() - 1)
    return "".join(
        c if number not in special and (c in _PLAIN or (not c.isascii() and c not in _PAIRS)) else _escaped(c)
        for number, c in enumerate(shown)
    )


def _escaped(character: str) -> str:
    return f"#{ord(character)};{_NO_WIDTH if character in _PAIRS else ''}"
