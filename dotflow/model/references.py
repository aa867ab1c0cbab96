"""What `after` may name: from a name, an id or a step to the tasks that were added before."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dotflow.errors import InvalidOption
from dotflow.model.wiring import Parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.model.task import Task

__all__ = ["TaskIndex"]


class TaskIndex:
    """The tasks that a workflow has so far, by id, by name and by step; looked at when one is referred to."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self.clear()

    def clear(self) -> None:
        """All tasks are gone."""
        self._known = 0
        self._by_id: dict[str, Task] = {}
        self._by_name: dict[str, list[Task]] = {}
        self._by_step: dict[tuple[int, int], list[Task]] = {}
        self._frozen: dict[str, str] = {}

    def _catch_up(self) -> None:
        for number in range(self._known, len(self._tasks)):
            task = self._tasks[number]
            self._by_id[task.task_id] = task
            self._by_name.setdefault(task.name, []).append(task)
            self._by_step.setdefault(_identity(task.step), []).append(task)
        self._known = len(self._tasks)

    def check_key(self, name: str, key: str) -> None:
        """Whether a family may have one more member, with this key.

        Raises:
            InvalidOption: it has that key already, or a task has named it.
        """
        self._catch_up()
        same = self._by_id.get(name)
        if same is not None and same.wiring.is_mapped:
            raise InvalidOption(
                f"key={key!r}: the items of task {name!r} have ids such as {f'{name}[{key}]'!r}, so no family can be called "
                f"{name!r}: give one of them another name="
            )
        if f"{name}[{key}]" in self._by_id:
            raise InvalidOption(f"key={key!r}: {name!r} has a task with that key already")
        if name in self._frozen:
            raise InvalidOption(
                f"key={key!r}: task {self._frozen[name]!r} has named the family {name!r}, so no member can be added to it "
                "any more; add all of them before"
            )

    def check_items(self, task_id: str) -> None:
        """Whether a task with this id may have items.

        Raises:
            InvalidOption: their ids would be those of a family.
        """
        self._catch_up()
        member = next((task for task in self._by_name.get(task_id, ()) if task.wiring.key is not None), None)
        if member is not None:
            raise InvalidOption(
                f"each= of task {task_id!r}: its items would have ids such as {member.task_id!r}, which is of a family: give "
                "one of them another name="
            )

    def freeze(self, parents: Sequence[Parent], by: str) -> None:
        """The task `by`, which was added, has named these: families among them are complete."""
        for parent in parents:
            if parent.is_family:
                self._frozen.setdefault(parent.name, by)

    def resolve(self, after: Any, by: str) -> tuple[Parent, ...]:
        """The parents that the `after` of the task `by` names.

        Raises:
            InvalidOption: what is named is unknown, or could be two things.
        """
        self._catch_up()
        if isinstance(after, Mapping):
            return tuple(self._one(each, by)._replace(label=str(label)) for label, each in after.items())
        if not isinstance(after, (list, tuple)):
            return (self._one(after, by),)
        parents = tuple(self._one(each, by) for each in after)
        seen: set[str] = set()
        for parent in parents:
            if parent.name in seen:
                raise InvalidOption(
                    f"after of task {by!r} names two parents called {parent.name!r}: say which is which with a dict, "
                    "after={parameter: task}"
                )
            seen.add(parent.name)
        return parents

    def _one(self, reference: object, by: str) -> Parent:
        return self._by_text(reference, by) if isinstance(reference, str) else self._by_object(reference, by)

    def _by_text(self, name: str, by: str) -> Parent:
        named, of_id = self._by_name.get(name, []), self._by_id.get(name)
        if named and any(task is not of_id for task in named) and not _is_family(named):
            ids = ", ".join(repr(task.task_id) for task in dict.fromkeys([*named, *([of_id] if of_id else [])]))
            raise InvalidOption(
                f"after={name!r} of task {by!r} could be several tasks ({ids}): give each a name= of its own, or a key= "
                "to make them a family"
            )
        if named and (_is_family(named) or of_id is None):
            return _parent(name, named)
        if of_id is None:
            raise InvalidOption(f"after={name!r} of task {by!r}: no task before it is called that{self._nearest(name)}")
        return Parent(name, of_id.name, (of_id,))

    def _by_object(self, step: object, by: str) -> Parent:
        found = self._by_step.get(_identity(step), [])
        if not found:
            name = getattr(step, "__name__", None) or f"an object of type {type(step).__name__}"
            hint = "" if callable(step) else "; write the name or id of a task, or its step"
            raise InvalidOption(f"after={name} of task {by!r}: it was not added before{hint}")
        if len(found) > 1 and not (_is_family(found) and len({task.name for task in found}) == 1):
            ids = ", ".join(repr(task.task_id) for task in found)
            raise InvalidOption(f"after of task {by!r} names a step that was added as {ids}: write which, as a text")
        name = found[0].name
        family = self._by_name[name]
        return _parent(name, family if _is_family(family) else found)

    def _nearest(self, name: str) -> str:
        known = list(dict.fromkeys([*self._by_name, *self._by_id]))
        import difflib  # here, because it is for an error only

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if near:
            return f"; did you mean {near[0]!r}?"
        return f"; there are {', '.join(map(repr, known[:10]))}" if known else "; there is none yet"


def _is_family(tasks: Sequence[Task]) -> bool:
    return all(task.wiring.key is not None for task in tasks)


def _identity(step: object) -> tuple[int, int]:
    """Which object it is; of a bound method, which is made anew wherever it is written, of what object and function."""
    if inspect.ismethod(step):
        return id(step.__func__), id(step.__self__)
    return id(step), 0


def _parent(name: str, tasks: Sequence[Task]) -> Parent:
    return Parent(name, name, tuple(tasks), is_family=_is_family(tasks))
