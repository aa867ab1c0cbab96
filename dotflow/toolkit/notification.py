"""What a notification says about a task, for every Notify provider alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from dotflow.errors import InvalidChoice, InvalidOption
from dotflow.model.status import TypeStatus
from dotflow.model.tree import seconds
from dotflow.toolkit.text import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dotflow.model.task import Task

__all__ = ["Notification", "TraceUrl", "statuses_of", "summary"]

_WITH_ERROR = (TypeStatus.FAILED, TypeStatus.RETRY)
_LINE_ERROR = 150


@dataclass(frozen=True)
class Notification:
    """How a task stood at a moment, in words for people. Never a context value.

    `duration` is seconds, of the whole task, None while it goes on; `retry_in` is the wait (s) before the next attempt,
    while the status is `Retry`. `error` and `traceback` are those of the latest attempt, if that failed.
    """

    workflow: str
    workflow_id: str
    task: str
    task_id: str
    run_id: str
    trace_id: str
    status: TypeStatus
    attempt: int
    attempts: int
    duration: float | None
    retry_in: float
    error: str
    traceback: str
    link: str

    @classmethod
    def of(cls, task: Task, trace_url: TraceUrl) -> Notification:
        """Read a task as it is now."""
        error = task.error if task.status in _WITH_ERROR else None
        words = {
            "workflow": task.workflow_name,
            "workflow_id": task.workflow_id,
            "task": task.name,
            "task_id": task.task_id,
            "run_id": task.run_id,
            "trace_id": task.span.trace_id if task.span else task.run_id,
        }
        return cls(
            **words,
            status=task.status,
            attempt=max(1, task.attempt),  # a task that has just started is about to make its first
            attempts=task.spec.options.retry,
            duration=task.duration,
            retry_in=task.retry_in,
            error=f"{error.exception}: {error.message}".rstrip(": ") if error else "",
            traceback=error.traceback if error else "",
            link=trace_url.of(words),
        )

    @property
    def title(self) -> str:
        """`nightly-etl / load: Failed`."""
        return f"{self.workflow} / {self.task_id}: {self.status}"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """What there is to tell, as names and values, without the error and the link."""
        told = [
            ("Workflow", self.workflow),
            ("Task", self.task_id),
            ("Status", str(self.status)),
            ("Attempt", f"{self.attempt} of {self.attempts}"),
        ]
        if self.duration is not None:
            told.append(("Duration", seconds(self.duration)))
        if self.status is TypeStatus.RETRY:
            told.append(("Next attempt", f"in {seconds(self.retry_in)}" if self.retry_in else "now"))
        return told

    @property
    def line(self) -> str:
        """All of it in one line: title, attempt, duration, and the first line of the error."""
        facts = [f"attempt {self.attempt} of {self.attempts}"] if self.attempts > 1 else []
        facts += [seconds(self.duration)] if self.duration is not None else []
        told = f" ({', '.join(facts)})" if facts else ""
        first = self.error.strip().partition("\n")[0].rstrip()
        return f"{self.title}{told}" + (f": {shorten(first, _LINE_ERROR)}" if first else "")


def summary(notifications: Sequence[Notification]) -> str:
    """The title of several notifications sent as one: `nightly-etl: 3 notifications, 1 Failed`."""
    names = list(dict.fromkeys(notification.workflow for notification in notifications))
    failed = sum(notification.status is TypeStatus.FAILED for notification in notifications)
    return f"{', '.join(names)}: {len(notifications)} notifications" + (
        f", {failed} {TypeStatus.FAILED}" if failed else ""
    )


def statuses_of(notification_type: str | Iterable[str] | None) -> frozenset[TypeStatus]:
    """The statuses to tell of: one, as a `TypeStatus` or its text, several of them, or all (None).

    Raises:
        InvalidChoice: one that there is not.
        InvalidOption: an empty list, so that nothing would ever be told.
    """
    if notification_type is None:
        return frozenset(TypeStatus)
    several = isinstance(notification_type, Iterable) and not isinstance(notification_type, str)
    given = list(notification_type) if several else [notification_type]
    if not given:
        raise InvalidOption("notification_type is empty, so nothing would ever be sent: None stands for all")
    return frozenset(_status(one) for one in given)


def _status(given: object) -> TypeStatus:
    known = {status.value: status for status in TypeStatus}
    if not isinstance(given, str) or given not in known:
        raise InvalidChoice("notification_type", given, known)
    return known[given]


class TraceUrl:
    """Where a trace is to be seen: a URL with placeholders, for instance `http://localhost:16686/trace/{trace_id}`.

    Placeholders: `{trace_id}`, `{run_id}`, `{workflow}`, `{workflow_id}`, `{task}`, `{task_id}`; their values are
    percent-encoded. A brace that belongs to the URL is written twice.

    Raises:
        InvalidOption: what is no http(s) URL, or has braces that do not match.
        InvalidChoice: a placeholder that there is not.
    """

    PLACEHOLDERS = ("trace_id", "run_id", "workflow", "workflow_id", "task", "task_id")

    def __init__(self, template: str | None) -> None:
        self._template = template
        if template is not None:
            _check_template(template)

    def of(self, words: dict[str, str]) -> str:
        """The URL for what the placeholders stand for; empty if there is no template."""
        if self._template is None:
            return ""
        return self._template.format(**{name: quote(value, safe="") for name, value in words.items()})

    def __repr__(self) -> str:
        return "TraceUrl(None)" if self._template is None else "TraceUrl(...)"


def _check_template(template: object) -> None:
    if not isinstance(template, str) or not template.startswith(("http://", "https://")):
        raise InvalidOption("trace_url=...: a URL that begins with http:// or https://, with {trace_id} in it")
    try:
        urlsplit(template)
        parts = list(Formatter().parse(template))
    except ValueError as why:
        raise InvalidOption(f"trace_url=...: {why}; a brace that belongs to the URL is written twice") from None
    for _, name, spec, conversion in parts:
        if name is not None and (name not in TraceUrl.PLACEHOLDERS or spec or conversion):
            given = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise InvalidChoice("trace_url placeholder", f"{{{given}}}", [f"{{{p}}}" for p in TraceUrl.PLACEHOLDERS])
