"""Runs and workflows as HTML, for notebooks: tables without scripts, in colours that are readable on white and on black."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from dotflow.model.mermaid import COLOURS
from dotflow.model.outline import one_line, outline
from dotflow.model.tree import SIGNS, after, counted, errors, fold, how, told, took

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dotflow.model.outline import Entry
    from dotflow.model.task import Task
    from dotflow.model.tree import Run

__all__ = ["run_page", "workflow_page"]

_CELL: Final = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;border:0"
_QUIET: Final = "opacity:.75"
_MONO: Final = "font-family:monospace"


def run_page(run: Run) -> str:
    """A run: a line that tells how it went, and a table of its tasks."""
    entries = outline(run.tasks)
    has_edges = any(entry.edges for entry in entries)
    rows = []
    for hidden in fold(entries):
        entry = hidden[0]
        if len(hidden) > 1:
            tasks = [task for each in hidden for task in each.tasks]
            rows.append(_row("", _text(f"… {len(tasks):,} tasks"), "", _text(counted(tasks))))
            continue
        before = entries[entry.number - 1] if entry.number else None
        notes = [*told(entry), *(after(entry, before) if has_edges else ())]
        rows.append(_row(_badge(entry), _text(entry.label), _text(took(entry)), _notes(notes, errors(entry))))
    head = _headline(f"workflow {run.workflow_name}", how(run))
    foot = f'<div style="{_QUIET}">trace <code>{_text(run.trace_id)}</code></div>'
    return _page(head, ("", "task", "duration", ""), rows, foot)


def workflow_page(name: str, workflow_id: str, tasks: Sequence[Task]) -> str:
    """A workflow as it was put together: its tasks with their steps and what they come after."""
    entries = outline(tasks)
    has_edges = any(entry.edges for entry in entries)
    rows = []
    for hidden in fold(entries):
        entry = hidden[0]
        if len(hidden) > 1:
            rows.append(_row(_text(f"… {sum(len(each.tasks) for each in hidden):,} tasks"), "", ""))
            continue
        before = entries[entry.number - 1] if entry.number else None
        notes = [*_options(entry), *(after(entry, before) if has_edges else ())]
        step = f"<code>{_text(entry.task.spec.function_name)}</code>"
        rows.append(_row(_text(entry.label), step, _notes(notes, ())))
    count = f"{len(tasks):,} task{'' if len(tasks) == 1 else 's'}"
    head = _headline(f"workflow {name}", count)
    foot = f'<div style="{_QUIET}">workflow id <code>{_text(workflow_id)}</code></div>'
    return _page(head, ("task", "step", ""), rows, foot)


def _options(entry: Entry) -> list[str]:
    options, wiring = entry.task.spec.options, entry.task.wiring
    notes = []
    if wiring.is_mapped:
        notes.append("each" if not wiring.each else f"each {', '.join(wiring.each)}")
    if options.retry > 1:
        notes.append(f"retry={options.retry}")
    if options.timeout:
        notes.append(f"timeout={options.timeout:g} s")
    if entry.task.group_name != "default":
        notes.append(f"group {entry.task.group_name}")
    return notes


def _headline(what: str, how_it_went: str) -> str:
    return f'<div><strong>{_text(what)}</strong> <span style="{_QUIET}">{_text(how_it_went)}</span></div>'


def _page(head: str, titles: Iterable[str], rows: Iterable[str], foot: str) -> str:
    titled = "".join(f'<th style="{_CELL};{_QUIET}">{title}</th>' for title in titles)
    return (
        f'<div class="dotflow">{head}<table style="border-collapse:collapse;border:0"><thead><tr>{titled}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{foot}</div>"
    )


def _row(*cells: str) -> str:
    return "".join(["<tr>", *(f'<td style="{_CELL}">{cell}</td>' for cell in cells), "</tr>"])


def _badge(entry: Entry) -> str:
    """How it ended, as a sign and in colour; with a title for those who see neither."""
    fill, stroke, colour = COLOURS[entry.kind]
    style = f"background:{fill};color:{colour};border:1px solid {stroke};border-radius:3px;padding:0 5px"
    return f'<span title="{entry.kind.replace("_", " ")}" style="{style}">{SIGNS[entry.kind]}</span>'


def _notes(notes: Iterable[str], failures: Iterable[str]) -> str:
    told = _text("  ".join(notes)).replace("  ", " &nbsp;")
    listed = "".join(f'<div style="{_MONO}">{_text(line)}</div>' for line in failures)
    return told + listed


def _text(text: str) -> str:
    return escape(one_line(text))
