"""MetricsStatsd: the metrics of runs and tasks, sent to a statsd server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dotflow.abc.metrics import Metrics
from dotflow.abc.provider import Dropped
from dotflow.names import metrics as names
from dotflow_statsd import options
from dotflow_statsd.active import Active, ActiveRuns, RunsNow
from dotflow_statsd.encoding import COUNTER, GAUGE, TIMER, Encoder
from dotflow_statsd.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dotflow.model.run import Run
    from dotflow.model.task import Task
    from dotflow.names.metrics import Metric

__all__ = ["MetricsStatsd"]

_SECOND_NS: Final = 1_000_000_000
_SIGNAL: Final = "metrics"
_TASK_COUNTERS: Final = (
    names.TASK_STARTED,
    names.TASK_COMPLETED,
    names.TASK_FAILED,
    names.TASK_RETRIED,
    names.TASK_RESTORED,
    names.TASK_SKIPPED,
)
_WORKFLOW_COUNTERS: Final = (names.WORKFLOW_STARTED, names.WORKFLOW_COMPLETED, names.WORKFLOW_FAILED)


class MetricsStatsd(Metrics):
    """Counts and times runs and tasks, and sends that over UDP, which never blocks and may lose something.

    Names are those of `dotflow.names.metrics` with the prefix in place of `dotflow`; a label is a further part of the name,
    in the order of that table, or with `dogstatsd` a tag:

        dotflow.task.completed.nightly.extract:1|c        dotflow.task.completed:1|c|#workflow:nightly,task:extract

    In a part, what is no ASCII letter, digit, `_` or `-` becomes `_`. Counters are `c`, durations are timers (`ms`), the
    rest are gauges (`g`), which speak of this process; where several run the same workflow, give each a prefix or a tag.

    Args:
        host: name or address of the server. It is looked up once, in the background, IPv4 first.
        port: its port.
        prefix: what all names begin with; empty for none.
        dogstatsd: send labels as tags, which a Datadog agent, Telegraf, Vector and statsd_exporter understand.
        tags: further tags on every metric, such as `{"env": "prod"}`; only with `dogstatsd`.
        shutdown_timeout: seconds that the end of a run waits at most for a host whose name does not resolve yet.

    Raises:
        InvalidOption: an option that makes no sense.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8125,
        prefix: str = "dotflow",
        dogstatsd: bool = False,  # noqa: FBT001, FBT002 - the position is promised
        *,
        tags: Mapping[str, str] | None = None,
        shutdown_timeout: float = 2.0,
    ) -> None:
        options.check_host(host)
        options.check_port(port)
        options.check_prefix(prefix)
        options.check_seconds("shutdown_timeout", shutdown_timeout)
        self._encoder = Encoder(prefix, dogstatsd=dogstatsd, tags=options.checked_tags(tags, dogstatsd=dogstatsd))
        self._outbox = Outbox(host, port)
        self._where = f"{host}:{port}"
        self._seconds = shutdown_timeout
        self._runs = ActiveRuns()
        self._active = Active()
        self._lock = threading.Lock()  # so that gauges go out in the order in which they changed
        self._declared: set[tuple[str, ...]] = set()

    # --- workflows

    def declare(self, workflow: str, tasks: Sequence[str]) -> None:
        """Send zeros for the counters of a workflow and its tasks, the first time that they are known."""
        lines = self._zeros((workflow,), _WORKFLOW_COUNTERS)
        for task in tasks:
            lines += self._zeros((workflow, task), _TASK_COUNTERS)
        self._outbox.put(*lines)

    def workflow_started(self, workflow_id: str, *, run: Run | None = None, **kwargs: Any) -> None:
        """A run starts. Without `run`, the keywords `run_id` and `name` tell which."""
        name = (run.workflow_name if run else kwargs.get("name")) or workflow_id
        run_id = run.run_id if run else kwargs.get("run_id")
        started = _seconds(run.started_ns if run else None)
        counted = self._encoder.line(names.WORKFLOW_STARTED, (name,), 1, COUNTER)
        with self._lock:
            self._outbox.put(counted, *self._runs_now(self._runs.open(workflow_id, run_id, name, started)))

    def workflow_completed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run ended well after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        self._workflow_ended(workflow_id, duration, run, names.WORKFLOW_COMPLETED, names.STATUS_COMPLETED)

    def workflow_failed(self, workflow_id: str, duration: float, *, run: Run | None = None) -> None:
        """A run failed after `duration` seconds. Without `run`, it is the one of this workflow that started first."""
        self._workflow_ended(workflow_id, duration, run, names.WORKFLOW_FAILED, names.STATUS_FAILED)

    def expected_interval(self, workflow: str, seconds: float) -> None:
        """A workflow is scheduled to run every so many seconds."""
        self._send(names.WORKFLOW_EXPECTED_INTERVAL, (workflow,), seconds, GAUGE)

    def schedule_skipped(self, workflow: str, reason: str, count: int = 1) -> None:
        """`count` scheduled runs of a workflow were not made; 0 for a reason that may come."""
        self._send(names.SCHEDULE_SKIPPED, (workflow, reason), count, COUNTER)

    def schedule_ticked(self, workflow: str, lateness: float) -> None:
        """A scheduled run starts `lateness` seconds after its tick was due."""
        self._send(names.SCHEDULE_LATENESS, (workflow,), _millis(lateness), TIMER)

    # --- tasks

    def task_started(self, task: Task) -> None:
        """A task leaves the queue for its first attempt."""
        labels, line = _labels(task), self._encoder.line
        lines = [line(names.TASK_STARTED, labels, 1, COUNTER)]
        if task.queued_ns is not None and task.started_ns is not None:
            waited = (task.started_ns - task.queued_ns) / _SECOND_NS
            lines.append(line(names.TASK_QUEUE, labels, _millis(waited), TIMER))
        self._change(names.TASK_ACTIVE, labels, 1, lines)

    def task_completed(self, task: Task) -> None:
        """A task ended well."""
        self._task_ended(task, names.TASK_COMPLETED, names.STATUS_COMPLETED)

    def task_failed(self, task: Task) -> None:
        """A task finally failed."""
        self._task_ended(task, names.TASK_FAILED, names.STATUS_FAILED, self._error(task))

    def task_retried(self, task: Task) -> None:
        """An attempt failed and another follows."""
        self._outbox.put(self._encoder.line(names.TASK_RETRIED, _labels(task), 1, COUNTER), self._error(task))

    def task_restored(self, task: Task) -> None:
        """A task's result was taken from the storage."""
        self._send(names.TASK_RESTORED, _labels(task), 1, COUNTER)

    def task_skipped(self, task: Task) -> None:
        """A task did not run, because of what became of its parents."""
        self._send(names.TASK_SKIPPED, _labels(task), 1, COUNTER)

    # --- the engine itself

    def background_queued(self, change: int) -> None:
        """So many calls more, or less, wait for the background thread."""
        self._change(names.BACKGROUND_QUEUED, (), change)

    def provider_failed(self, provider: str, method: str) -> None:
        """A provider raised; the engine contained it."""
        self._send(names.PROVIDER_ERRORS, (provider, method), 1, COUNTER)

    def telemetry_dropped(self, signal: str, count: int) -> None:
        """`count` items of a signal were lost before they were sent."""
        self._send(names.TELEMETRY_DROPPED, (signal,), count, COUNTER)

    def flush(self, timeout: float) -> None:
        """Send what waits to fill a packet."""
        self._outbox.flush(min(timeout, self._seconds))

    def take_dropped(self) -> list[Dropped]:
        """The lines of which it is known that the server has not got them."""
        return [Dropped(_SIGNAL, items, why) for items, why in self._outbox.take_lost()]

    def close(self, timeout: float) -> None:
        """Send what is left, and let go of the socket and the thread within `timeout` seconds."""
        self._outbox.close(min(timeout, self._seconds))

    def __repr__(self) -> str:
        return f"MetricsStatsd({self._where})"

    # --- lines

    def _send(self, metric: Metric, labels: tuple[str, ...], value: float, kind: bytes) -> None:
        self._outbox.put(self._encoder.line(metric, labels, value, kind))

    def _zeros(self, labels: tuple[str, ...], counters: tuple[Metric, ...]) -> list[bytes]:
        if labels in self._declared:
            return []
        self._declared.add(labels)
        return [self._encoder.line(metric, labels, 0, COUNTER) for metric in counters]

    def _change(self, metric: Metric, labels: tuple[str, ...], change: int, lines: Sequence[bytes] = ()) -> None:
        """Change what is going on, and send it with other lines."""
        with self._lock:
            self._outbox.put(*lines, self._encoder.line(metric, labels, self._active.change(labels, change), GAUGE))

    def _runs_now(self, now: RunsNow) -> list[bytes]:
        labels, line = (now.workflow,), self._encoder.line
        return [
            line(names.WORKFLOW_ACTIVE, labels, now.number, GAUGE),
            line(names.WORKFLOW_OLDEST_ACTIVE, labels, now.oldest, GAUGE),
        ]

    def _workflow_ended(self, workflow_id: str, duration: float, run: Run | None, counter: Metric, status: str) -> None:
        known = (run.run_id, run.workflow_name) if run else (None, None)
        ended, succeeded, line = (
            _seconds(run.finished_ns if run else None),
            status == names.STATUS_COMPLETED,
            self._encoder.line,
        )
        with self._lock:
            now = self._runs.close(workflow_id, *known)
            labels = (now.workflow,)
            lines = [
                line(counter, labels, 1, COUNTER),
                line(names.WORKFLOW_DURATION, (*labels, status), _millis(duration), TIMER),
                line(names.WORKFLOW_LAST_COMPLETION, labels, ended, GAUGE),
                line(names.WORKFLOW_LAST_RUN_SUCCESS, labels, int(succeeded), GAUGE),
            ]
            if succeeded:
                lines.append(line(names.WORKFLOW_LAST_SUCCESS, labels, ended, GAUGE))
            self._outbox.put(*lines, *self._runs_now(now))

    def _task_ended(self, task: Task, counter: Metric, status: str, *more: bytes) -> None:
        labels, line = _labels(task), self._encoder.line
        lines = [line(counter, labels, 1, COUNTER), *more]
        if task.duration is not None:
            lines.append(line(names.TASK_DURATION, (*labels, status), _millis(task.duration), TIMER))
        lines += [line(names.TASK_RECORDED, (*labels, name), value, GAUGE) for name, value in task.recorded.items()]
        self._change(names.TASK_ACTIVE, labels, -1, lines)

    def _error(self, task: Task) -> bytes:
        kind = task.error.exception if task.error else names.OTHER_ERROR
        return self._encoder.line(names.TASK_ERRORS, (*_labels(task), kind), 1, COUNTER)


def _labels(task: Task) -> tuple[str, ...]:
    return (task.workflow_name or task.workflow_id, task.name)


def _seconds(time_ns: int | None) -> float:
    """A Unix time in seconds; now, if there is none."""
    return (time.time_ns() if time_ns is None else time_ns) / _SECOND_NS


def _millis(seconds: float) -> float:
    """Milliseconds, to the nanosecond."""
    return round(seconds * 1000, 6)
