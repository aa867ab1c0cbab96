"""What a result was computed from: the one rule that decides whether it still holds when a run is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dotflow.engine.graph import SKIPPED, WELL
from dotflow.engine.inputs import constant
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dotflow.engine.graph import Node
    from dotflow.model.context import Context

__all__ = ["basis_of", "has_new_parent", "identity_of"]

_SKIPPED = "skipped"
_NOT_KEPT = "-"
_FORGOTTEN = "an earlier run"  # taken over from a storage that does not keep which


def identity_of(node: Node, run_id: str) -> str:
    """Which run made the result of a task: of a mapped one, of each of its items; what has no result says why.

    A task whose result is never kept does not count.
    """
    task = node.task
    if not task.spec.options.keep:
        return _NOT_KEPT
    if node.items is not None and node.items.opened:
        return f"[{','.join([identity_of(item, run_id) for item in node.items.nodes])}]"
    if node.ending != WELL:
        return _SKIPPED if node.ending == SKIPPED else f"failed in {run_id}"
    made = task.current_context.provenance
    if made is not None:
        return made.run_id
    return _FORGOTTEN if task.result is TypeResult.RESTORED else run_id


def basis_of(node: Node, run_id: str, fingerprint: Callable[[Context], str]) -> str:
    """What the result of a task is computed from, as 32 hexadecimal digits.

    Those are its initial context, the params that its step takes, which parent fills which parameter, and which run made
    the result of each parent. Of an item, its own fingerprint stands for the parent that it was taken from.
    """
    import hashlib  # here, because few runs have a storage that keeps what this is for

    return hashlib.blake2b("\n".join(_parts(node, run_id, fingerprint)).encode(), digest_size=16).hexdigest()


def _parts(node: Node, run_id: str, fingerprint: Callable[[Context], str]) -> Iterator[str]:
    plan = node.owner or node
    yield fingerprint(plan.task.initial_context)
    for filling in plan.fillings:
        if filling.parent is not None:
            yield f"{filling.parameter}={filling.parent.label}"
        elif filling.source != "default":
            yield f"{filling.parameter}:{fingerprint(constant(plan, filling.parameter, filling.value))}"
    along = {id(parent.owner): parent for parent in node.parents} if node.owner is not None else {}
    given = node.given if node.owner is not None else {}
    for label, parents in _parents(plan):
        if label in given:
            yield f"item of {label}:{fingerprint(given[label])}"
            continue
        for parent in parents:
            found = along.get(id(parent), parent)
            yield f"{found.task.task_id}@{identity_of(found, run_id)}"


def _parents(plan: Node) -> Iterator[tuple[str, tuple[Node, ...] | list[Node]]]:
    if plan.edges:
        yield from ((parent.label, nodes) for parent, nodes in plan.edges)
    else:
        yield "", plan.parents


def has_new_parent(node: Node, run_id: str) -> bool:
    """Whether a parent has run anew in this very run, which no kept result can be of."""
    parents: Any = node.parents if node.owner is None else [*node.parents, *node.owner.parents]
    return any(run_id in identity_of(parent, run_id) for parent in parents)
