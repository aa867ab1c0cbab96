"""`workflow.task`: the list of tasks, as the user builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dotflow.errors import InvalidChoice, InvalidOption, StepSignatureError
from dotflow.model.binding import check_params, check_wiring
from dotflow.model.references import TaskIndex
from dotflow.model.step import Step
from dotflow.model.task import Task
from dotflow.model.text import is_text
from dotflow.model.wiring import SUCCESS, UNWIRED, WHEN, Parent, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from dotflow.model.modes import When
    from dotflow.model.run import Run

    Reference: TypeAlias = str | Callable[..., Any]
    """What `after` may name: the name or id of a task, or the step that was added."""
    After: TypeAlias = Reference | Sequence[Reference] | Mapping[str, Reference] | None

__all__ = ["TaskBuilder"]


class TaskBuilder:
    """The tasks of a workflow, in the order they run. Iterating gives them as entries that have not run."""

    def __init__(self, describe: Callable[[], dict[str, Any]], added: Callable[[list[Task]], None]) -> None:
        self._tasks: list[Task] = []
        self._index = TaskIndex(self._tasks)
        self._ids: set[str] = set()
        self._repeats: dict[str, int] = {}
        self._describe = describe
        self._added = added
        self.latest: Run | None = None

    def add(
        self,
        step: Any,
        *,
        initial_context: Any = None,
        callback: Callable[..., Any] | None = None,
        group_name: str = "default",
        name: str | None = None,
        after: After = None,
        params: Mapping[str, Any] | None = None,
        key: Any = None,
        each: bool | str | Sequence[str] = False,
        when: When = SUCCESS,
    ) -> TaskBuilder:
        """Add a step, or each of a list of steps; all of them or, if one is wrong, none.

        Args:
            step: what `@action` marked, its dotted path (`package.module:step`), or a list of these.
            initial_context: the value that the step gets as `initial_context.storage`.
            callback: called as `callback(task=...)` after the task, in the coordinator.
            group_name: without `after`, tasks of one group run in order; how far a failure stops what has not begun.
            name: default: the step's own name. It is a metric label: one of few, never an id. It does not end in `]`.
            after: the tasks whose end it waits for, all added before: a name, an id, the step that was added, a list of
                these, or a dict from parameter to one of these. `[]` is none. Default: the one before it in its group, in
                the mode `parallel` none. Of a list of steps, the first comes after these and each other after the one before.
            params: values for the step's parameters, by name.
            key: makes it a member of the family of all tasks with this name and a key: its id is `name[key]`, and the name
                stands for the list of their values. With `each`, a function from an item to its key; default: its position.
            each: run the step once for each item of the value of its one parent (True), of this parent, or of these side by
                side. The value is the list of what they returned.
            when: `success`: if all parents ended well; `any`: if none failed and one ended well; `failure`: if one failed;
                `always`: in any case.

        Raises:
            MissingActionDecorator: the step was not marked.
            StepSignatureError: it is a generator function; a parameter would be filled twice; a key that no parameter takes.
            ImportModuleError: a dotted path leads nowhere.
            InvalidOption: a callback that cannot be called, a name that is no text, an `after` that is unknown or could be two
                things, options that do not go together.
            InvalidChoice: a `when` that is not known.
        """
        if callback is not None and not callable(callback):
            raise InvalidOption(f"callback={callback!r}: it is called as callback(task=...), this cannot be")
        if group_name != "default":
            _check_text("group_name", group_name)
        if name is not None:
            _check_text("name", name)
        steps = [Step.of(one) for one in step] if isinstance(step, (list, tuple)) else [Step.of(step)]
        is_plain = after is None and params is None and key is None and each is False and when == SUCCESS
        if is_plain and (name is None or len(steps) == 1):
            wiring = UNWIRED
        else:
            _check_together(len(steps), after, key, each, when, name)
            _check_params(steps, params)
            wiring = self._wiring(name or steps[0].name if steps else "", after, params, key, each, when)
        added = self._append(steps, wiring, initial_context, callback, group_name, name)
        self._index.freeze(wiring.after or (), name or steps[0].name if steps else "")
        self._added(added)
        return self

    def count(self) -> int:
        """How many tasks there are."""
        return len(self._tasks)

    def clear(self) -> TaskBuilder:
        """Remove all tasks."""
        self._tasks.clear()
        self._index.clear()
        self._ids.clear()
        self._repeats.clear()
        return self

    def reverse(self) -> TaskBuilder:
        """Turn the order around. Tasks keep their ids.

        Raises:
            InvalidOption: a task names its parents, which come before it.
        """
        named = next((task for task in self._tasks if task.wiring.after is not None), None)
        if named is not None:
            raise InvalidOption(
                f"reverse() of a graph: task {named.task_id!r} names its parents with after=, which come first"
            )
        self._tasks.reverse()
        return self

    def schema(self) -> dict[str, Any]:
        """The workflow as plain data: its name and id, and of each task the step and its options. No values."""
        return {**self._describe(), "tasks": [_schema_of(task) for task in self._tasks]}

    def result(self) -> dict[str, Any]:
        """The latest run as plain data; empty before a run.

        Of each task: how it ended and why, duration (s), errors and its value; of a task with `each` also its `items`.
        """
        run = self.latest
        if run is None:
            return {}
        return {
            **self._describe(),
            "run_id": run.run_id,
            "trace_id": run.trace_id,
            "status": run.status.value,
            "duration": run.duration,
            "tasks": [_result_of(task) for task in run.tasks],
        }

    def _wiring(
        self, name: str, after: Any, params: Mapping[str, Any] | None, key: Any, each: Any, when: When
    ) -> Wiring:
        parents = None if after is None else self._index.resolve(after, name)
        mapped = None if each is False else _mapped(name, each, parents)
        if key is not None and mapped is None:
            key = _key_text(key)
            self._index.check_key(name, key)
        if callable(key) and any(parent.is_mapped for parent in _mapped_over(mapped, parents)):
            raise InvalidOption(f"key= of task {name!r}: it goes item by item over a mapped task, and has its keys")
        return Wiring(
            after=parents,
            is_single=parents is not None and not isinstance(after, (list, tuple, Mapping)),
            is_dict=isinstance(after, Mapping),
            params=dict(params or {}),
            key=key if mapped is None else None,
            each=mapped,
            item_key=key if mapped is not None else None,
            when=when,
        )

    def _append(
        self,
        steps: list[Step],
        wiring: Wiring,
        initial: Any,
        callback: Callable[..., Any] | None,
        group_name: str,
        name: str | None,
    ) -> list[Task]:
        added: list[Task] = []
        counts: dict[str, int | None] = {}
        try:
            for step in steps:
                chosen = name or step.name
                _check_end(chosen)
                own = wiring if len(steps) == 1 else _link(wiring, step, added[-1] if added else None)
                counts.setdefault(chosen, self._repeats.get(chosen))
                task = Task(
                    step,
                    initial_context=initial,
                    callback=callback,
                    group_name=group_name,
                    name=chosen,
                    task_id=self._unique(chosen) if own.key is None else self._keyed(chosen, own.key),
                    wiring=own,
                )
                added.append(task)
                if own is not UNWIRED:
                    check_wiring(task)
                    if own.is_mapped:
                        self._index.check_items(task.task_id)
        except BaseException:
            self._forget(added, counts)
            raise
        self._tasks += added
        return added

    def _forget(self, added: list[Task], counts: Mapping[str, int | None]) -> None:
        """What was added after all is not: the ids that come next are as if nothing had been."""
        self._ids -= {task.task_id for task in added}
        for name, count in counts.items():
            if count is None:
                self._repeats.pop(name, None)
            else:
                self._repeats[name] = count

    def _unique(self, name: str) -> str:
        """The name, or the name with the first free number behind it: the same at every start of the program."""
        candidate, number = name, self._repeats.get(name, 1)
        while candidate in self._ids:
            number += 1
            candidate = f"{name}-{number}"
        self._ids.add(candidate)
        self._repeats[name] = number
        return candidate

    def _keyed(self, name: str, key: str) -> str:
        """The id of a member of a family, whose key is known to be free."""
        task_id = f"{name}[{key}]"
        self._ids.add(task_id)
        return task_id

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _check_text(field: str, value: object) -> None:
    if not is_text(value):
        raise InvalidOption(f"{field}={value!r}: a non-empty text that UTF-8 can hold")


def _check_together(count: int, after: Any, key: Any, each: Any, when: Any, name: Any) -> None:
    """Which options of `add` go together.

    Raises:
        InvalidChoice, InvalidOption: naming them.
    """
    if when not in WHEN:
        raise InvalidChoice("when", when, WHEN)
    if count != 1:
        given = {"each": each is not False, "key": key is not None, "when": when != SUCCESS, "name": name is not None}
        wrong = [option for option, there in given.items() if there] + ["after"] * isinstance(after, Mapping)
        if wrong:
            raise InvalidOption(f"{wrong[0]}= with a list of {count} steps: it is of one task, so add them one by one")
    if each is not False and when != SUCCESS:
        raise InvalidOption(f"each= with when={when!r}: a task with items runs when its parents ended well")
    if each is False and callable(key):
        raise InvalidOption(
            "key= is a function: that makes the keys of items, and needs each=; of a task a key is a text"
        )
    if each is not False and key is not None and not callable(key):
        raise InvalidOption(f"key={key!r} with each=: it makes the key of an item, so it is a function of the item")
    if when != SUCCESS and after is not None and isinstance(after, (list, tuple, Mapping)) and not after:
        raise InvalidOption(f"when={when!r} with after={after!r}: it looks at how parents ended, and there is none")


def _check_params(steps: list[Step], params: Any) -> None:
    if params is None:
        return
    check_params(params)
    for name in params if len(steps) > 1 else ():  # of a single step, `check_wiring` tells it
        if not any(step.takes_rest or name in {parameter.name for parameter in step.parameters} for step in steps):
            raise StepSignatureError(f"params={name!r}: none of the steps has a parameter of that name")


def _mapped(name: str, each: Any, parents: tuple[Parent, ...] | None) -> tuple[str, ...]:
    """The labels of what is run over; `()` is the one parent."""
    if each is True:
        if parents is not None and len(parents) != 1:
            raise InvalidOption(
                f"each=True of task {name!r}, which has {len(parents)} parents: say over which, as each='its name'"
            )
        return ()
    labels = (each,) if isinstance(each, str) else tuple(each) if isinstance(each, (list, tuple)) else ()
    if not labels or not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise InvalidOption(f"each={each!r}: True, the name of a parent or of a parameter, or a list of such names")
    if parents is not None:
        known = {label for parent in parents for label in (parent.label, parent.name)}
        for label in labels:
            if label not in known:
                raise InvalidOption(
                    f"each={label!r} of task {name!r}: it has no such parent; its parents are {', '.join(sorted(known)) or 'none'}"
                )
    return labels


def _mapped_over(labels: tuple[str, ...] | None, parents: tuple[Parent, ...] | None) -> list[Parent]:
    if labels is None or parents is None:
        return []
    return [parent for parent in parents if not labels or parent.label in labels or parent.name in labels]


def _link(wiring: Wiring, step: Step, before: Task | None) -> Wiring:
    """The wiring of one of a list of steps: a chain, if the list was given an `after`; each takes the params that it knows."""
    taken = {parameter.name for parameter in step.parameters}
    params = {name: value for name, value in wiring.params.items() if name in taken}
    if wiring.after is None or before is None:
        return replace(wiring, params=params) if wiring is not UNWIRED else wiring
    return replace(wiring, params=params, after=(Parent(before.name, before.name, (before,)),), is_single=True)


def _key_text(key: object) -> str:
    text = str(key)
    if not is_text(text):
        raise InvalidOption(f"key={key!r}: a key becomes a non-empty text that UTF-8 can hold")
    return text


def _check_end(name: str) -> None:
    if name.endswith("]"):
        raise InvalidOption(f"name={name!r}: a name does not end in ']', as the ids of items and families do")


def _schema_of(task: Task) -> dict[str, Any]:
    options = task.spec.options
    return {
        "task_id": task.task_id,
        "name": task.name,
        "group_name": task.group_name,
        "step": task.spec.function_name,
        "after": None if task.wiring.after is None else [parent.label for parent in task.wiring.after],
        "key": task.wiring.key,
        "each": list(task.wiring.each) if task.wiring.each else task.wiring.each is not None,
        "when": task.wiring.when,
        "retry": options.retry,
        "retry_delay": options.retry_delay,
        "backoff": options.backoff,
        "max_delay": options.max_delay,
        "jitter": options.jitter,
        "timeout": options.timeout,
    }


def _result_of(task: Task) -> dict[str, Any]:
    found = {
        "task_id": task.task_id,
        "name": task.name,
        "group_name": task.group_name,
        "status": task.status.value,
        "result": task.result.value if task.result is not None else None,
        "reason": task.reason,
        "attempt": task.attempt,
        "retry_count": task.retry_count,
        "duration": task.duration,
        "recorded": dict(task.recorded),
        "errors": [
            {"attempt": e.attempt, "exception": e.exception, "message": e.message, "traceback": e.traceback}
            for e in task.errors
        ],
        "current_context": task.current_context.storage,
    }
    if task.items is not None:
        found["items"] = [_result_of(item) for item in task.items]
    return found
