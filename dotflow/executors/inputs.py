"""What an attempt is given: references to values until it runs, its own copies of plain containers then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dotflow.model.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Arguments", "Source", "copied", "given", "is_copied"]

Source = Any
"""A Context, for its value; a list of sources, for the list of their values; a dict of sources, for the dict of their values."""

Arguments = Mapping[str, Source]
"""What fills the plain parameters, by name."""


def given(source: Source, copy: Callable[[Any], Any] | None) -> Any:
    """The value that a source stands for, passed through `copy` where there is one."""
    kind = type(source)
    if kind is list:
        return [given(each, copy) for each in source]
    if kind is dict:
        return {name: given(each, copy) for name, each in source.items()}
    return source.storage if copy is None else copy(source.storage)


def copied(value: Any) -> Any:
    """A copy of the plain containers in a value, at every depth: `list`, `dict`, `set`, `bytearray`, and contexts.

    Tuples are made again only where something in them is copied. Whatever else there is, is shared. What is in it twice is
    in the copy twice, too, and what contains itself does so there.
    """
    copy = _COPIES.get(type(value))
    if copy is None:
        return value
    memo: dict[int, Any] = {}
    try:
        return copy(value, memo)
    except RecursionError:
        return _copied_flat(value)


def is_copied(value: Any) -> bool:
    """Whether a copy of this value is another one: it is, or may have in it, what can be changed in place."""
    return type(value) in _COPIES


def _copy_list(value: list[Any], memo: dict[int, Any]) -> list[Any]:
    key = id(value)
    if key in memo:
        return memo[key]  # type: ignore[no-any-return]
    memo[key] = new = value[:]
    for index, each in enumerate(new):
        copy = _COPIES.get(type(each))
        if copy is not None:
            new[index] = copy(each, memo)
    return new


def _copy_dict(value: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
    key = id(value)
    if key in memo:
        return memo[key]  # type: ignore[no-any-return]
    memo[key] = new = value.copy()
    for name, each in value.items():
        copy = _COPIES.get(type(each))
        if copy is not None:
            new[name] = copy(each, memo)
    return new


def _copy_tuple(value: tuple[Any, ...], memo: dict[int, Any]) -> tuple[Any, ...]:
    for each in value:
        if type(each) in _COPIES:
            break
    else:
        return value
    key = id(value)
    if key in memo:
        return memo[key]  # type: ignore[no-any-return]
    new = tuple(_COPIES[type(each)](each, memo) if type(each) in _COPIES else each for each in value)
    if key in memo:  # it contains itself, by way of a list
        return memo[key]  # type: ignore[no-any-return]
    if all(one is other for one, other in zip(new, value, strict=True)):
        new = value
    memo[key] = new
    return new


def _copy_plain(value: Any, memo: dict[int, Any]) -> Any:
    key = id(value)
    if key not in memo:
        memo[key] = value.copy()  # of what cannot hold a container
    return memo[key]


def _copy_context(value: Context, memo: dict[int, Any]) -> Context:
    key = id(value)
    if key not in memo:
        memo[key] = new = value.copy()
        copy = _COPIES.get(type(value.storage))
        if copy is not None:
            new.storage = copy(value.storage, memo)
    return memo[key]  # type: ignore[no-any-return]


_COPIES: dict[type, Callable[[Any, dict[int, Any]], Any]] = {
    list: _copy_list,
    dict: _copy_dict,
    tuple: _copy_tuple,
    set: _copy_plain,
    bytearray: _copy_plain,
    Context: _copy_context,
}


def _copied_flat(value: Any) -> Any:
    """The same for what is nested deeper than Python's stack: first a copy of every container, then what is in them."""
    memo: dict[int, Any] = {}
    filled: list[Any] = []
    entered: set[int] = set()
    todo = [(value, False)]
    while todo:
        each, is_tuple_of_copies = todo.pop()
        if is_tuple_of_copies:
            new = tuple(memo.get(id(part), part) for part in each)
            memo[id(each)] = new if any(one is not other for one, other in zip(new, each, strict=True)) else each
        elif type(each) in _COPIES and id(each) not in entered:
            entered.add(id(each))
            if type(each) is tuple:
                todo.append((each, True))
            else:
                memo[id(each)] = each.copy()
                filled.append(each)
            todo.extend((part, False) for part in _parts(each))
    for each in filled:
        new = memo[id(each)]
        if type(each) is list:
            new[:] = [memo.get(id(part), part) for part in each]
        elif type(each) is dict:
            new.update((name, memo.get(id(part), part)) for name, part in each.items())
        elif type(each) is Context:
            new.storage = memo.get(id(each.storage), each.storage)
    return memo[id(value)]


def _parts(value: Any) -> Any:
    if type(value) is dict:
        return value.values()
    if type(value) is Context:
        return (value.storage,)
    return value if type(value) in (list, tuple) else ()
