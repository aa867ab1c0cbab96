"""What becomes of telemetry on its way out: nothing is lost without being counted, whatever the signal."""

from __future__ import annotations

import logging
import re
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Counted", "Deliveries", "Gate", "hush", "hushed", "told_why"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_at_work = threading.local()


def hush(exporter: object) -> None:
    """Hold back what an exporter of the SDK's logs while it works for us; those of the application log as before.

    They log every failed try; here the engine tells of a loss once.
    """
    for base in type(exporter).__mro__:
        # gRPC's log in the module of a class that they share.
        if base.__module__.startswith("opentelemetry.exporter."):
            filters = logging.getLogger(base.__module__).filters
            if _is_not_ours not in filters:
                filters.insert(0, _is_not_ours)  # before the SDK's own, which holds back what was said a while ago


def hushed(call: Callable[[], Result]) -> Result:
    """Call it, as the work of an exporter of ours."""
    _at_work.on, _at_work.why = True, ""
    try:
        return call()
    except Exception as error:
        _at_work.why = _reason_in(error)
        raise
    finally:
        _at_work.on = False


def told_why() -> str:
    """What the latest work in this thread has said of its failure, in brackets behind a blank; empty if nothing."""
    why = getattr(_at_work, "why", "")
    return f" ({why})" if why else ""


def _is_not_ours(record: logging.LogRecord) -> bool:
    if not getattr(_at_work, "on", False):
        return True
    found = record.args if isinstance(record.args, tuple) else ()
    _at_work.why = next(filter(None, map(_reason_in, found)), _at_work.why)
    return False


_PHRASES = {status.phrase: status for status in HTTPStatus}
_OF_THE_SYSTEM = re.compile(r"\[Errno -?\d+\] ([A-Za-z ]+)")
_NAME = re.compile(r"\b\w+(?:Error|Timeout)\b")


def _reason_in(found: object) -> str:
    """A reason, of what cannot hold a secret: a status, what the system says of an error, the name of an exception."""
    if isinstance(found, BaseException):
        system, names = _OF_THE_SYSTEM.search(str(found)), _NAME.findall(str(found))
        return system[1].strip() if system else (names[-1] if names else type(found).__name__)
    status = _PHRASES.get(found) if isinstance(found, str) else found
    if isinstance(status, int) and HTTPStatus.MULTIPLE_CHOICES <= status < 600:  # noqa: PLR2004
        return f"HTTP {int(status)}"
    return found.name if type(found).__name__ == "StatusCode" else ""  # type: ignore[attr-defined]  # gRPC's


class Deliveries:
    """Hands batches to an exporter, and counts the items that do not get through.

    `why` tells why the latest batch that did not get through did not, if the exporter has said so. Items come in the order in which they were taken in, so a number says which ones are meant: the first `handed` have
    been dealt with, the first `given_up` are not wanted any more.
    """

    def __init__(self, exporter: object) -> None:
        self.handed = 0
        self.given_up = 0
        self.is_busy = False
        self.why = ""
        self._failed = 0
        self._lock = threading.Lock()
        hush(exporter)

    @property
    def settled(self) -> int:
        """How many items have got through, have failed or were given up."""
        return max(self.handed, self.given_up)

    def hand(self, batch: Sequence[Item], export: Callable[[Sequence[Item]], Result], success: Result) -> Result | None:
        """Export what is still wanted of a batch; None if that raised. Called by one thread at a time."""
        wanted = batch[max(0, self.given_up - self.handed) :]
        self.is_busy = True
        result: Result | None = None
        try:
            result = hushed(lambda: export(wanted)) if wanted else success
        except Exception:  # noqa: BLE001 - counted, and told of by the engine
            result = None
        finally:
            self.is_busy = False
            self.why = self.why if result is success else told_why()
            with self._lock:
                end = self.handed + len(batch)
                self._failed += 0 if result is success else max(0, end - self.settled)
                self.handed = end
        return result

    def give_up(self, end: int) -> None:
        """Count those of the first `end` items as lost that are not settled. They will not be tried again."""
        with self._lock:
            self._failed += max(0, end - self.settled)
            self.given_up = max(end, self.given_up)

    def take_failed(self) -> int:
        """How many items were not delivered since this was last asked."""
        with self._lock:
            failed, self._failed = self._failed, 0
            return failed


class Gate:
    """Before a queue of the SDK's: refuses, and counts, the newest item before the queue would drop the oldest unseen.

    `taken` counts the items that it has let in so far. `more_for` says for how many more than `capacity` there is room, if
    they are like this item.
    """

    def __init__(
        self, deliveries: Deliveries, capacity: int, where: str, more_for: Callable[[Any], int] = lambda _: 0
    ) -> None:
        self.capacity = capacity
        self.taken = 0
        self._deliveries = deliveries
        self._where = where
        self._more_for = more_for
        self._refused = 0
        self._is_closed = False
        self._lock = threading.Lock()

    def enter(self, item: object) -> int | None:
        """Let an item in: how many wait before it. None if it is refused."""
        with self._lock:
            waiting = self.taken - self._deliveries.handed
            if self._is_closed or (waiting >= self.capacity and waiting >= self.capacity + self._more_for(item)):
                self._refused += 1
                return None
            self.taken += 1
        return waiting

    def close(self) -> None:
        """Refuse everything from now on."""
        with self._lock:
            self._is_closed = True

    @property
    def is_waiting(self) -> bool:
        """Whether items are inside that are neither sent nor given up yet."""
        return self.taken > self._deliveries.settled

    def take_lost(self) -> Iterator[tuple[int, str]]:
        """How many items were lost since this was last asked, and why."""
        with self._lock:
            refused, self._refused = self._refused, 0
        if refused and self._is_closed:
            yield refused, "made after the end"
        elif refused:
            yield refused, f"{self.capacity} others were waiting to be sent to {self._where}"
        if failed := self._deliveries.take_failed():
            yield failed, f"not delivered to {self._where}{self._deliveries.why}"


class Counted:
    """What an outbox of either signal tells of the items that it has taken in: those that its gate let in."""

    _deliveries: Deliveries
    _gate: Gate

    @property
    def taken(self) -> int:
        """How many items have been taken in so far."""
        return self._gate.taken

    @property
    def is_waiting(self) -> bool:
        """Whether items have been taken in that are neither sent nor given up yet."""
        return self._gate.is_waiting

    def give_up(self, taken: int) -> None:
        """Count as lost what is not sent yet of the first so many that were taken in. It will not be tried again."""
        self._deliveries.give_up(taken)

    def take_lost(self) -> Iterator[tuple[int, str]]:
        """How many items were lost since this was last asked, and why."""
        return self._gate.take_lost()
