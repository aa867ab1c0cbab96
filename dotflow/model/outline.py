"""What there is to show of a list of tasks, whatever draws it: one entry for each task, and one for a large family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dotflow.model.status import TypeResult, TypeStatus
from dotflow.model.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dotflow.model.outcome import TaskError
    from dotflow.model.task import Task

__all__ = [
    "FAILED",
    "GOING",
    "KINDS",
    "NOT_RUN",
    "RESTORED",
    "SKIPPED",
    "WELL",
    "Edge",
    "Entry",
    "clipped",
    "counts",
    "error_line",
    "item_errors",
    "kind_of",
    "one_line",
    "outline",
]

WELL: Final = "completed"
RESTORED: Final = "restored"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
NOT_RUN: Final = "not_run"
GOING: Final = "in_progress"
KINDS: Final = (WELL, RESTORED, FAILED, SKIPPED, NOT_RUN, GOING)
"""How a task stands, as far as a drawing tells them apart."""

_LARGE = 8  # members of a family that still have an entry each
_LONGEST = 80  # characters of a name
_MESSAGE = 200  # of a message
_SHOWN = 3  # failed items whose errors are shown
_OF_STATUS = {
    TypeStatus.COMPLETED: WELL,
    TypeStatus.FAILED: FAILED,
    TypeStatus.NOT_STARTED: NOT_RUN,
    TypeStatus.IN_PROGRESS: GOING,
    TypeStatus.RETRY: GOING,
    TypeStatus.PAUSED: GOING,
}


class Edge(NamedTuple):
    """That an entry comes after another. `notes` are what stands at the arrow: `each`, a parameter, a `when`."""

    parent: Entry
    notes: tuple[str, ...]


class Entry:
    """A task, or a family with so many members that it is shown as one.

    `number` is its place among the entries. `members` are the items of a mapped task, or the tasks of the family; None
    for others. `edges` lead to what it comes after.
    """

    __slots__ = ("edges", "family", "members", "number", "tasks")

    def __init__(self, task: Task, number: int, *, is_folded: bool) -> None:
        self.number = number
        self.tasks = [task]
        self.family = task.name if task.wiring.key is not None else None
        self.members = task.items if not is_folded else self.tasks
        self.edges: dict[Entry, Edge] = {}

    @property
    def task(self) -> Task:
        """The task, or the first of the family."""
        return self.tasks[0]

    @property
    def is_folded(self) -> bool:
        """Whether it is a family."""
        return self.members is self.tasks

    @property
    def name(self) -> str:
        """The id of the task; of a family its name, with all that it has in brackets."""
        return f"{self.family}[*]" if self.is_folded else self.task.task_id

    @property
    def label(self) -> str:
        """The name on one line, with the number of members where they are known."""
        name = clipped(one_line(self.name), _LONGEST)
        return name if self.members is None else f"{name} ×{len(self.members):,}"

    @property
    def kind(self) -> str:
        """How it stands: a family as the worst of its members."""
        found = counts(self.tasks)
        return next(kind for kind in (FAILED, GOING, NOT_RUN, SKIPPED, WELL, RESTORED) if kind in found)


def outline(tasks: Sequence[Task]) -> list[Entry]:
    """An entry for each task, in order; a family with many members has one, where its first member stands."""
    sizes: dict[str, int] = {}
    for task in tasks:
        if task.wiring.key is not None:
            sizes[task.name] = sizes.get(task.name, 0) + 1
    entries: list[Entry] = []
    families: dict[str, Entry] = {}
    of_task: dict[str, Entry] = {}
    for task in tasks:
        is_folded = task.wiring.key is not None and sizes[task.name] > _LARGE
        entry = families.get(task.name) if is_folded else None
        if entry is None:
            entry = Entry(task, len(entries), is_folded=is_folded)
            entries.append(entry)
            if is_folded:
                families[task.name] = entry
        else:
            entry.tasks.append(task)
        of_task[task.task_id] = entry
        notes = _notes(task)
        for parent in task.parents:
            before = of_task[parent.task_id]
            if before not in entry.edges:
                entry.edges[before] = Edge(before, notes.get(parent.task_id) or _each_of_all(task))
    return entries


def _each_of_all(task: Task) -> tuple[str, ...]:
    """What stands at an edge that the mode implies."""
    return ("each",) if task.wiring.is_mapped and task.wiring.after is None else ()


def _notes(task: Task) -> Mapping[str, tuple[str, ...]]:
    """What stands at the edges that a task has named, by the ids of the parents."""
    wiring = task.wiring
    found = {}
    for parent in wiring.after or ():
        is_each = wiring.each is not None and (
            not wiring.each or parent.label in wiring.each or parent.name in wiring.each
        )
        parameter = (parent.label,) if wiring.is_dict and parent.label != parent.name else ()
        notes = (*parameter, *(("each",) if is_each else ()))
        if notes:
            found.update({each.task_id: notes for each in parent.tasks})
    return found


def kind_of(task: Task) -> str:
    """How a task stands."""
    if task.result is TypeResult.RESTORED:
        return RESTORED
    return SKIPPED if task.result is TypeResult.SKIP else _OF_STATUS[task.status]


def counts(tasks: Iterable[Task]) -> dict[str, int]:
    """How many stand how; only what there is, in the order of `KINDS`."""
    found: dict[str, int] = {}
    for task in tasks:
        kind = kind_of(task)
        found[kind] = found.get(kind, 0) + 1
    return {kind: found[kind] for kind in KINDS if kind in found}


def item_errors(tasks: Sequence[Task], *, is_item: bool) -> Iterator[str]:
    """The last errors of the first that have failed, else why the first did not run; and how many more there are."""
    found = [task for task in tasks if task.error is not None and task.status is TypeStatus.FAILED]
    found = found or [task for task in tasks if task.result is TypeResult.UPSTREAM_FAILED]
    for task in found[:_SHOWN]:
        name = task.task_id[len(task.item_of.task_id) :] if is_item and task.item_of is not None else task.task_id
        tries = f" ({task.attempt} attempts)" if task.attempt > 1 else ""
        yield f"{clipped(one_line(name), _LONGEST)} {_why(task)}{tries}"
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN:,} more"


def _why(task: Task) -> str:
    if task.error is None:
        return f"upstream_failed: {one_line(shorten(task.reason, _MESSAGE))}".rstrip(": ")
    return error_line(task.error)


def error_line(error: TaskError) -> str:
    """An error on one line: its type and the first line of its message, shortened in the middle."""
    message = one_line(shorten(error.message.strip().partition("\n")[0], _MESSAGE))
    return f"{error.exception}: {clipped(message, 2 * _MESSAGE)}".rstrip(": ")


def one_line(text: str) -> str:
    """The text with an escape for each character that is not printed, such as a line break."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clipped(text: str, length: int) -> str:
    """At most so many characters of it."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
