"""A run as a text that a person reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol

from dotflow.model.outline import (
    FAILED,
    GOING,
    NOT_RUN,
    RESTORED,
    SKIPPED,
    WELL,
    clipped,
    counts,
    error_line,
    item_errors,
    one_line,
    outline,
)
from dotflow.model.status import TypeResult, TypeStatus
from dotflow.model.text import shorten
from dotflow.model.wiring import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dotflow.model.outline import Entry
    from dotflow.model.task import InnerRun, Task

__all__ = ["SIGNS", "Run", "after", "counted", "errors", "fold", "how", "render", "seconds", "told", "took"]

SIGNS: Final = {WELL: "✓", FAILED: "✗", SKIPPED: "–", NOT_RUN: "·", GOING: "…", RESTORED: "✓"}
_LINES = {"branch": "├─", "last": "└─", "down": "│ "}
_ASCII = str.maketrans("✓✗–·…×µ├└─│", "+x-.~xu|`-|")
_MINUTE, _HOUR = 60, 3600
_WIDTH = 48  # of the column with the ids
_NAMED = 3  # parents of a task
_MOST = 100  # entries that are all shown
_FIRST, _LAST, _TELLING = 20, 10, 40  # of more than that: the first, the last, and those that failed or still run
_INNER = 3  # runs that one step has started
_ATTEMPTS = 6  # failed attempts that are all shown


class Run(Protocol):
    """What is shown of a run."""

    workflow_name: str
    workflow_id: str
    run_id: str
    status: TypeStatus
    result: TypeResult | None
    duration: float | None

    @property
    def tasks(self) -> Sequence[Task]:
        """Its tasks, in the order they were added."""

    @property
    def trace_id(self) -> str:
        """The id of its trace."""


def render(run: Run, *, full: bool = False) -> str:
    """The tasks of a run with how they ended and what they came after, under a line that tells how the run went."""
    return _writable("\n".join([_headline(run), *_body(run.tasks, full=full), f"trace {run.trace_id}"]))


def _headline(run: InnerRun) -> str:
    return f"workflow {one_line(run.workflow_name)}  {how(run)}"


def _body(tasks: Sequence[Task], *, full: bool) -> list[str]:
    """The lines of the tasks, those of each below its own and further in."""
    entries = outline(tasks)
    width = min(_WIDTH, max((len(entry.label) for entry in entries), default=0))
    has_edges = any(entry.edges for entry in entries)
    blocks: list[list[str]] = []
    for rows in fold(entries, full=full):
        entry = rows[0]
        if len(rows) > 1:
            hidden = [task for each in rows for task in each.tasks]
            blocks.append([f"… {len(hidden):,} tasks: {counted(hidden)}"])
            continue
        before = entries[entry.number - 1] if entry.number else None
        notes = [*told(entry), *(after(entry, before) if has_edges else ())]
        head = f"{SIGNS[entry.kind]} {entry.label:<{width}}  {took(entry):>11}"
        below = [*errors(entry), *(() if entry.is_folded else _inner(entry.task, full=full))]
        blocks.append(["  ".join([head, *notes]), *(f"    {text}" for text in below)])
    lines: list[str] = []
    for number, (first, *rest) in enumerate(blocks, 1):
        is_last = number == len(blocks)
        lines.append(f"{_LINES['last' if is_last else 'branch']} {first}")
        lines += [f"{'  ' if is_last else _LINES['down']}{text}" for text in rest]
    return lines


def _inner(task: Task, *, full: bool) -> Iterator[str]:
    """The runs that the step has started: of many the last ones, for those tell why it ended as it did, and some that failed."""
    runs = [(each, run) for each in (task, *(task.items or ())) for run in each.inner_runs]
    failed = [found for found in runs[:-_INNER] if found[1].status is TypeStatus.FAILED][-_INNER:]
    shown = runs if full else [*failed, *runs[-_INNER:]]
    if len(shown) < len(runs):
        yield f"… {len(runs) - len(shown):,} more runs before"
    for each, run in shown:
        yield _headline(run) if each is task else f"{_headline(run)}  in {one_line(each.task_id)}"
        yield from _body(run.tasks, full=full)


def fold(entries: list[Entry], *, full: bool = False) -> Iterator[list[Entry]]:
    """What gets a line: an entry, or several in a row that are only counted, where there are too many."""
    if full or len(entries) <= _MOST:
        yield from ([entry] for entry in entries)
        return
    telling = [entry.number for entry in entries if entry.kind in (FAILED, GOING)][:_TELLING]
    shown = {*range(_FIRST), *telling, *range(len(entries) - _LAST, len(entries))}
    hidden: list[Entry] = []
    for entry in entries:
        if entry.number not in shown:
            hidden.append(entry)
            continue
        if hidden:
            yield hidden
            hidden = []
        yield [entry]


def how(run: InnerRun) -> str:
    """How the run went: `failed in 2 min 5 s (timeout)`."""
    status = run.status.value.lower()
    if run.duration is None:
        return status
    why = f" ({run.result})" if run.result not in (None, TypeResult.SUCCESS, TypeResult.FAILURE) else ""
    return f"{status} in {seconds(run.duration)}{why}"


def took(entry: Entry) -> str:
    """How long it took, or why there is nothing to measure."""
    kind, task = entry.kind, entry.task
    if entry.is_folded:
        ends = [(each.started_ns, each.finished_ns) for each in entry.tasks]
        begun = [start for start, _ in ends if start is not None]
        ended = [end for start, end in ends if start is not None and end is not None]
        return seconds((max(ended) - min(begun)) / 1e9) if ended and len(ended) == len(begun) else "-"
    if kind == RESTORED:
        return "restored"
    if task.started_ns is not None:
        return seconds(task.duration)
    return "skipped" if kind == SKIPPED else "not started"


def told(entry: Entry) -> list[str]:
    """What else there is to tell of its end: attempts, what was recorded, how the members ended, why it did not run."""
    task = entry.task
    notes = [counted(entry.members)] if entry.members else []
    if entry.is_folded:
        return notes
    if task.attempt > 1:
        notes.append(f"{task.attempt} attempts")
    notes += [f"{name}={value:,.12g}" for name, value in task.recorded.items()]
    if task.result is TypeResult.UPSTREAM_FAILED:
        notes.append(f"upstream_failed: {_reason(task)}" if task.reason else "upstream_failed")
    elif task.reason:
        has_skipped_itself = task.result is TypeResult.SKIP and task.started_ns is not None
        notes.append(f"skipped: {_reason(task)}" if has_skipped_itself else _reason(task))
    elif task.result is TypeResult.SKIP and task.started_ns is not None:
        notes.append("skipped")
    return notes


def _reason(task: Task) -> str:
    return one_line(shorten(task.reason, 200))


def counted(tasks: Iterable[Task]) -> str:
    """How many ended how: `998 ✓ 2 ✗ (990 restored)`."""
    found: dict[str, int] = {}
    kinds = counts(tasks)
    for kind, count in kinds.items():
        found[SIGNS[kind]] = found.get(SIGNS[kind], 0) + count
    restored = f" ({kinds[RESTORED]:,} restored)" if RESTORED in kinds else ""
    return " ".join(f"{count:,} {sign}" for sign, count in found.items()) + restored


def after(entry: Entry, before: Entry | None) -> list[str]:
    """What it comes after, unless that is simply the one `before` it, and when it runs."""
    notes = [] if entry.task.wiring.when == SUCCESS else [f"when={entry.task.wiring.when}"]
    parents = list(entry.edges)
    if parents == ([] if before is None else [before]):
        return notes
    names = [clipped(one_line(parent.name), 60) for parent in parents[:_NAMED]]
    more = f" and {len(parents) - _NAMED:,} more" if len(parents) > _NAMED else ""
    return [*notes, f"after {', '.join(names) or 'nothing'}{more}"]


def errors(entry: Entry) -> list[str]:
    """The errors of the attempts; of the members that failed, those of the first."""
    of_members = list(item_errors(entry.members, is_item=not entry.is_folded)) if entry.members else []
    if of_members or entry.is_folded:
        return of_members
    found = [f"attempt {error.attempt}: {error_line(error)}" for error in entry.task.errors]
    if len(found) <= _ATTEMPTS:
        return found
    return [*found[:2], f"… {len(found) - 4:,} more failed attempts", *found[-2:]]


def seconds(duration: float | None) -> str:
    """A duration as a person writes it: `420 µs`, `12.3 ms`, `4.56 s`, `2 min 5 s`, `1 h 2 min`."""
    if duration is None:
        return "-"
    for limit, factor, unit in ((0.001, 1e6, "µs"), (1, 1e3, "ms"), (_MINUTE, 1, "s")):
        if duration < limit:
            return _writable(f"{duration * factor:.3g} {unit}")
    minutes, rest = divmod(round(duration), 60)
    if duration < _HOUR:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _writable(text: str) -> str:
    """The text, in plain ASCII where standard output could not write it: a report must never fail a program."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return text
