"""How a task hangs together with others: its parents as the user named them, and what fills its parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dotflow.model.modes import When
    from dotflow.model.step import Step

__all__ = ["ALWAYS", "ANY", "FAILURE", "HANDLERS", "SUCCESS", "UNWIRED", "WHEN", "Entry", "Parent", "Wiring"]

SUCCESS: Final = "success"
ANY: Final = "any"
FAILURE: Final = "failure"
ALWAYS: Final = "always"
WHEN: Final = (SUCCESS, ANY, FAILURE, ALWAYS)
HANDLERS: Final = (FAILURE, ALWAYS)
"""Those that also start after a failure has stopped the run."""

_NOTHING: Mapping[str, Any] = {}


class Entry(Protocol):
    """A task as it was added: what others need to know of it to come after it."""

    name: str
    task_id: str
    spec: Step
    wiring: Wiring


class Parent(NamedTuple):
    """What one entry of `after` comes to: a task, or the family of tasks that were added under one name with a `key`.

    `label` is what was written: the key of a dict, else the name or id; `name` is that of the task, which a parameter may
    be called.
    """

    label: str
    name: str
    tasks: tuple[Entry, ...]
    is_family: bool = False

    @property
    def is_mapped(self) -> bool:
        """Whether it has items."""
        return not self.is_family and self.tasks[0].wiring.is_mapped


@dataclass(frozen=True, slots=True)
class Wiring:
    """What `add` was told of a task beside its step.

    `after` is None where the mode implies the parents; `is_single` says that one parent was named alone, not in a list or
    a dict. `each` holds the labels of the parents, or the parameters, whose items it runs over: all of its parents if it is
    `()`, none if it is None. `item_key` makes the key of an item; `key` is that of a member of a family.
    """

    after: tuple[Parent, ...] | None = None
    is_single: bool = False
    is_dict: bool = False
    params: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    key: str | None = None
    each: tuple[str, ...] | None = None
    item_key: Callable[..., Any] | None = None
    when: When = SUCCESS

    def alone(self) -> Wiring:
        """The same without other tasks and without values."""
        return Wiring(key=self.key, each=self.each, when=self.when) if self is not UNWIRED else self

    @property
    def is_mapped(self) -> bool:
        """Whether the step runs once for each item."""
        return self.each is not None

    @property
    def is_handler(self) -> bool:
        """Whether it also starts after a failure has stopped the run."""
        return self.when in HANDLERS


UNWIRED: Final = Wiring()
