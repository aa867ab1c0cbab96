"""What fills the parameters of a step: the one place that decides it, says what is wrong, and says what fills what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dotflow.errors import InvalidOption, StepSignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dotflow.model.step import Parameter
    from dotflow.model.task import Task
    from dotflow.model.wiring import Parent

__all__ = [
    "NONE_IMPLIED",
    "NO_PARENT",
    "Filling",
    "bind",
    "check_params",
    "check_wiring",
    "mismatches",
    "name_of",
]


NO_PARENT: Final = "it has no parent"
NONE_IMPLIED: Final = "it names no parent, and in a list the mode 'parallel' implies none"

_DEFAULT = "default"
_SHOWN = 6  # parents in an error


class Filling(NamedTuple):
    """What one parameter gets: the value of a parent, else one of `params`; neither where its default stands."""

    parameter: str
    has_default: bool
    parent: Parent | None = None
    value: Any = None
    source: str = _DEFAULT

    @property
    def has_value(self) -> bool:
        """Whether one of `params` fills it."""
        return self.parent is None and self.source != _DEFAULT


def check_params(params: object) -> None:
    """Whether these are `params`. What is wrong is told without a value, which may be a secret.

    Raises:
        InvalidOption: they are no mapping, or a key is no text.
    """
    if not isinstance(params, Mapping):
        raise InvalidOption(
            f"params= of type {type(params).__name__}: a dict from the names of parameters to their values"
        )
    for name in params:
        if not isinstance(name, str):
            raise InvalidOption(f"params= with the key {name!r}: a key is the name of a parameter, as text")


def check_wiring(task: Task) -> None:
    """What is wrong with a task whatever it is started with, as soon as it is added.

    Raises:
        StepSignatureError: a parent and `params` for one parameter; a key that no parameter takes.
    """
    wiring, step = task.wiring, task.spec
    taken = {parameter.name for parameter in step.parameters}
    by_parent = {name for parent in wiring.after or () for name in (parent.label, parent.name)}
    for name in wiring.params:
        if name in by_parent and name in taken:
            raise StepSignatureError(
                f"parameter {name!r} of task {task.task_id!r} would be filled twice, by the parent {name!r} and by params: "
                "take it out of one of them"
            )
        if name not in taken and not step.takes_rest:
            raise StepSignatureError(f"params={name!r} of task {task.task_id!r}: {_none_takes(task, taken)}")
    if wiring.is_dict and not step.wants_previous:
        for parent in wiring.after or ():
            if parent.label not in taken and parent.label != parent.name:
                raise StepSignatureError(f"after={parent.label!r} of task {task.task_id!r}: {_none_takes(task, taken)}")


def bind(
    task: Task, parents: Sequence[Parent], start_params: Mapping[str, Any], *, without: str = NO_PARENT
) -> list[Filling]:
    """What fills each parameter of the task's step, in the order of its signature. `without` says why it has no parents.

    Raises:
        StepSignatureError: a parameter that nothing fills, or that a parent and `start(params=)` would fill both.
    """
    wiring, step = task.wiring, task.spec
    by_name = {parent.name: parent for parent in parents}
    if len(by_name) < len(parents):  # a name that several have says nothing
        counts = Counter(parent.name for parent in parents)
        by_name = {name: parent for name, parent in by_name.items() if counts[name] == 1}
    if wiring.is_dict:
        by_name |= {parent.label: parent for parent in parents}
    found = [_filling(task, parameter, by_name, start_params) for parameter in step.parameters]
    empty = [f.parameter for f in found if f.source == _DEFAULT and not f.has_default]
    is_free = len(parents) == 1 and not step.wants_previous and not any(f.parent is not None for f in found)
    if len(empty) == 1 and is_free:
        (left,), (parent,) = empty, parents
        filling = Filling(left, has_default=False, parent=parent, source=name_of(parent))
        found = [filling if f.parameter == left else f for f in found]
    elif empty:
        raise StepSignatureError(_unfilled(task, empty, parents, without))
    if step.takes_rest:
        named = {parameter.name for parameter in step.parameters}
        for name, value in wiring.params.items():
            if name in start_params and name not in named:
                found.append(Filling(name, has_default=True, value=start_params[name], source="start(params=)"))
            elif name not in named:
                found.append(Filling(name, has_default=True, value=value, source="params"))
    return found


def _filling(
    task: Task, parameter: Parameter, by_name: Mapping[str, Parent], start_params: Mapping[str, Any]
) -> Filling:
    """What has a value for this parameter by its name; if nothing has, its default."""
    name, default = parameter.name, parameter.has_default
    parent = by_name.get(name)
    if parent is not None and name in start_params:
        raise StepSignatureError(
            f"parameter {name!r} of task {task.task_id!r} is filled by its parent {name!r}: take {name!r} out of "
            "start(params=)"
        )
    if parent is not None:
        return Filling(name, default, parent, source=name_of(parent))
    for params, source in ((start_params, "start(params=)"), (task.wiring.params, "params")):
        if name in params:
            return Filling(name, default, value=params[name], source=source)
    return Filling(name, default)


def mismatches(task: Task, fillings: Iterable[Filling]) -> list[str]:
    """Where a parent's step returns one plain class and the parameter wants another, which cannot fit."""
    wanted = {parameter.name: parameter.annotation for parameter in task.spec.parameters}
    found = []
    for filling in fillings:
        want = wanted.get(filling.parameter)
        if (
            want is None
            or filling.parent is None
            or filling.parent.is_family
            or filling.parent.is_mapped
            or task.wiring.is_mapped
        ):
            continue
        given = filling.parent.tasks[0].spec.returns
        if _cannot_be(given, want):
            found.append(
                f"{task.task_id}.{filling.parameter} is a {want.__name__}, but {filling.parent.label} returns a "
                f"{given.__name__}"
            )
    return found


def _cannot_be(given: Any, want: Any) -> bool:
    """Both are plain classes, neither is a subclass of the other, and no number stands where a float is wanted."""
    if not (isinstance(given, type) and isinstance(want, type)) or object in (given, want):
        return False
    if given in (int, bool) and want in (float, complex):
        return False
    try:
        return not issubclass(given, want) and not issubclass(want, given)
    except TypeError:  # a protocol, or something else that cannot be asked
        return False


def name_of(parent: Parent) -> str:
    """What a parent is called where it is said what fills what."""
    return f"{parent.name}[*]" if parent.is_family else parent.tasks[0].task_id


def _none_takes(task: Task, taken: set[str]) -> str:
    if not taken:
        return f"step {task.spec.name!r} has no parameter to be filled"
    return f"step {task.spec.name!r} has no such parameter; it takes {', '.join(sorted(taken))}"


def _unfilled(task: Task, empty: Sequence[str], parents: Sequence[Parent], without: str) -> str:
    names = ", ".join(repr(name) for name in empty)
    have = ", ".join(repr(parent.name) for parent in parents[:_SHOWN])
    have += f" and {len(parents) - _SHOWN:,} more" if len(parents) > _SHOWN else ""
    first = empty[0]
    have = f"its parents: {have}" if parents else without
    return (
        f"nothing fills {names} of task {task.task_id!r} ({have}): name a parent for it, after={{{first!r}: …}}, give it a "
        f"value with params={{{first!r}: …}}, or give it a default"
    )
