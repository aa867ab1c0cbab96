"""NotifyApprise: messages through any of the services that apprise knows."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dotflow.abc import Notify
from dotflow.errors import InvalidOption
from dotflow.model.action import check_seconds
from dotflow.toolkit.batching import Batcher
from dotflow.toolkit.notification import Notification, TraceUrl, statuses_of
from dotflow_apprise.message import NOTIFICATIONS_IN_A_MESSAGE, message_of
from dotflow_apprise.service import AppriseError, Service, services_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dotflow.abc.provider import Dropped
    from dotflow.model.task import Task

__all__ = ["NotifyApprise"]


class NotifyApprise(Notify):
    """Tells one or more services how tasks stand: workflow, task, status, attempt, duration, error, a link to the trace.

    Never a context value. Each service gets its own message, whatever the others do. Between two messages to a service
    passes the time that apprise keeps for it (5.5 s for some); what comes meanwhile is sent as lines of one message, at
    the latest when the run ends.

    Args:
        urls: apprise's URLs, one for each service (https://github.com/caronc/apprise/wiki). They hold secrets, and stand
            in no repr, log line or error.
        notification_type: which statuses to tell of: a `TypeStatus`, its text, or several; None is all.
        trace_url: where a trace is to be seen, for instance `http://localhost:16686/trace/{trace_id}`; see
            `dotflow.toolkit.notification.TraceUrl` for the placeholders.
        traceback: add the traceback of an error. It shows source lines, so it is off unless asked for.
        timeout: the most seconds to wait for a connection, and for each answer; a URL may ask for less (`?cto=2&rto=2`).

    Raises:
        InvalidOption: (a `ValueError`) no URL, or one that apprise cannot read; no status at all; a timeout of 0.
        InvalidChoice: (a `ValueError`) a status or a placeholder that there is not.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        notification_type: str | Iterable[str] | None = None,
        *,
        trace_url: str | None = None,
        traceback: bool = False,
        timeout: float = 5.0,
    ) -> None:
        check_seconds("timeout", timeout)
        if not timeout:
            raise InvalidOption("timeout=0: a message needs some time; give the seconds that it may take")
        self._services = services_of(urls, timeout)
        self._statuses = statuses_of(notification_type)
        self._trace_url = TraceUrl(trace_url)
        self._traceback = traceback
        self._batchers = [self._batcher_of(service) for service in self._services]

    def hook_status_task(self, task: Task) -> None:
        """Tell every service of a task.

        Raises:
            AppriseError: naming the services that did not take it.
        """
        if task.status not in self._statuses:
            return
        notification = Notification.of(task, self._trace_url)
        failed = []
        for batcher in self._batchers:
            try:
                batcher.post(notification)
            except AppriseError as error:
                failed.append(str(error))
        if failed:
            raise AppriseError("; ".join(failed))

    def flush(self, timeout: float) -> None:
        """Send what is kept, because a service is not to be written to that often; to all of them side by side."""
        failed: list[str] = []
        flushing = [
            threading.Thread(target=_flush, args=(batcher, timeout, failed), name="dotflow-apprise", daemon=True)
            for batcher in self._batchers
        ]
        deadline = time.monotonic() + timeout * 0.9  # to be back in time, and say which service is not
        for thread in flushing:
            thread.start()
        for thread, service in zip(flushing, self._services, strict=True):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                failed.append(f"{service.name} did not answer in time")
        if failed:
            raise AppriseError("; ".join(failed))

    def take_dropped(self) -> Sequence[Dropped]:
        """Notifications that did not go in time."""
        return [dropped for batcher in self._batchers for dropped in batcher.take_dropped()]

    def close(self, timeout: float) -> None:
        """Send what is kept, and end the threads that wait."""
        try:
            self.flush(timeout)
        finally:
            for batcher in self._batchers:
                batcher.stop()

    def __repr__(self) -> str:
        return f"NotifyApprise({', '.join(service.name for service in self._services)})"

    def _batcher_of(self, service: Service) -> Batcher:
        def send(notifications: Sequence[Notification]) -> None:
            service.send(message_of(notifications, with_traceback=self._traceback))

        return Batcher(send, gap=service.gap, batch=NOTIFICATIONS_IN_A_MESSAGE)


def _flush(batcher: Batcher, timeout: float, failed: list[str]) -> None:
    try:
        batcher.flush(timeout)
    except (AppriseError, TimeoutError) as error:
        failed.append(str(error))
