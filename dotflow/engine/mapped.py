"""The items of a mapped task: what it runs over, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dotflow.engine.graph import FAILED
from dotflow.errors import ItemsError
from dotflow.model.context import Context
from dotflow.model.text import is_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dotflow.engine.graph import Node

__all__ = ["Item", "items_of", "summary"]

_MOST: Final = 100_000
_SHOWN: Final = 80  # characters of a key in an error


class Item(NamedTuple):
    """One run of the step: its key, the items by the labels of the parents that they are of, and the items it goes along with."""

    key: str
    given: dict[str, Context]
    parents: tuple[Node, ...]


def items_of(node: Node) -> list[Item]:
    """What a mapped task runs over, now that the values are known.

    Raises:
        ItemsError: a value that has no items, lists of different lengths, too many items, keys that are no text or the same, or
            a `key` that raises.
    """
    columns: list[tuple[str, list[Any]]] = []
    keys: list[str] | None = None
    along: list[Node] = []
    for parent, nodes in node.each_edges():
        if parent.is_mapped:
            along.append(nodes[0])
            items = _nodes(nodes[0])
            columns.append((parent.label, items))
            keys = keys or [item.task.key or "" for item in items]
        elif parent.is_family:
            columns.append((parent.label, [n.value.storage if n.value else None for n in nodes]))
        else:
            value = nodes[0].value.storage if nodes[0].value else None
            found, names = _items(value, parent.label, nodes[0].task.spec.name)
            columns.append((parent.label, found))
            keys = keys if names is None else keys or [_text(name) for name in names]
    count = _count(columns)
    if node.task.wiring.item_key is not None:
        keys = _keys(node.task.wiring.item_key, columns)
    if keys is None:
        keys = [str(number) for number in range(count)]
    else:
        _check_distinct(keys)
    mapped = {parent.label for parent, _ in node.each_edges() if parent.is_mapped}
    return [
        Item(
            keys[number],
            {label: Context(column[number]) for label, column in columns if label not in mapped},
            tuple(_nodes(parent)[number] for parent in along),
        )
        for number in range(count)
    ]


def summary(node: Node) -> str:
    """What has become of the items of a mapped task that has failed, in one line: how many, and why the first."""
    items = _nodes(node)
    failed = [item for item in items if item.task.error is not None]
    text = f"{len(failed):,} of {len(items):,} items failed"
    missing = sum(item.ending == FAILED and item.task.error is None for item in items)
    if missing:
        text += f", {missing:,} did not run"
    if failed and failed[0].task.error is not None:
        from dotflow.model.outline import error_line  # here, because a run that goes well has no use for it

        error = failed[0].task.error
        text += f"; first {failed[0].task.task_id}: {error_line(error)}"
    return text


def _nodes(node: Node) -> list[Node]:
    return node.items.nodes if node.items is not None else []


def _items(value: Any, label: str, step: str) -> tuple[list[Any], Sequence[Any] | None]:
    """The items of a value, and of a mapping their keys."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        return pairs, [key for key, _ in pairs]
    if isinstance(value, (str, bytes, bytearray, memoryview)) or not isinstance(value, Sequence):
        raise ItemsError(
            f"each={label!r} runs over the items of a list, a tuple, a range or a dict, and {label!r} is of type "
            f"{type(value).__name__}: let step {step!r} return a list"
        )
    return list(value), None


def _count(columns: list[tuple[str, list[Any]]]) -> int:
    counts = {label: len(column) for label, column in columns}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{label!r} has {count:,}" for label, count in counts.items())
        raise ItemsError(f"each= goes over several values side by side, which must be equally long: {told} items")
    count = next(iter(counts.values()), 0)
    if count > _MOST:
        raise ItemsError(f"each= over {count:,} items: at most {_MOST:,}; let each task work on a batch of them")
    return count


def _keys(make: Callable[..., Any], columns: list[tuple[str, list[Any]]]) -> list[str]:
    keys = []
    for number, items in enumerate(zip(*(column for _, column in columns), strict=True)):
        try:
            keys.append(_text(make(*items)))
        except ItemsError:
            raise
        except Exception as error:
            raise ItemsError(
                f"key= raised {type(error).__name__} for item {number}: {error}. It is called with the item, and returns its key"
            ) from error
    return keys


def _text(key: object) -> str:
    text = str(key)
    if not is_text(text):
        raise ItemsError(f"key {text[:_SHOWN]!r} of an item: a key becomes a non-empty text that UTF-8 can hold")
    return text


def _check_distinct(keys: Sequence[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ItemsError(f"two items have the key {key[:_SHOWN]!r}: keys must differ")
        seen.add(key)
