"""The end of a run, for programs that are gone before they are scraped."""

from __future__ import annotations

import functools
import math
import threading
import time
from typing import TYPE_CHECKING, Final

from dotflow.abc.provider import Dropped
from dotflow_prometheus.pushgateway import NotDelivered
from dotflow_prometheus.selection import for_gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from dotflow_prometheus.pushgateway import Pushgateway
    from dotflow_prometheus.textfile import Textfile

__all__ = ["Delivery"]

_SIGNAL: Final = "metrics"
_SHARE: Final = 0.8  # of the time to flush, so that what is lost can still be counted and told


class Delivery:
    """Pushes the series of a workflow whose run has ended, and writes the textfile: one try each, within a time.

    What fails is counted, and not tried again: the next run's series say all that these did.

    Args:
        seconds: what all pushes of one flush may take together.
    """

    def __init__(
        self, registry: CollectorRegistry, gateway: Pushgateway | None, textfile: Textfile | None, seconds: float
    ) -> None:
        self._registry = registry
        self._gateway = gateway
        self._textfile = textfile
        self._seconds = seconds
        self._owner: str | None = None  # the workflow that ended a run first: it has what belongs to no workflow
        self._ended: dict[str, None] = {}
        self._dropped: list[Dropped] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def has_target(self) -> bool:
        """Whether there is anything to deliver to."""
        return self._gateway is not None or self._textfile is not None

    def note(self, workflow: str) -> None:
        """A run of this workflow has ended."""
        with self._lock:
            self._owner = self._owner or workflow
            if self._gateway is not None:
                self._ended[workflow] = None

    def flush(self, timeout: float) -> None:
        """Deliver, within `timeout` seconds."""
        if self._owner is None or not self.has_target:
            return
        deadline = time.monotonic() + _SHARE * timeout
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._lose(1, "an earlier delivery has not come to its end")
            return
        try:
            if self._textfile is not None:
                self._try(str(self._textfile), deadline, self._write)
            self._push(min(deadline, time.monotonic() + self._seconds))
        finally:
            self._turn.release()

    def take_dropped(self) -> list[Dropped]:
        """What was not delivered since this was last asked: how many values, and why."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
        return dropped

    def close(self) -> None:
        """Write the file once more: what was lost at the end of the last run was known only after it.

        Raises:
            OSError: it cannot be written.
        """
        self._write(_Effort())

    def _push(self, deadline: float) -> None:
        with self._lock:
            ended, self._ended = self._ended, {}
        for workflow in ended:
            self._try(str(self._gateway), deadline, functools.partial(self._push_one, workflow))

    def _write(self, effort: _Effort) -> None:
        if self._textfile is not None and self._owner is not None:
            series = self._textfile.select(self._registry.collect(), self._owner)
            effort.points = series.points
            self._textfile.write(series)

    def _push_one(self, workflow: str, effort: _Effort) -> None:
        if self._gateway is not None:
            series = for_gateway(self._registry.collect(), workflow, with_rest=workflow == self._owner)
            effort.points = series.points
            self._gateway.push(workflow, series, effort.deadline)

    def _try(self, where: str, deadline: float, work: Callable[[_Effort], None]) -> None:
        effort = _Effort(deadline)
        effort.make(work)
        if effort.why:
            self._lose(effort.points, f"{where}: {effort.why}")

    def _lose(self, count: int, why: str) -> None:
        with self._lock:
            self._dropped.append(Dropped(_SIGNAL, count, why))


class _Effort:
    """One try, in a thread of its own: names are looked up, and files written, without any limit of time.

    `points` is how many values are at stake, 1 until that is known; `why` says why it failed, if it did.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.points = 1
        self.why = ""
        self.deadline = deadline

    def make(self, work: Callable[[_Effort], None]) -> None:
        """Make the try; not later than the deadline, return."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            self.why = "no time was left"
            return
        thread = threading.Thread(target=self._run, args=(work,), name="dotflow-prometheus-deliver", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self.why = "no end in time"

    def _run(self, work: Callable[[_Effort], None]) -> None:
        try:
            work(self)
        except NotDelivered as error:
            self.why = str(error)
        except OSError as error:
            self.why = error.strerror or type(error).__name__
        except Exception as error:  # noqa: BLE001 - a collector of the user's, in a registry of the user's
            self.why = type(error).__name__
