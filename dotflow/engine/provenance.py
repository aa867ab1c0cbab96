"""What a result was computed from: the one rule that decides whether it still holds when a run is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.engine.graph import FAILED, SKIPPED, WELL
from dotflow.model.context import Context
from dotflow.model.status import TypeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dotflow.engine.graph import Node

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
    items = node.items
    if items is not None and items.opened:
        if items.identity is None:  # many may come after it
            items.identity = _digest([identity_of(item, run_id) for item in items.nodes])
        return items.identity
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
    owner = node.owner
    if owner is None or owner.items is None:
        return _digest(_parts(node, run_id, fingerprint))
    if owner.items.basis is None:  # what all items have alike
        owner.items.basis = _digest(_parts(owner, run_id, fingerprint))
    own = [f"item of {label}:{fingerprint(context)}" for label, context in node.given.items()]
    return _digest(
        [owner.items.basis, *own, *(f"{each.task.task_id}@{identity_of(each, run_id)}" for each in node.parents)]
    )


def _parts(node: Node, run_id: str, fingerprint: Callable[[Context], str]) -> Iterator[str]:
    yield fingerprint(node.task.initial_context)
    for filling in node.fillings:
        if filling.parent is not None:
            yield f"{filling.parameter}={filling.parent.label}"
        elif filling.has_value:
            yield f"{filling.parameter}:{fingerprint(Context(filling.value))}"
    over = {id(parent) for parent, _ in node.each_edges()}
    named = [each for parent, nodes in node.edges if id(parent) not in over for each in nodes]
    for each in named if node.edges else node.parents:
        yield f"{each.task.task_id}@{identity_of(each, run_id)}"


def _digest(parts: Iterable[str]) -> str:
    import hashlib  # here, because few runs have a storage that keeps what this is for

    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def has_new_parent(node: Node) -> bool:
    """Whether a parent has run anew in this very run, which no kept result can be of."""
    if any(map(_is_new, node.parents)):
        return True
    owner = node.owner
    if owner is None or owner.items is None:
        return False
    if owner.items.follows_new is None:
        owner.items.follows_new = any(map(_is_new, owner.parents))
    return owner.items.follows_new


def _is_new(node: Node) -> bool:
    if not node.task.spec.options.keep:
        return False
    if node.items is not None and node.items.opened:
        return any(map(_is_new, node.items.nodes))
    return node.ending == FAILED or (node.ending == WELL and node.task.result is not TypeResult.RESTORED)
