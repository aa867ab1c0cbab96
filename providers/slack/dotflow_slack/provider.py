"""NotifySlack: messages through an incoming webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotflow.abc import Notify
from dotflow.errors import InvalidOption
from dotflow.model.action import check_seconds
from dotflow.toolkit.batching import Batcher
from dotflow.toolkit.notification import Notification, TraceUrl, statuses_of
from dotflow_slack.message import NOTIFICATIONS_IN_A_MESSAGE, message_of
from dotflow_slack.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dotflow.abc.provider import Dropped
    from dotflow.model.task import Task

__all__ = ["NotifySlack"]


class NotifySlack(Notify):
    """Tells a Slack channel how tasks stand: workflow, task, status, attempt, duration, error, a link to the trace.

    Never a context value. While Slack asks for a pause (429), or when it is slow, notifications are kept and sent as lines of
    one message; the end of a run sends what is kept, and gives up and counts what may not go within
    `Config(drain_timeout=)`.

    Args:
        webhook_url: the URL of an incoming webhook. It is a secret, and stands in no repr, log line or error.
        notification_type: which statuses to tell of: a `TypeStatus`, its text, or several; None is all.
        trace_url: where a trace is to be seen, for instance `http://localhost:16686/trace/{trace_id}`; see
            `dotflow.toolkit.notification.TraceUrl` for the placeholders.
        traceback: add the traceback of an error. It shows source lines, so it is off unless asked for.
        timeout: seconds that a message may take in all, one retry after a server error included.

    Raises:
        InvalidOption: (a `ValueError`) a webhook or trace URL that is none, no status at all, a timeout of 0.
        InvalidChoice: (a `ValueError`) a status or a placeholder that there is not.
    """

    def __init__(
        self,
        webhook_url: str,
        notification_type: str | Iterable[str] | None = None,
        *,
        trace_url: str | None = None,
        traceback: bool = False,
        timeout: float = 5.0,
    ) -> None:
        check_seconds("timeout", timeout)
        if not timeout:
            raise InvalidOption("timeout=0: a message needs some time; give the seconds that it may take")
        self._webhook = Webhook(webhook_url, timeout)
        self._statuses = statuses_of(notification_type)
        self._trace_url = TraceUrl(trace_url)
        self._traceback = traceback
        self._batcher = Batcher(self._send, batch=NOTIFICATIONS_IN_A_MESSAGE)

    def hook_status_task(self, task: Task) -> None:
        """Tell of a task.

        Raises:
            SlackError: Slack did not take it.
        """
        if task.status in self._statuses:
            self._batcher.post(Notification.of(task, self._trace_url))

    def flush(self, timeout: float) -> None:
        """Send what is kept, because Slack asked for a pause."""
        self._batcher.flush(timeout)

    def take_dropped(self) -> Sequence[Dropped]:
        """Notifications that Slack would not take in time."""
        return self._batcher.take_dropped()

    def close(self, timeout: float) -> None:
        """Send what is kept, and end the thread that waits for the end of a pause."""
        self._batcher.close(timeout)

    def __repr__(self) -> str:
        return f"NotifySlack({self._webhook!r})"

    def _send(self, notifications: Sequence[Notification]) -> None:
        self._webhook.post(message_of(notifications, with_traceback=self._traceback))
