"""What `workflow.check()` says: which tasks there are, what each comes after, how often it could run, what fills what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.model.binding import mismatches, name_of
from dotflow.model.wiring import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dotflow.engine.graph import Graph, Node
    from dotflow.model.binding import Filling

__all__ = ["report"]

_SHOWN = 6  # parents of one task


def report(graph: Graph, name: str, mode: str) -> str:
    """The graph as text: a line for each task, and below it one for each parameter, `load.rows ← transform`."""
    nodes = graph.nodes
    width = max((len(node.task.task_id) for node in nodes), default=0)
    lines = [f"workflow {name}, {mode}: {len(nodes):,} task{'s' * (len(nodes) != 1)}"]
    for node in nodes:
        lines.append(f"{node.task.task_id:<{width}}  {', '.join(_facts(node, mode))}")
        lines += [f"  {node.task.task_id}.{filling.parameter} ← {_source(node, filling)}" for filling in node.fillings]
    lines += [f"warning: {text}" for node in nodes for text in mismatches(node.task, node.fillings)]
    return "\n".join(lines)


def _facts(node: Node, mode: str) -> Iterator[str]:
    wiring, options = node.task.wiring, node.task.spec.options
    parents = node.all_parents()
    if not parents:
        yield "at the start"
    else:
        names = [parent.task.task_id for parent in parents]
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        implied = "" if wiring.after is not None else f" (implied by when={wiring.when!r})" if wiring.is_handler else ""
        if not implied and wiring.after is None:
            implied = f" (implied by {mode})"
        yield f"after {', '.join(names[:_SHOWN])}{more}{implied}"
    if wiring.when != SUCCESS:
        yield f"when {wiring.when}"
    if wiring.is_mapped:
        over = ", ".join(name_of(parent) for parent, _ in node.each_edges())
        yield f"once for each item of {over}"
    if options.retry > 1:
        yield f"up to {options.retry} attempts{' each' * wiring.is_mapped}"
    elif not wiring.is_mapped:
        yield "once"


def _source(node: Node, filling: Filling) -> str:
    if filling.parent is not None and any(parent is filling.parent for parent, _ in node.each_edges()):
        return f"each item of {filling.source}"
    return filling.source if filling.parent is not None or filling.has_value else "its default"
